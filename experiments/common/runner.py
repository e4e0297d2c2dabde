"""The frame of an experiment's command: it asks, has it measured, and prints the report or shows it.

    def main() -> None:
        parser = cli.parser("yield", "What does …?")
        runner.run(parser, _measure, _show)

    def _measure(arguments: argparse.Namespace) -> tuple[Report, Results]:
        with runner.facts([["nginx", "-v"]], product=True) as found:
            results = …
        return found.report(data, rows, checks), results

Rules: `show` imports what draws when it is called: that takes a second, and machines that only print JSON
need not have it. It must not know what is measured, nor how.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from rich.progress import Progress

from experiments.common import cli, cpu
from experiments.common.machine import build, machine
from experiments.common.report import Check, Report

Results = TypeVar("Results")


@dataclass(frozen=True)
class Length:
    """How many rounds, of how many seconds."""

    rounds: int = 10
    seconds: float = 1.0

    def __str__(self) -> str:
        return f"{self.rounds} of {self.seconds:g} s"


@dataclass
class Facts:
    """What is known of a run besides its figures; may be added to until the report is made."""

    machine: dict[str, Any]
    build: dict[str, Any]
    progress: Progress

    def task(self, name: str, total: int) -> Callable[..., None]:
        """A line of the progress display; what is answered moves it on, by one or by so many."""
        return functools.partial(self.progress.advance, self.progress.add_task(name, total=total))

    def report(self, data: Mapping[str, Any], rows: list[dict[str, Any]], checks: list[Check]) -> Report:
        """The object that `--json` prints."""
        return Report(self.machine, self.build, data, rows, checks)


@contextlib.contextmanager
def facts(tools: list[list[str]], product: bool) -> Iterator[Facts]:
    """Asks machine and build, and says at the end how many seconds the hypervisor took meanwhile."""
    found = machine(), build(tools, product)
    stolen = cpu.stolen_s()
    with cli.progress() as progress:
        yield (of := Facts(*found, progress))
    of.machine["hypervisor_took_s"] = round(cpu.stolen_s() - stolen, 2)


def run(
    parser: argparse.ArgumentParser,
    measure: Callable[[argparse.Namespace], tuple[Report, Results]],
    show: Callable[[Report, Results], None],
) -> None:
    """The whole command, but for errors and signals: those are `cli.guarded`'s."""
    arguments = parser.parse_args()
    report, results = measure(arguments)
    if arguments.json:
        print(report.json())
    else:
        show(report, results)
