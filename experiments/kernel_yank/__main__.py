"""The command: arguments, the run, the report. See README.md for the question and the verdict."""

from __future__ import annotations

import argparse
import sys
from typing import NamedTuple

from modnet import _native

from experiments.common import cli, runner
from experiments.common.errors import ExperimentError
from experiments.common.report import Report
from experiments.kernel_yank import analysis, measure, plan, resume

_PARTS = ("trials", "cost", "resume")


class _Drawn(NamedTuple):
    """What is drawn beside the rows."""

    costs: list[measure.Cost]
    resumed: list[resume.Resumed]


def main() -> None:
    """Measures and prints."""
    question = "Is anything wrong after a kernel yank, how long does it take, how does the connection go on?"
    parser = cli.parser("kernel_yank", question)
    cli.add_words(parser, {"parts": _PARTS, "links": tuple(plan.LINKS)})
    # A connection has so many: that is the least.
    cli.add_numbers(parser, plan.Length(), {"trials": (plan.YANKS, "yanks")})
    parser.add_argument("--seed", type=int, default=1, help="what happens on the connections (default 1)")
    runner.run(parser, _measure, _show)


def _show(report: Report, drawn: _Drawn) -> None:
    from experiments.kernel_yank import show

    show.table(report)
    print(show.png(*drawn))


def _measure(arguments: argparse.Namespace) -> tuple[Report, _Drawn]:
    length = cli.given(plan.QUICK if arguments.quick else plan.Length(), arguments)
    parts, links = arguments.parts or _PARTS, arguments.links or tuple(plan.LINKS)
    trials, drawn = {}, _Drawn([], [])
    with runner.facts([["tc", "-V"]], product=True) as facts:
        facts.build["probe"] = _probe()
        if "cost" in parts:
            done = facts.task("cost", length.costs * len(plan.SIZES))
            drawn = drawn._replace(costs=measure.costs(length.costs, done))
        if "resume" in parts:
            done = facts.task("resume", length.resumes * len(resume.CONTROLS) * len(resume.VARIANTS))
            drawn = drawn._replace(resumed=resume.resume(length.resumes, done))
        if "trials" in parts:
            done = facts.task("trials", length.trials)
            trials = measure.trials(plan.cases(links), length.trials, links, arguments.seed, done)
    rows = analysis.rows(trials, *drawn)
    data = {"bytes": "pseudo-random, none used twice", "seed": arguments.seed}
    return facts.report(data, rows, analysis.checks(rows)), drawn


def _probe() -> dict[str, object]:
    try:
        took_us, without_windows, half_closed = _native.kernel_yank_probe()
    except OSError as error:
        raise ExperimentError(str(error.strerror)) from None
    return {"took_us": round(took_us), "without_windows": without_windows, "half_closed": half_closed}


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
