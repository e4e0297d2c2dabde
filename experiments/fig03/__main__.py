"""The command of Figure 3: arguments, the run, the report. See README.md for the question and the verdict."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from experiments import net
from experiments.common import cli, runner
from experiments.common.errors import ExperimentError
from experiments.common.machine import commit
from experiments.common.report import Report
from experiments.fig03 import analysis, measure, plan, variants

_TOOLS = [["nginx", "-v"], ["haproxy", "-v"], ["wrk", "-v"], ["cc", "--version"]]
# Quick: two rounds of the checked cells end within 60 s.
_FULL, _QUICK = runner.Length(10, 2.0), runner.Length(2, 0.5)
_WARM_S, _QUICK_WARM_S = 1.0, 0.2


def main() -> None:
    """Measures and prints."""
    parser = cli.parser("fig03", "What does delegation cost nginx, of its native speed? (Figure 3)")
    cli.add_words(
        parser,
        {
            "variants": plan.VARIANTS,
            "sizes": tuple(plan.SIZES),
            "modes": plan.MODES,
            "links": tuple(plan.LINKS),
        },
    )
    asked = {"rounds": (1, "rounds of each cell"), "seconds": (0.2, "length of a round")}
    cli.add_numbers(parser, _FULL, asked)
    parser.add_argument(
        "--prototype", action="store_true", help="add shim.c + forward.c where ../shared/prototypes exists"
    )
    parser.add_argument(
        "--before",
        type=Path,
        metavar="DIR",
        help="add the forwarder of another checkout, built by make build",
    )
    parser.add_argument(
        "--cells",
        choices=("all", "checked"),
        help="all sizes, modes and links, or only those that a check is about",
    )
    parser.add_argument(
        "--congestion",
        metavar="NAME",
        default=net.CONGESTION,
        help="TCP's congestion control (default %(default)s)",
    )
    runner.run(parser, _measure, _show)


def _show(report: Report, _: analysis.Results) -> None:
    from experiments.fig03 import show

    show.table(report)
    print(show.png(report))


def _measure(arguments: argparse.Namespace) -> tuple[Report, analysis.Results]:
    selection = _selection(arguments)
    length = cli.given(_QUICK if arguments.quick else _FULL, arguments)
    cells = plan.cells(selection)
    if not cells:
        raise ExperimentError("nothing to measure: these sizes, modes, links and variants meet in no cell")
    wanted = tuple(name for name in plan.VARIANTS if any(name in names for names in cells.values()))
    results: analysis.Results = {}
    with (
        runner.facts(_TOOLS, product=bool({*wanted} & {*plan.PRODUCT})) as facts,
        net.Hosts(arguments.congestion) as hosts,
    ):
        www = hosts.work / "www"
        sums = measure.write_data(www, tuple(dict.fromkeys(cell.size for cell in cells)))
        with variants.running(wanted, hosts, www, arguments.before) as started:
            warm_s = _QUICK_WARM_S if arguments.quick else _WARM_S
            bench = measure.Bench(hosts, started, sums, length.seconds, warm_s)
            for cell, names in cells.items():
                done = facts.task(str(cell), length.rounds * len(names))
                results[cell] = bench.cell(cell, names, length.rounds, done)
    facts.machine["congestion_control"] = arguments.congestion
    facts.build["rounds"] = str(length)
    if arguments.before:
        facts.build["before"] = commit(arguments.before)
    data = {"origin": measure.ORIGIN, "sha256": sums}
    return facts.report(data, analysis.rows(results), analysis.checks(results)), results


def _selection(arguments: argparse.Namespace) -> plan.Selection:
    names = arguments.variants or tuple(name for name in plan.VARIANTS if name not in plan.ASKED)
    if plan.BEFORE in names and not arguments.before:
        raise ExperimentError("the variant before needs another build: name its checkout with --before DIR")
    if arguments.before:
        variants.python_of(arguments.before)
        names = (*(name for name in names if name != plan.BEFORE), plan.BEFORE)
    if arguments.prototype and plan.PROTOTYPE not in names:
        names = (*names, plan.PROTOTYPE)
    if plan.PROTOTYPE in names and not variants.PROTOTYPES.is_dir():
        print(f"note: {variants.PROTOTYPES} does not exist: measured without the prototype", file=sys.stderr)
        names = tuple(name for name in names if name != plan.PROTOTYPE)
    return plan.Selection(
        variants=names,
        sizes=arguments.sizes or tuple(plan.SIZES),
        modes=arguments.modes or plan.MODES,
        links=arguments.links or tuple(plan.LINKS),
        checked_only=arguments.cells == "checked" or (arguments.quick and arguments.cells is None),
    )


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
