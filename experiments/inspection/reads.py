"""What it costs to know a connection's state: by the mapping, and by asking the kernel.

    python -m experiments.inspection.reads [--quick] [--json]

One connection over loopback for each language, at rest; inspection enabled in a folder of this run's own.
Every figure is the least of many batches of about a millisecond: what others took of the core is in the other
batches, so that a busy machine changes little. It must not measure what writing a state costs: see cost.py.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import timeit
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from modnet import calls
from rich.table import Table

from experiments.common import cli, runner, tables
from experiments.common.errors import ExperimentError
from experiments.common.machine import REPOSITORY, compile_c
from experiments.common.report import Check, Report, check
from experiments.inspection import reader

_C = Path(__file__).with_name("reads.c")
_RUST = REPOSITORY / "target/release/examples/reads"
_LIBRARY, _HEADER = REPOSITORY / "python/modnet/lib", REPOSITORY / "include"
_BATCHES = {False: 200, True: 20}
_BATCH = 10_000
# Line 1 of the issue.
BOUNDS = {
    ("Rust", "field"): 1.0,
    ("C", "field"): 1.0,
    ("Python", "field"): 150.0,
    ("Rust", "snapshot"): 50.0,
}
WORDS = {
    "field": "one field of the mapping",
    "checked_field": "the same through Watch: is it still written?",
    "snapshot": "all fields as they stood together",
    "tcp_info": "getsockopt(TCP_INFO)",
    "sample": "the same as a state, what a sampled flow costs",
    "sock_diag": "netlink sock_diag, TCP_INFO of this connection",
    "choose": "first read of a socket: it gets a slot",
}


def main() -> None:
    """Measures and prints."""
    parser = cli.parser("inspection.reads", "What does it cost to know a connection's state?")
    runner.run(parser, _measure, _show)


def _show(report: Report, _: None) -> None:
    console = tables.console()
    made = Table("what", "language", title="Nanoseconds, the least of many batches")
    made.add_column("ns", justify="right")
    for row in report.rows:
        made.add_row(WORDS[row["what"]], row["language"], f"{row['ns']:,.2f}")
    console.print(made)
    tables.checks(console, report)


def rows(found: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """A row for each figure, by what was done, then by language."""
    return [
        {"what": what, "language": language, "ns": figures[what], "paper": None}
        for what in WORDS
        for language, figures in found.items()
        if what in figures
    ]


def checks(found: Mapping[str, Mapping[str, float]]) -> list[Check]:
    """Line 1 of the issue."""
    return [
        check(f"{language}: {WORDS[what]}, ns", found.get(language, {}).get(what), f"<= {bound}")
        for (language, what), bound in BOUNDS.items()
    ]


def _measure(arguments: argparse.Namespace) -> tuple[Report, None]:
    tools = [["cc", "--version"], ["rustc", "--version"]]
    with (
        runner.facts(tools, product=True) as facts,
        reader.enabled("bpf"),
        tempfile.TemporaryDirectory() as folder,
    ):
        found = {
            "Rust": program([str(rust()), "cost"]),
            "C": program([str(_compiled(Path(folder)))]),
            "Python": _python(_BATCHES[arguments.quick]),
        }
    return facts.report({"bytes": "none: connections at rest"}, rows(found), checks(found)), None


def rust() -> Path:
    """The reader in Rust, built."""
    argv = [
        "scripts/rust.sh",
        "cargo",
        "build",
        "--release",
        "-q",
        "-p",
        "modnet-inspect",
        "--example",
        "reads",
    ]
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ExperimentError(f"the Rust reader cannot be built: {(done.stderr.splitlines() or ['?'])[-1]}")
    return _RUST


def _compiled(folder: Path) -> Path:
    program = folder / "reads"
    options = (f"-I{_HEADER}", f"-L{_LIBRARY}", f"-Wl,-rpath,{_LIBRARY}", "-lmodnet")
    compile_c(_C, program, *options)
    return program


def program(argv: list[str]) -> dict[str, float]:
    """The figures that a program prints."""
    environment = {**os.environ, "MODNET_INSPECT": "bpf"}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise ExperimentError(f"{Path(argv[0]).name} failed: {done.stderr.strip()}")
    return {name: float(value) for name, value in json.loads(done.stdout).items()}


def _python(batches: int) -> dict[str, float]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    with client, server:
        tcp = calls.map_state(server.fileno())
        if tcp.source != "bpf":
            raise ExperimentError(f"the kernel does not write this socket's state: {tcp.reason}")
        names = {"tcp": tcp, "tcp_info": _tcp_info(server)}
        return {
            "field": _fastest("tcp.cwnd", names, batches),
            "snapshot": _fastest("tcp.snapshot()", names, batches),
            "tcp_info": _fastest("tcp_info()", names, batches),
        }


def _tcp_info(connection: socket.socket) -> Callable[[], bytes]:
    # 256 bytes hold all of the kernel's struct tcp_info.
    return lambda: connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)


def _fastest(statement: str, names: dict[str, Any], batches: int) -> float:
    timer = timeit.Timer(statement, globals=names)
    return min(timer.repeat(repeat=batches, number=_BATCH)) / _BATCH * 1e9


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
