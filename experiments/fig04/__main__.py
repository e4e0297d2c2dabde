"""The command of Figure 4: arguments, the run, the report. See README.md for the question and the verdict."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import sys
from pathlib import Path

from experiments import net
from experiments.common import cli, cpu, traces
from experiments.common.errors import ExperimentError
from experiments.common.machine import build, machine
from experiments.common.report import Report
from experiments.fig04 import analysis, apache, measure, plan, report
from experiments.fig04.links import Links


def main() -> None:
    """Measures and prints."""
    parser = cli.parser("fig04", "Does a level that follows the network beat every fixed one? (Figure 4)")
    for name, allowed in {"variants": plan.VARIANTS, "links": tuple(plan.LINKS)}.items():
        parser.add_argument(
            f"--{name}", type=cli.listed(allowed), metavar="A,B", help=f"of {', '.join(allowed)}"
        )
    full = plan.Size()
    parser.add_argument(
        "--data-from",
        type=Path,
        metavar="DIR",
        default=report.DATA,
        help="report and traces (default %(default)s)",
    )
    parser.add_argument("--clients", type=int, metavar="N", help=f"at most (default {full.clients})")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"of each variant (default {full.rounds})")
    parser.add_argument(
        "--downloads", type=int, metavar="N", help=f"of each client in a round (default {full.downloads})"
    )
    arguments = parser.parse_args()
    found = _run(arguments)
    if arguments.json:
        print(found.json())
        return
    # Late: drawing takes a second to import, and machines that only print JSON need not have it.
    from experiments.fig04 import show

    show.table(found)
    print(show.png(found))


def _run(arguments: argparse.Namespace) -> Report:
    size = plan.QUICK if arguments.quick else plan.Size()
    given = {name: getattr(arguments, name) for name in ("clients", "rounds", "downloads")}
    size = dataclasses.replace(size, **{name: value for name, value in given.items() if value is not None})
    if min(dataclasses.astuple(size)) < 1:
        raise ExperimentError("at least one client, round and download are needed")
    variants = arguments.variants or (plan.QUICK_VARIANTS if arguments.quick else plan.VARIANTS)
    links = arguments.links or (plan.QUICK_LINKS if arguments.quick else tuple(plan.LINKS))
    body, origin = report.find(arguments.data_from)
    recorded = [traces.find(name, arguments.data_from / "traces") for name in plan.TRACES]
    facts = machine() | {"congestion_control": net.CONGESTION}
    built = build([["apache2", "-v"], ["php", "-v"]], product=any(v in plan.MODULES for v in variants))
    built |= {"size": dataclasses.asdict(size), "server_mbit": plan.SERVER_MBIT}
    results: analysis.Results = {}
    stolen = cpu.stolen_s()
    with net.Hosts() as hosts:
        www = hosts.work / "www"
        apache.write_data(www, body)
        count = max(plan.clients(link, size.clients) for link in links)
        shaped = Links(hosts, count)
        with measure.running(hosts, variants, www) as ports, cli.progress() as progress:
            bench = measure.Bench(hosts, shaped, ports, body, size, tuple(steps for steps, _ in recorded))
            bench.check()
            for link in links:
                task = progress.add_task(link, total=(size.rounds + 1) * len(variants))
                results[link] = bench.link(link, variants, lambda task=task: progress.advance(task))
    facts["hypervisor_took_s"] = round(cpu.stolen_s() - stolen, 2)
    data = {"origin": origin, "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    data["changing"] = [f"{name}: {where}" for name, (_, where) in zip(plan.TRACES, recorded, strict=True)]
    return Report(facts, built, data, analysis.rows(results, size), analysis.checks(results))


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
