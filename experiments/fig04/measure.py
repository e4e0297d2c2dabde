"""The rounds: every variant of a link in turn, in an order that changes. It must not judge."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from experiments.common import cpu, processes, stats, traces
from experiments.common.errors import ExperimentError
from experiments.common.servers import Server
from experiments.fig04 import apache, clients, plan
from experiments.fig04.links import Links
from experiments.net import Hosts

_FIRST_PORT = 8001


@dataclass(frozen=True)
class Sample:
    """One round of one variant."""

    mean_s: float
    p95_s: float
    bytes: float
    """Received, a download."""
    busy_ms: float
    """Of the server's core, a download; whoever else is on it counts too."""
    cpu_ms: float
    """Of the variant's own processes, a download; packets that interrupts handle are not in it."""


@contextlib.contextmanager
def running(hosts: Hosts, variants: tuple[str, ...], www: Path) -> Iterator[dict[str, int]]:
    """All variants up; the port of each."""
    with contextlib.ExitStack() as undo:
        ports = {}
        for number, variant in enumerate(variants):
            folder = hosts.work / variant
            folder.mkdir()
            server = Server(hosts.server, folder)
            undo.callback(server.stop)
            ports[variant] = _FIRST_PORT + number
            apache.start(server, variant, ports[variant], www)
        yield ports


def accept(variant: str) -> str:
    """What the clients of a variant take."""
    return {plan.NATIVE: "identity", plan.ZSTD: "zstd"}.get(variant, "gzip")


@dataclass
class Bench:
    """The hosts with all variants up."""

    hosts: Hosts
    links: Links
    ports: dict[str, int]
    report: bytes
    size: plan.Size
    traces: tuple[list[traces.Step], ...]
    """Of the changing link, one a round in turn."""

    def check(self) -> None:
        """Every variant sends the report, coded as it should be."""
        for variant, port in self.ports.items():
            wanted = "identity" if variant == plan.NATIVE else accept(variant)
            coding, body = clients.fetch(self.hosts.client, self.links.server, port, accept(variant))
            if coding != wanted or (coding != "zstd" and body != self.report):
                raise ExperimentError(
                    f"{variant} sends {coding} and {len(body)} bytes: that is not the report"
                )

    def link(self, link: str, variants: tuple[str, ...], done: Callable[[], None]) -> dict[str, list[Sample]]:
        """Measures all variants on one link; `done` is called after each sample."""
        found: dict[str, list[Sample]] = {variant: [] for variant in variants}
        count = plan.clients(link, self.size.clients)
        # A round before those that count: what is learned of a network is of this link.
        for number in range(-1, plan.rounds(link, self.size)):
            for index in stats.order(len(variants), max(number, 0)):
                variant = variants[index]
                sample = self._sample(link, variant, count, number)
                if number >= 0:
                    found[variant].append(sample)
                done()
        return found

    def _sample(self, link: str, variant: str, count: int, number: int) -> Sample:
        change: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
        mbit = plan.LINKS[link]
        if mbit is not None:
            self.links.set(mbit)
        else:
            steps = plan.changing(self.traces[number % len(self.traces)], max(number, 0))
            self.links.set(steps[0].mbit, min(plan.CHANGE_MBIT))
            change = traces.Replay(self.links.change, steps)
        core = self.hosts.server.core
        each = 1 if number < 0 else plan.downloads(link, variant, self.size)
        used = self._used(variant)
        before = cpu.read(core)
        with change:
            found = clients.run(
                self.hosts.client, self.links.server, self.ports[variant], accept(variant), count, each
            )
        busy = cpu.busy_s(before, cpu.read(core))
        times = sorted(download.seconds for download in found)
        return Sample(
            mean_s=sum(times) / len(times),
            p95_s=times[min(len(times) - 1, int(0.95 * len(times)))],
            bytes=sum(download.received for download in found) / len(found),
            busy_ms=busy * 1000 / len(found),
            cpu_ms=(self._used(variant) - used) / 1e6 / len(found),
        )

    def _used(self, variant: str) -> int:
        """Nanoseconds of all processes that were started for a variant, and of their children."""
        folder = f"{self.hosts.work / variant}/".encode()
        pids = self.hosts.server.processes()
        mine = [pid for pid in pids if folder in processes.told(pid)]
        return sum(map(processes.cpu_ns, mine))
