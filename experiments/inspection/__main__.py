"""The command: arguments, the run, the report. See README.md for the question and the verdict."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from experiments.common import cli, cpu, traces
from experiments.common.errors import ExperimentError
from experiments.common.machine import REPOSITORY, build, machine
from experiments.common.report import Report
from experiments.inspection import analysis, measure, plan, reader, transfer

_TRACES = REPOSITORY.parent / "shared/data/traces"


def main() -> None:
    """Measures and prints."""
    parser = cli.parser("inspection", "How far are the estimators of a client's bandwidth from the truth?")
    allowed = {
        "kinds": plan.KINDS,
        "rates": tuple(map(str, plan.RATES)),
        "controls": plan.CONTROLS,
        "places": plan.PLACES,
        "traces": plan.TRACES,
    }
    for name, words in allowed.items():
        parser.add_argument(f"--{name}", type=cli.listed(words), metavar="A,B", help=f"of {', '.join(words)}")
    parser.add_argument(
        "--source",
        choices=reader.SOURCES,
        default=reader.SOURCES[0],
        help="where states are read from (default %(default)s)",
    )
    parser.add_argument(
        "--seconds", type=float, metavar="S", help=f"of a steady case (default {plan.Length.steady_s:g})"
    )
    parser.add_argument(
        "--trace-seconds",
        type=float,
        metavar="S",
        help=f"of each trace, from its beginning (default {plan.Length.trace_s:g}; img3 has 1036)",
    )
    parser.add_argument(
        "--traces-from",
        type=Path,
        metavar="DIR",
        default=_TRACES,
        help="where the recorded traces are (default %(default)s); what is not there is generated",
    )
    arguments = parser.parse_args()
    report, results = _run(arguments)
    if arguments.json:
        print(report.json())
        return
    # Late: drawing takes a second to import, and machines that only print JSON need not have it.
    from experiments.inspection import show

    show.table(report)
    print(show.png(results))


def _run(arguments: argparse.Namespace) -> tuple[Report, analysis.Results]:
    selection = plan.QUICK_SELECTION if arguments.quick else plan.Selection()
    chosen = {
        field.name: getattr(arguments, field.name)
        for field in dataclasses.fields(selection)
        if getattr(arguments, field.name)
    }
    cases = plan.cases(dataclasses.replace(selection, **chosen))
    length = _length(arguments)
    found = {name: traces.find(name, arguments.traces_from) for name in plan.TRACES}
    origins = {name: origin for name, (_, origin) in found.items()}
    facts = machine()
    built = build([["tc", "-V"]], product=True)
    stolen = cpu.stolen_s()
    bench = measure.Bench(length, {name: steps for name, (steps, _) in found.items()})
    with reader.enabled(arguments.source), cli.progress() as progress:
        task = progress.add_task("cases", total=len(cases))
        results = bench.run(cases, lambda: progress.advance(task))
    facts["hypervisor_took_s"] = round(cpu.stolen_s() - stolen, 2)
    built |= {
        "source": arguments.source,
        "every_ms": transfer.EVERY_S * 1000,
        "length": dataclasses.asdict(length),
    }
    used = {case.link: origins[case.link] for case in cases if case.link in origins}
    data = {"traces": used, "bytes": "zeros"}
    return Report(facts, built, data, analysis.rows(results, origins), analysis.checks(results)), results


def _length(arguments: argparse.Namespace) -> plan.Length:
    length = plan.QUICK if arguments.quick else plan.Length()
    seconds = {"steady_s": arguments.seconds, "trace_s": arguments.trace_seconds}
    given = {name: value for name, value in seconds.items() if value is not None}
    if any(value < 1 for value in given.values()):
        raise ExperimentError("a second is the least (--seconds, --trace-seconds)")
    return dataclasses.replace(length, **given)


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
