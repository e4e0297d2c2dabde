"""The command: arguments, the run, the report. See README.md for the question and the verdict."""

from __future__ import annotations

import argparse
import dataclasses
import sys

from experiments.common import cli, runner
from experiments.common.report import Report
from experiments.revocation import analysis, measure, plan


def main() -> None:
    """Measures and prints."""
    question = "What is beyond recall, what does late binding cost, how soon is new content there?"
    parser = cli.parser("revocation", question)
    cli.add_words(
        parser, {"rates": tuple(map(str, plan.RATES)), "controls": plan.CONTROLS, "ways": plan.WAYS}
    )
    full = plan.Length()
    cli.add_numbers(
        parser,
        full,
        {
            "goodput_s": (0.2, "seconds that a connection only sends"),
            "every_s": (0.001, "seconds from one decision to the next, on average"),
            "rounds": (1, "connections of each kind"),
        },
    )
    cli.add_numbers(
        parser,
        full,
        {"decisions": (1, "decisions of a connection after it has only sent")},
        most=plan.MOST_DECISIONS,
    )
    runner.run(parser, _measure, _show)


def _show(report: Report, results: analysis.Results) -> None:
    from experiments.revocation import show

    show.table(report)
    print(show.table_file(results))
    print(show.png(results))


def _measure(arguments: argparse.Namespace) -> tuple[Report, analysis.Results]:
    length = cli.given(plan.QUICK if arguments.quick else plan.Length(), arguments)
    rates = arguments.rates or (plan.QUICK_RATES if arguments.quick else tuple(map(str, plan.RATES)))
    cases = plan.cases(rates, arguments.controls or plan.CONTROLS, arguments.ways or plan.WAYS)
    with runner.facts([["tc", "-V"]], product=True) as facts:
        results = measure.run(cases, length, facts.task("connections", len(cases) * length.rounds))
    facts.build["length"] = dataclasses.asdict(length)
    data = {"bytes": "zeros; new content: bytes of its number"}
    return facts.report(data, analysis.rows(results), analysis.checks(results)), results


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
