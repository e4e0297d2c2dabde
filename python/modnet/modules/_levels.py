"""Policies for a coding's level: `Adaptive` and `Paper` of `modnet.modules.gzip`, which explains them.

One policy object a body, one `Machine` a module. Pure but for `Machine.look`, which reads the machine's load.
Rules: a policy is asked some hundred times a second and flow, from several threads at once: what is shared is
replaced whole or is a dict's item. Must not: know HTTP.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from modnet.estimate import Bandwidth

if TYPE_CHECKING:
    from modnet.http import Encoding

__all__ = ["Adaptive", "Machine", "Paper"]

_TYPICAL: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "gzip": (
        (0.2, 1.4, 2.6, 3.6, 3.9, 5.0, 5.9, 7.0, 8.5, 12.6),
        (1.0, 0.142, 0.108, 0.102, 0.094, 0.086, 0.084, 0.085, 0.082, 0.086),
    ),
    "zstd": (
        (0.8, 1.1, 1.2, 1.5, 1.7, 2.7, 3.3, 3.8, 4.5, 5.0),
        (0.116, 0.072, 0.072, 0.077, 0.077, 0.057, 0.056, 0.055, 0.055, 0.055),
    ),
    "br": (
        (1.8, 2.2, 4.7, 4.9, 5.5, 10.5, 17.8, 26.1, 37.3, 56.0),
        (0.124, 0.108, 0.107, 0.106, 0.104, 0.1, 0.099, 0.098, 0.097, 0.077),
    ),
}
"""Nanoseconds of processor and bytes out for a byte in, by level: `cargo run --example levels` with Figure
4's report. Only proportions count once something was measured.
"""

_LATE = 0.02
"""Seconds of the link's work that the kernel is given: some scheduling delays, and twice what passes between
two decisions.
"""
_UNSENT = (16 * 1024, 1024 * 1024)
"""Bytes of the same, at least and at most: the first flight of a connection; a send buffer."""
_NEAR = 1.01
"""Levels that take less than this more time are as good: what a body's own variation is."""
_BUSY = 2.0
"""From so many bodies for a processor on, level 0 may be chosen: a stored body is 7 to 12 times as long."""
_QUIET = 1.5
"""Fewer than so many for a processor: it has time to work ahead."""
_BELIEVED = 0.3
"""Confidence from which on an estimate counts: the least that `Bandwidth` has while bytes wait on the way."""
_KEPT = 4096
"""Networks remembered; then all are forgotten. 60 bytes each."""
_FRESH = 120.0
"""Seconds for which a network's rate is believed."""


class Flow(Protocol):
    """What a policy needs of a flow."""

    @property
    def tcp(self) -> Any: ...
    @property
    def peer(self) -> tuple[str, int] | None: ...
    def limit_unsent(self, most: int | None) -> None: ...


