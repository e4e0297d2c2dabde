"""The command: arguments, the run, the report. See README.md for the question and the verdict."""

from __future__ import annotations

import argparse
import dataclasses
import sys

from experiments.common import cli, cpu
from experiments.common.errors import ExperimentError
from experiments.common.machine import build, machine
from experiments.common.report import Report
from experiments.revocation import analysis, measure, plan


def main() -> None:
    """Measures and prints."""
    parser = cli.parser(
        "revocation", "What is beyond recall, what does late binding cost, how soon is new content there?"
    )
    allowed = {"rates": tuple(map(str, plan.RATES)), "controls": plan.CONTROLS, "ways": plan.WAYS}
    for name, words in allowed.items():
        parser.add_argument(
            f"--{name}",
            type=cli.listed(words),
            metavar="A,B",
            help=f"of {', '.join(words)}",
        )
    for field in dataclasses.fields(plan.Length):
        parser.add_argument(
            f"--{field.name.removesuffix('_s')}",
            type=float if field.name.endswith("_s") else int,
            dest=field.name,
            metavar="N",
            help=f"{_HELP[field.name]} (default {field.default})",
        )
    arguments = parser.parse_args()
    report, results = _run(arguments)
    if arguments.json:
        print(report.json())
        return
    # Late: drawing takes a second to import, and machines that only print JSON need not have it.
    from experiments.revocation import show

    show.table(report)
    print(show.table_file(results))
    print(show.png(results))


_HELP = {
    "goodput_s": "seconds that a connection only sends",
    "decisions": "decisions after that",
    "every_s": "seconds from one to the next, on average",
    "rounds": "connections of each kind",
}


def _run(arguments: argparse.Namespace) -> tuple[Report, analysis.Results]:
    length = plan.QUICK if arguments.quick else plan.Length()
    given = {name: getattr(arguments, name) for name in _HELP if getattr(arguments, name) is not None}
    length = dataclasses.replace(length, **given)
    if (
        length.rounds < 1
        or not 1 <= length.decisions <= plan.MOST_DECISIONS
        or length.goodput_s < 0.2
        or length.every_s <= 0
    ):
        raise ExperimentError(
            f"at least one round (--rounds), 1 to {plan.MOST_DECISIONS} decisions (--decisions), a fifth of "
            "a second of sending (--goodput) and some time between decisions (--every) are needed"
        )
    rates = arguments.rates or (plan.QUICK_RATES if arguments.quick else tuple(map(str, plan.RATES)))
    cases = plan.cases(rates, arguments.controls or plan.CONTROLS, arguments.ways or plan.WAYS)
    facts = machine()
    built = build([["tc", "-V"]], product=True) | {"length": dataclasses.asdict(length)}
    stolen = cpu.stolen_s()
    with cli.progress() as progress:
        task = progress.add_task("connections", total=len(cases) * length.rounds)
        results = measure.run(cases, length, lambda: progress.advance(task))
    facts["hypervisor_took_s"] = round(cpu.stolen_s() - stolen, 2)
    data = {"bytes": "zeros; new content: bytes of its number"}
    return Report(facts, built, data, analysis.rows(results), analysis.checks(results)), results


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
