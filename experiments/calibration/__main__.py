"""Compiles calls.c, runs it on the cores that the experiments use, and reports.

A process switch is half of a byte's way to another process and back, less the pipe's own calls (measured
without a switch). It must not compare with other machines: the prototypes' figures stand beside only for
orientation.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.table import Table

from experiments.common import cli, runner, tables
from experiments.common.errors import ExperimentError
from experiments.common.machine import compile_c
from experiments.common.report import Report, check

_SOURCE = Path(__file__).with_name("calls.c")
_PIPE = "pipe: write and read 1 byte"
_TRIPS = {
    "to another process and back, same core": "one process switch, same core",
    "to another process and back, two cores": "one wake-up of another core",
}


def switches(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows derived from the round trips: half of each, less one write and read."""
    ns = {row["name"]: row["ns"] for row in rows}
    return [
        {"name": name, "ns": round(ns[trip] / 2 - ns[_PIPE], 1), "paper": None}
        for trip, name in _TRIPS.items()
    ]


def main() -> None:
    """Measures and prints."""
    parser = cli.parser("calibration", "What do single calls and a process switch cost on this machine?")
    runner.run(parser, _measure, _show)


def _show(report: Report, _: None) -> None:
    table = Table("what", title="the least of several averages", title_justify="left")
    table.add_column("ns", justify="right")
    for row in report.rows:
        table.add_row(row["name"], f"{row['ns']:,.0f}")
    tables.console().print(table)


def _measure(_: argparse.Namespace) -> tuple[Report, None]:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise ExperimentError("two cores are needed: allow this process a second one")
    with runner.facts([["cc", "--version"]], product=False) as facts, tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "calls"
        compile_c(_SOURCE, program)
        done = subprocess.run(
            [program, str(cores[0]), str(cores[1])],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    if done.returncode:
        raise ExperimentError(
            f"calls.c stopped: {done.stderr.strip() or f'signal or status {done.returncode}'}"
        )
    rows = [json.loads(line) | {"paper": None} for line in done.stdout.splitlines()]
    rows += switches(rows)
    data = {"origin": "none: the calls make their own", "sha256": {}}
    least = min(row["ns"] for row in rows)
    return facts.report(data, rows, [check("least figure, in ns", least, ">= 0")]), None


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