class Machine:
    """What all bodies of a module share: costs, the machine's load, rates of networks."""

    def __init__(self, cores: int | None = None) -> None:
        self.cores = cores or len(os.sched_getaffinity(0))
        self.active = 0
        """Bodies that are being compressed, as of the last look."""
        self.busy = 0.0
        """Part of the processors' time that is used."""
        self.wanting = 0.0
        """Threads that want a processor."""
        self._cost: dict[tuple[str, int], float] = {}
        self._costs: dict[str, list[float]] = {}
        """What `costs` has made of it."""
        self._networks: dict[str, tuple[float, float]] = {}
        self._counted = dict.fromkeys([*(f"level_{level}" for level in range(10)), "blind"], 0)
        self._asked: set[int] = set()
        self._before = (0, 0)

    # --- the processors ---

    def look(self, stat: str | None = None) -> None:
        """Reads the load; `stat` is the text of /proc/stat."""
        lines = (Path("/proc/stat").read_text() if stat is None else stat).splitlines()
        times = [int(word) for word in lines[0].split()[1:9]]
        idle, total = times[3] + times[4], sum(times)
        idle_before, total_before = self._before
        self._before = (idle, total)
        if total > total_before:
            self.busy = 1.0 - (idle - idle_before) / (total - total_before)
        for line in lines:
            if line.startswith("procs_running "):
                # Without the one that looks.
                self.wanting = max(0.0, float(line.split()[1]) - 1.0)
        asked, self._asked = self._asked, set()
        self.active = len(asked)

    def ask(self, body: int) -> None:
        """A body is being compressed."""
        self._asked.add(body)

    @property
    def share(self) -> float:
        """How many want each processor; a lone body on an idle machine has one for itself."""
        queue = max(self.active, self.wanting) / self.cores
        if self.busy < 0.9:
            # Others may be there, but they leave room.
            return max(1.0, min(queue, 1.0 / (1.0 - self.busy)))
        return max(1.0, queue)

    # --- what a level costs ---

    def costs(self, coding: str) -> list[float]:
        """Seconds for a byte, by level: as measured, or as the nearest measured level has it."""
        found = self._costs.get(coding)
        if found is None:
            typical = _TYPICAL[coding][0]
            known = {level: cost for (name, level), cost in list(self._cost.items()) if name == coding}
            found = [cost * 1e-9 for cost in typical]
            for level in range(10) if known else ():
                nearest = min(known, key=lambda one, level=level: abs(one - level))  # type: ignore[misc]
                found[level] = known[nearest] * typical[level] / typical[nearest]
            self._costs[coding] = found
        return found

    def spent(self, coding: str, level: int, seconds: float, count: int) -> None:
        """So long took so many bytes."""
        if count > 0 and seconds > 0.0:
            now = seconds / count
            before = self._cost.get((coding, level))
            self._cost[coding, level] = now if before is None else before + 0.2 * (now - before)
            # Not for every ripple: the table is looked at more often than it changes.
            if before is None or abs(now - before) > 0.05 * before:
                self._costs.pop(coding, None)

    # --- networks ---

    def rate_of(self, network: str) -> float | None:
        """Bytes a second that a client of this network had of late."""
        rate, at = self._networks.get(network, (0.0, 0.0))
        return rate if rate and time.monotonic() - at < _FRESH else None

    def has_rate(self, network: str, rate: float) -> None:
        """A client of this network has this rate."""
        if len(self._networks) >= _KEPT:
            self._networks = {}
        self._networks[network] = (rate, time.monotonic())

    # --- for whoever looks ---

    def count(self, what: str) -> None:
        """One more. Not exact where threads meet: nobody decides by it."""
        self._counted[what] += 1

    def counters(self) -> dict[str, int]:
        """Decisions by level."""
        return dict(self._counted)


class Paper:
    """The rule of the paper, §5.3."""

    def __init__(self, machine: Machine, lowest: int, highest: int) -> None:
        self._machine = machine
        self._range = (lowest, highest)
        # Where zlib begins.
        self._level = min(max(6, lowest), highest)

    def level(self, flow: Flow, encoding: Encoding) -> int:
        """The level from here on."""
        lowest, highest = self._range
        with _blind(self._machine):
            if encoding.bytes_in == 0:
                flow.limit_unsent(_UNSENT[0])
            tcp = flow.tcp.snapshot()
            held = (tcp.write_seq - tcp.snd_una) % (1 << 32)
            step = -1 if tcp.cwnd * tcp.mss > held else 1
            if encoding.bytes_in > 0:
                self._level = min(max(self._level + step, lowest), highest)
        self._machine.count(f"level_{self._level}")
        return self._level


