"""The rounds: every variant of a cell in turn, in an order that changes, after a warm-up. Yields samples.

The server core's busy time of a round holds everything on that core from just before the first connection to
the last response, so a request's part in it is complete: accept, handshake, packets, modules.
It must not judge: analysis.py does.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from experiments.common import cpu, load, processes, stats
from experiments.common.errors import ExperimentError
from experiments.fig03 import plan
from experiments.fig03.variants import Started
from experiments.net import Hosts

# After wrk has gone, servers still end its last connections; that belongs to nobody's next round.
_SETTLE_S = 0.05
_SEED = 3


@dataclass(frozen=True)
class Sample:
    """One round of one variant."""

    requests_per_s: float
    bytes_per_s: float
    p50_us: float
    p99_us: float
    busy_us: float
    """Of the server's core, per request."""
    busy: float
    """Of the server's core, share of the round."""
    client_busy: float
    errors: dict[str, int] = field(default_factory=dict)
    processes_us: dict[str, float] = field(default_factory=dict)
    """CPU time of each process on the server's host, per request; `nginx` is all of its processes."""


def write_data(folder: Path, sizes: tuple[str, ...]) -> dict[str, str]:
    """Writes a file of each size, the same bytes in every run; answers their SHA-256."""
    folder.mkdir()
    sums = {}
    for size in sizes:
        content = random.Random(f"{_SEED} {size}").randbytes(plan.SIZES[size])
        (folder / size).write_bytes(content)
        sums[size] = hashlib.sha256(content).hexdigest()
    return sums


@dataclass
class Bench:
    """The hosts with all variants up."""

    hosts: Hosts
    started: dict[str, Started]
    sums: dict[str, str]
    round_s: float
    warm_s: float

    def cell(
        self, cell: plan.Cell, variants: tuple[str, ...], rounds: int, done: Callable[[], None]
    ) -> dict[str, list[Sample]]:
        """Measures one cell; `done` is called after each sample."""
        self.hosts.shape(plan.LINKS[cell.link])
        lengths = {name: self.length(cell, name) for name in variants}
        for name in variants:
            self._load(cell, name, self.warm_s)
        samples: dict[str, list[Sample]] = {name: [] for name in variants}
        for number in range(rounds):
            for index in stats.order(len(variants), number):
                name = variants[index]
                samples[name].append(self.sample(cell, name, lengths[name]))
                done()
        return samples

    def _round_s(self, cell: plan.Cell) -> float:
        """A round, long enough on a shaped link for three responses to each connection."""
        mbit = plan.LINKS[cell.link]
        least = 3 * load.CONNECTIONS * plan.SIZES[cell.size] * 8 / (mbit * 1e6) if mbit else 0.0
        return max(self.round_s, least)

    def _port(self, cell: plan.Cell, name: str) -> int:
        return self.started[name].keep_port if cell.mode == "keep" else self.started[name].port

    def length(self, cell: plan.Cell, name: str) -> int:
        """Asks once, compares the body's hash, and answers the length of a whole response."""
        server = self.hosts.server
        length, found = load.probe(
            self.hosts.client, self._port(cell, name), server.ipv4, f"/{cell.size}", cell.mode == "keep"
        )
        if found != self.sums[cell.size]:
            raise ExperimentError(
                f"{name} answers {cell.size} with other bytes than the file's: do not trust it with data"
            )
        return length

    def _load(self, cell: plan.Cell, name: str, duration_s: float) -> load.Load:
        url = f"http://{self.hosts.server.ipv4}:{self._port(cell, name)}/{cell.size}"
        return load.run(self.hosts.client, url, cell.mode == "keep", duration_s)

    def sample(self, cell: plan.Cell, name: str, length: int) -> Sample:
        """One round of one variant, whose whole responses have `length` bytes."""
        server, client = self.hosts.server, self.hosts.client
        time.sleep(_SETTLE_S)
        pids = {pid: processes.role(pid) for pid in server.processes()}
        used = {pid: processes.cpu_ns(pid) for pid in pids}
        server_before, client_before = cpu.read(server.core), cpu.read(client.core)
        result = self._load(cell, name, self._round_s(cell))
        server_after, client_after = cpu.read(server.core), cpu.read(client.core)
        per_role: dict[str, int] = {}
        for pid, role in pids.items():
            # A process that has ended meanwhile reads as 0: its part is unknown, never negative.
            per_role[role] = per_role.get(role, 0) + max(0, processes.cpu_ns(pid) - used[pid])
        # Responses by bytes: wrk counts only whole ones, and of 1 MB each 64 are always under way.
        requests = result.received / length
        errors = dict(result.errors)
        if not result.requests:
            errors["no_response"] = 1
        elif self.started[name].stands_between and not _someone_worked(per_role):
            errors["nobody_between"] = 1
        requests = max(requests, 1e-9)
        busy_s = cpu.busy_s(server_before, server_after)
        return Sample(
            requests_per_s=requests / result.duration_s,
            bytes_per_s=result.received / result.duration_s,
            p50_us=result.p50_us,
            p99_us=result.p99_us,
            busy_us=busy_s * 1e6 / requests,
            busy=min(1.0, busy_s * 1e9 / (server_after.now_ns - server_before.now_ns)),
            client_busy=cpu.busy_s(client_before, client_after)
            * 1e9
            / (client_after.now_ns - client_before.now_ns),
            errors=errors,
            processes_us={role: ns / 1e3 / requests for role, ns in per_role.items() if ns > 1e2 * requests},
        )


def _someone_worked(per_role: dict[str, int]) -> bool:
    """Whether anybody beside nginx had a part in the round; if not, nothing was stolen: native was measured.

    A twentieth of nginx's own time: idle processes' timers use far less, the leanest forwarder far more.
    """
    return sum(ns for role, ns in per_role.items() if role != "nginx") >= per_role.get("nginx", 0) / 20
