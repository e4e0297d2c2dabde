"""The rounds: every way of a link in turn, a new connection each, in an order that changes.

The clocks of both hosts are one: the kernel's. It must not judge.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from experiments.common import stats
from experiments.common.errors import ExperimentError
from experiments.common.machine import REPOSITORY
from experiments.common.servers import Server
from experiments.common.shaping import Shape
from experiments.net import Hosts
from experiments.revocation import plan

_HERE = Path(__file__).parent
_PORT = 9000
_PATIENCE_S = 90.0


@dataclass(frozen=True)
class Decision:
    """One moment at which what had not been sent was old."""

    unsent: int
    """Bytes that the kernel held and had not sent."""
    flight: int
    """Bytes sent and not acknowledged."""
    rtt_us: int
    min_rtt_us: int
    mss: int
    reaction_s: float | None
    """Until the client had the first byte of the new content; None: it never came."""
    overtaken: bool = False
    """The next decision came before it was sent, and has taken it back."""


@dataclass
class Run:
    """One connection. `goodput` in bytes a second; `start_s`: until the client had 100 KB."""

    goodput: float
    start_s: float
    decisions: list[Decision] = field(default_factory=list)


def run(
    cases: Sequence[plan.Case], length: plan.Length, done: Callable[[], None]
) -> dict[plan.Case, list[Run]]:
    """Measures all; `done` is called after each connection."""
    runs: dict[plan.Case, list[Run]] = {case: [] for case in cases}
    for control in dict.fromkeys(case.control for case in cases):
        with Hosts(control, router=True) as hosts:
            seed = 0
            for number in range(length.rounds):
                for mbit in dict.fromkeys(case.mbit for case in cases):
                    here = [case for case in cases if (case.control, case.mbit) == (control, mbit)]
                    for index in stats.order(len(here), number):
                        seed += 1
                        case = here[index]
                        hosts.shape(Shape(mbit, buffer_packets=case.buffer_packets))
                        runs[case].append(_connection(hosts, case, length, seed))
                        done()
    return runs


def _connection(hosts: Hosts, case: plan.Case, length: plan.Length, seed: int) -> Run:
    folder = hosts.work / f"{case.way}.{seed}"
    folder.mkdir()
    log = folder / "decisions"
    decisions = case.decisions(length)
    numbers = [length.goodput_s, decisions, length.every_s, seed]
    argv = [sys.executable, str(_HERE / "sender.py"), case.way, str(_PORT), str(log), *map(str, numbers)]
    environment = {}
    if case.way == plan.LATE:
        names = ("goodput_s", "decisions", "every_s", "seed")
        settings = ",".join(f"{name}={value}" for name, value in zip(names, numbers, strict=True))
        module = f"{_HERE / 'revoker.py'}:Revoker,log={log},{settings}"
        argv = [sys.executable, "-m", "modnet", "run", "-m", module, "--", *argv]
        environment = {"MODNET_RUNTIME_DIR": str(folder / "rt"), "PYTHONPATH": str(REPOSITORY)}
    server = Server(hosts.server, folder)
    server.start(argv, environment)
    try:
        said = _client(hosts, decisions, server)
    finally:
        server.stop()
    return _read(said, log, length.goodput_s)


def _client(hosts: Hosts, decisions: int, server: Server) -> dict[str, list[list[int]] | dict[str, int]]:
    argv = [sys.executable, _HERE / "client.py", hosts.server.ipv4, str(_PORT), str(decisions)]
    client = hosts.client.popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        out, errors = client.communicate(timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired:
        client.kill()
        out, errors = "", f"nothing new for {_PATIENCE_S:.0f} s"
    if not out:
        last = (errors.strip().splitlines() or ["no reason given"])[-1]
        raise ExperimentError(f"the client: {last}; the server: {server.last_words()}")
    said: dict[str, list[list[int]] | dict[str, int]] = json.loads(out)
    return said


def _read(said: dict, log: Path, goodput_s: float) -> Run:  # type: ignore[type-arg]  # as JSON has it
    counts, marks = said["counts"], said["marks"]
    begun = counts[0][0]
    found = Run(
        goodput=next(
            (total / (now - begun) * 1e9 for now, total in counts if now >= begun + goodput_s * 1e9), 0.0
        ),
        start_s=next((now - begun) / 1e9 for now, total in counts if total >= 100_000),
    )
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for number, row in enumerate(lines, 1):
        seen = marks.get(str(number))
        found.decisions.append(
            Decision(
                *(row[name] for name in ("unsent", "flight", "rtt_us", "min_rtt_us", "mss")),
                reaction_s=None if seen is None else (seen - row["at"]) / 1e9,
                overtaken=number < len(lines) and bool(lines[number]["took_new"]),
            )
        )
    return found