class Adaptive:
    """The level whose slower half, processor or link, is fastest."""

    def __init__(
        self, machine: Machine, lowest: int, highest: int, bandwidth: Bandwidth | None = None
    ) -> None:
        self._machine = machine
        self._range = range(lowest, highest + 1)
        self._rate: float | None = None
        """Bytes a second that the link carries."""
        self._measured = False
        """Whether that was seen; else it is a guess, or an older connection's."""
        self._bandwidth = bandwidth or Bandwidth()
        self._network = ""
        self._seen = (0, 0.0)
        self._size: float | None = None
        """Bytes out for a byte in, at level 6."""
        self._level = min(max(6, lowest), highest)

    def level(self, flow: Flow, encoding: Encoding) -> int:
        """The level from here on."""
        machine = self._machine
        machine.ask(id(self))
        with _blind(machine):
            self._learn(encoding)
            self._look(flow, encoding)
            self._level = self._best(encoding.name)
        machine.count(f"level_{self._level}")
        return self._level

    def _learn(self, encoding: Encoding) -> None:
        """What the level so far has cost and brought."""
        taken, seconds = self._seen
        now = (encoding.bytes_in, encoding.bytes_out, encoding.seconds)
        self._seen = (now[0], now[2])
        self._machine.spent(encoding.name, encoding.level, now[2] - seconds, now[0] - taken)
        # A coding gives its bytes in bursts: only what it has made in all says something.
        if now[1] > 1000:
            sizes = _TYPICAL[encoding.name][1]
            self._size = now[1] / now[0] * sizes[6] / sizes[encoding.level]

    def _look(self, flow: Flow, encoding: Encoding) -> None:
        """What the link carries."""
        tcp = flow.tcp.snapshot()
        if not self._network and flow.peer is not None:
            self._network = _network(flow.peer[0])
            self._rate = self._machine.rate_of(self._network)
        self._bandwidth.observe(tcp)
        best = self._bandwidth.best()
        unsent = (tcp.write_seq - tcp.snd_nxt) % (1 << 32)
        # What is sent may still wait in front of the link; what is acknowledged does not.
        idle = unsent == 0 and tcp.packets_out == 0 and encoding.bytes_in > 0
        window = tcp.cwnd * tcp.mss / (tcp.srtt_us * 1e-6) if tcp.srtt_us else None
        if best is not None and best.confidence >= _BELIEVED:
            self._rate, self._measured = best.rate, True
            self._machine.has_rate(self._network, best.rate)
        elif unsent > 0 and tcp.delivery_rate > 0 and not tcp.app_limited:
            # The kernel's word: a burst that a bucket lets pass fools it, but not for long.
            self._rate, self._measured = float(tcp.delivery_rate), False
            self._machine.has_rate(self._network, self._rate)
        elif idle and window is not None:
            # All has arrived: it could have carried more than it was given.
            self._rate, self._measured = max(self._rate or 0.0, window), False
        if idle:
            encoding.flush()
        rate = self._rate if self._rate is not None else window
        least, most = _UNSENT
        if self._measured and self._machine.share < _QUIET:
            # The processor has nothing better to do, and what is ready when the link gets faster is ready.
            flow.limit_unsent(most)
        elif rate is not None:
            flow.limit_unsent(int(min(max(rate * _LATE, least), most)))

    def _best(self, coding: str) -> int:
        machine = self._machine
        costs, sizes = machine.costs(coding), _TYPICAL[coding][1]
        scale = 1.0 if self._size is None else self._size / sizes[6]
        share = machine.share
        # Where no other bodies wait, or nothing was seen of the link, bytes are not given away.
        stored = machine.active >= _BUSY * machine.cores and self._measured
        levels = self._range if stored else range(max(self._range.start, 1), self._range.stop)
        slowness = 0.0 if self._rate is None else scale / self._rate
        found, shortest = self._range.start, float("inf")
        for level in levels:
            # The slower half; a level that takes more of the processor has to be worth it.
            takes, link = costs[level] * share, sizes[level] * slowness
            if link > takes:
                takes = link
            if takes * _NEAR < shortest:
                found, shortest = level, takes
        return found


@functools.lru_cache(maxsize=_KEPT)
def _network(address: str) -> str:
    """The client's network: what one provider's customers of one place share."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return str(ipaddress.ip_network((ip, 24 if ip.version == 4 else 48), strict=False))


@contextmanager
def _blind(machine: Machine) -> Iterator[None]:
    """Where TCP's state cannot be read the level stays."""
    try:
        yield
    except OSError:
        machine.count("blind")
