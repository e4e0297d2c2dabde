"""The command: arguments, the run, the report. See README.md for the question and the verdict."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from experiments.common import cli, runner, traces
from experiments.common.machine import REPOSITORY
from experiments.common.report import Report
from experiments.inspection import analysis, measure, plan, reader, transfer

_TRACES = REPOSITORY.parent / "shared/data/traces"


def main() -> None:
    """Measures and prints."""
    parser = cli.parser("inspection", "How far are the estimators of a client's bandwidth from the truth?")
    cli.add_words(parser, dataclasses.asdict(plan.Selection()))
    parser.add_argument(
        "--source",
        choices=reader.SOURCES,
        default=reader.SOURCES[0],
        help="where states are read from (default %(default)s)",
    )
    full = plan.Length()
    parser.add_argument(
        "--seconds",
        dest="steady_s",
        type=cli.between(float, 1),
        metavar="S",
        help=f"of a steady case (default {full.steady_s:g})",
    )
    parser.add_argument(
        "--trace-seconds",
        dest="trace_s",
        type=cli.between(float, 1),
        metavar="S",
        help=f"of each trace, from its beginning (default {full.trace_s:g}; img3 has 1036)",
    )
    parser.add_argument(
        "--traces-from",
        type=Path,
        metavar="DIR",
        default=_TRACES,
        help="where the recorded traces are (default %(default)s); what is not there is generated",
    )
    runner.run(parser, _measure, _show)


def _show(report: Report, results: analysis.Results) -> None:
    from experiments.inspection import show

    show.table(report)
    print(show.png(results))


def _measure(arguments: argparse.Namespace) -> tuple[Report, analysis.Results]:
    cases = plan.cases(cli.given(plan.QUICK_SELECTION if arguments.quick else plan.Selection(), arguments))
    length = cli.given(plan.QUICK if arguments.quick else plan.Length(), arguments)
    found = {name: traces.find(name, arguments.traces_from) for name in plan.TRACES}
    origins = {name: origin for name, (_, origin) in found.items()}
    bench = measure.Bench(length, {name: steps for name, (steps, _) in found.items()})
    with runner.facts([["tc", "-V"]], product=True) as facts, reader.enabled(arguments.source):
        results = bench.run(cases, facts.task("cases", len(cases)))
    facts.build |= {
        "source": arguments.source,
        "every_ms": transfer.EVERY_S * 1000,
        "length": dataclasses.asdict(length),
    }
    used = {case.link: origins[case.link] for case in cases if case.link in origins}
    data = {"traces": used, "bytes": "zeros"}
    return facts.report(data, analysis.rows(results, origins), analysis.checks(results)), results


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
