"""The rounds of Figure 3 for other variants of nginx, and their table: `yield` and `joined` are made of it.

Rule: the first variant is native, the base of all ratios. It must not know what the variants are.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from experiments import net
from experiments.common import cli, runner, servers, tables
from experiments.common.report import Report
from experiments.common.servers import Server
from experiments.fig03 import analysis, plan
from experiments.fig03.measure import ORIGIN, Bench, write_data
from experiments.fig03.variants import Started


@dataclass(frozen=True)
class Plan:
    """What is compared: the variants, native first, in which cells; how one is started; what is judged."""

    variants: tuple[str, ...]
    cells: tuple[plan.Cell, ...]
    start: Callable[[str, Server, list[str], contextlib.ExitStack], None]
    bounds: Sequence[analysis.Bound]
    quick: runner.Length

    def measure(self, arguments: argparse.Namespace) -> tuple[Report, None]:
        """All rounds, and what they say."""
        length = cli.given(self.quick if arguments.quick else runner.Length(), arguments)
        with runner.facts([["nginx", "-v"], ["wrk", "-v"]], product=True) as facts, net.Hosts() as hosts:
            sums = write_data(hosts.work / "www", tuple(cell.size for cell in self.cells))
            with servers.each(hosts, self.variants, self.start) as ports:
                done = facts.task("rounds", length.rounds * len(self.variants) * len(self.cells))
                started = {
                    name: Started(port, port, stands_between=name != plan.NATIVE)
                    for name, port in ports.items()
                }
                bench = Bench(hosts, started, sums, length.seconds, length.seconds / 2)
                results = {cell: bench.cell(cell, self.variants, length.rounds, done) for cell in self.cells}
        facts.build["rounds"] = str(length)
        data = {"origin": ORIGIN, "sha256": sums}
        rows, checks = analysis.rows(results), analysis.judged(results, self.bounds)
        return facts.report(data, rows, checks), None


def cell(size: str, mode: str) -> plan.Cell:
    """A cell of the link that nothing shapes."""
    return plan.Cell(size, mode, "unshaped")


def show(report: Report, _: None) -> None:
    """Prints every row, then the checks."""
    console = tables.console()
    of = "of native"
    made = Table("cell", "variant", "requests/s", of, "p99 of native", "core 0 µs", of, "by process, µs")
    for row in report.rows:
        values = [
            row["requests_per_s"]["median"],
            _median(row["ratio"]),
            _median(row["p99_ratio"]),
            row["busy_us"]["median"],
            _median(row["busy_ratio"]),
        ]
        parts = ", ".join(f"{role} {us:.1f}" for role, us in row["processes_us"].items())
        made.add_row(f"{row['size']} {row['mode']}", row["variant"], *(f"{v:.4g}" for v in values), parts)
    console.print(made)
    tables.checks(console, report)


def _median(ratio: dict[str, Any] | None) -> float:
    return ratio["median"] if ratio else float("nan")
