"""What cost.py and watched.py have in common: the command line, nginx behind modules, Figure 3 clients, rows.

It must not compare.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from experiments import net
from experiments.common import cli, runner, servers, stats
from experiments.common.report import Report
from experiments.common.servers import Server
from experiments.fig03.measure import ORIGIN, Bench, Sample, write_data
from experiments.fig03.plan import Cell
from experiments.fig03.variants import Started

Found: TypeAlias = dict[Cell, dict[str, list[Sample]]]
"""Samples by cell and variant."""
CELLS = (Cell("1KB", "keep", "unshaped"), Cell("100B", "new", "unshaped"))
TOOLS = [["nginx", "-v"], ["wrk", "-v"]]


def main(
    name: str,
    question: str,
    usual: tuple[runner.Length, float],
    measure: Callable[[argparse.Namespace], tuple[Report, None]],
    show: Callable[[Report, None], None],
) -> None:
    """Measures and prints. `usual`: how long, and the fewest seconds that a sample may have."""
    parser = cli.parser(f"inspection.{name}", question)
    length, least = usual
    asked = {"rounds": (1.0, "rounds of each cell"), "seconds": (least, "of one variant in a round")}
    cli.add_numbers(parser, length, asked)
    runner.run(parser, measure, show)


@contextlib.contextmanager
def bench(
    hosts: net.Hosts, modules: Mapping[str, str], seconds: float
) -> Iterator[tuple[Bench, dict[str, Any]]]:
    """nginx behind each of the modules, by a name of the caller's, and what the report says of its files.
    Each has its runtime directory in its folder.
    """

    def start(name: str, server: Server, web: list[str], _undo: contextlib.ExitStack) -> None:
        command = [sys.executable, "-P", "-m", "modnet", "run", "-m", modules[name], "--", *web]
        server.start(command, {"MODNET_RUNTIME_DIR": str(server.folder / "rt")})

    sums = write_data(hosts.work / "www", tuple(cell.size for cell in CELLS))
    with servers.each(hosts, tuple(modules), start) as ports:
        started = {name: Started(port, port, stands_between=True) for name, port in ports.items()}
        yield Bench(hosts, started, sums, seconds, seconds / 2), {"origin": ORIGIN, "sha256": sums}


def has_errors(samples: Mapping[str, list[Sample]]) -> bool:
    """Whether a cell's samples prove nothing."""
    return any(sample.errors for of in samples.values() for sample in of)


def row(cell: Cell, variant: str, samples: list[Sample]) -> dict[str, Any]:
    """One variant of one cell, without what is compared."""
    return {
        "size": cell.size,
        "mode": cell.mode,
        "variant": variant,
        "rounds": len(samples),
        "busy_us": stats.spread([sample.busy_us for sample in samples]).json(),
        "requests_per_s": stats.spread([sample.requests_per_s for sample in samples]).json(),
        "errors": [sample.errors for sample in samples if sample.errors],
        "paper": None,
    }


def words(spread: Mapping[str, float] | None, form: str) -> str:
    """A median and its quartiles."""
    if spread is None:
        return "-"
    median, q1, q3 = (form.format(spread[name]) for name in ("median", "q1", "q3"))
    return f"{median} ({q1} - {q3})"
