"""The command: arguments, the run, the report. See README.md for the question and the verdict."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable

from modnet import _native

from experiments.common import cli, cpu
from experiments.common.errors import ExperimentError
from experiments.common.machine import build, machine
from experiments.common.report import Report
from experiments.kernel_yank import analysis, measure, plan, resume

_RESUME_ROUNDS, _QUICK_RESUME_ROUNDS = 7, 1
_PARTS = ("trials", "cost", "resume")


def main() -> None:
    """Measures and prints."""
    question = "Is anything wrong after a kernel yank, how long does it take, how does the connection go on?"
    parser = cli.parser("kernel_yank", question)
    for name, words in {"parts": _PARTS, "links": tuple(plan.LINKS)}.items():
        parser.add_argument(
            f"--{name}", type=cli.listed(words), metavar="A,B", default=words, help=f"of {', '.join(words)}"
        )
    parser.add_argument("--trials", type=int, metavar="N", help=f"yanks (default {plan.TRIALS:,})")
    parser.add_argument("--seed", type=int, default=1, help="what happens on the connections (default 1)")
    arguments = parser.parse_args()
    report, costs, resumed = _run(arguments)
    if arguments.json:
        print(report.json())
        return
    # Late: drawing takes a second to import, and machines that only print JSON need not have it.
    from experiments.kernel_yank import show

    show.tables(report)
    print(show.png(costs, resumed))


def _run(arguments: argparse.Namespace) -> tuple[Report, list[measure.Cost], list[resume.Resumed]]:
    count = arguments.trials or (plan.QUICK_TRIALS if arguments.quick else plan.TRIALS)
    if count < plan.YANKS:
        raise ExperimentError(f"a connection has {plan.YANKS} yanks: that is the least (--trials)")
    facts = machine()
    built = build([["tc", "-V"]], product=True)
    built["probe"] = _probe()
    stolen = cpu.stolen_s()
    cases = plan.cases(arguments.links)
    rounds = plan.QUICK_COST_ROUNDS if arguments.quick else plan.COST_ROUNDS
    resumes = _QUICK_RESUME_ROUNDS if arguments.quick else _RESUME_ROUNDS
    trials, costs, resumed = {}, [], []
    with cli.progress() as progress:

        def part(name: str, total: int) -> Callable[..., None]:
            return functools.partial(progress.advance, progress.add_task(name, total=total))

        if "cost" in arguments.parts:
            costs = measure.costs(rounds, part("cost", rounds * len(plan.SIZES)))
        if "resume" in arguments.parts:
            steps = resumes * len(resume.CONTROLS) * len(resume.VARIANTS)
            resumed = resume.resume(resumes, part("resume", steps))
        if "trials" in arguments.parts:
            trials = measure.trials(cases, count, arguments.links, arguments.seed, part("trials", count))
    facts["hypervisor_took_s"] = round(cpu.stolen_s() - stolen, 2)
    rows = analysis.rows(trials, costs, resumed)
    data = {"bytes": "pseudo-random, none used twice", "seed": arguments.seed}
    return Report(facts, built, data, rows, analysis.checks(rows)), costs, resumed


def _probe() -> dict[str, object]:
    try:
        took_us, without_windows, half_closed = _native.kernel_yank_probe()
    except OSError as error:
        raise ExperimentError(str(error.strerror)) from None
    return {"took_us": round(took_us), "without_windows": without_windows, "half_closed": half_closed}


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
