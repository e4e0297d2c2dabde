"""The command of Figure 4: arguments, the run, the report. See README.md for the question and the verdict."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import sys
from pathlib import Path

from experiments import net
from experiments.common import cli, runner, traces
from experiments.common.report import Report
from experiments.fig04 import analysis, apache, measure, plan, report
from experiments.fig04.links import Links


def main() -> None:
    """Measures and prints."""
    parser = cli.parser("fig04", "Does a level that follows the network beat every fixed one? (Figure 4)")
    cli.add_words(parser, {"variants": plan.VARIANTS, "links": tuple(plan.LINKS)})
    parser.add_argument(
        "--data-from",
        type=Path,
        metavar="DIR",
        default=report.DATA,
        help="report and traces (default %(default)s)",
    )
    asked = {
        "clients": (1, "at most"),
        "rounds": (1, "of each variant"),
        "downloads": (1, "of each client in a round"),
    }
    cli.add_numbers(parser, plan.Size(), asked)
    runner.run(parser, _measure, _show)


def _show(found: Report, _: analysis.Results) -> None:
    from experiments.fig04 import show

    show.table(found)
    print(show.png(found))


def _measure(arguments: argparse.Namespace) -> tuple[Report, analysis.Results]:
    size = cli.given(plan.QUICK if arguments.quick else plan.Size(), arguments)
    variants = arguments.variants or (plan.QUICK_VARIANTS if arguments.quick else plan.VARIANTS)
    links = arguments.links or (plan.QUICK_LINKS if arguments.quick else tuple(plan.LINKS))
    body, origin = report.find(arguments.data_from)
    recorded = [traces.find(name, arguments.data_from / "traces") for name in plan.TRACES]
    results: analysis.Results = {}
    with (
        runner.facts(
            [["apache2", "-v"], ["php", "-v"]], product=any(v in plan.MODULES for v in variants)
        ) as facts,
        net.Hosts() as hosts,
    ):
        www = hosts.work / "www"
        apache.write_data(www, body)
        shaped = Links(hosts, max(plan.clients(link, size.clients) for link in links))
        with measure.running(hosts, variants, www) as ports:
            bench = measure.Bench(hosts, shaped, ports, body, size, tuple(steps for steps, _ in recorded))
            bench.check()
            for link in links:
                done = facts.task(link, (plan.rounds(link, size) + 1) * len(variants))
                results[link] = bench.link(link, variants, done)
    facts.machine["congestion_control"] = net.CONGESTION
    facts.build |= {"size": dataclasses.asdict(size), "server_mbit": plan.SERVER_MBIT}
    data = {"origin": origin, "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    data["changing"] = [f"{name}: {where}" for name, (_, where) in zip(plan.TRACES, recorded, strict=True)]
    return facts.report(data, analysis.rows(results, size), analysis.checks(results)), results


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
