"""Policies for a coding's level: `Adaptive` and `Paper` of `modnet.modules.gzip`, which explains them.

One policy object a body, one `Machine` a module. Pure but for the clock that makes what is known of networks
old. `tests/http/downloads.py` is a model of what they decide about.
Rules: a policy is asked some hundred times a second and flow, from several threads at once: what is shared is
replaced whole or is a dict's item. Between two questions a coding fills the caches with its own, and what a
question touches has to come back from memory: one takes 5 µs when it is asked again at once, 14 behind 300 KB
compressed (60 while the estimators were Python; 3 of the 14 are theirs), 100 where all is to be fetched from
memory. So it calls little and looks at nothing twice. Must not: know HTTP.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import time
from typing import TYPE_CHECKING, Any, Protocol

from modnet.estimate import Bandwidth

if TYPE_CHECKING:
    from modnet.http import Encoding

__all__ = ["Adaptive", "Machine", "Paper"]

_TYPICAL: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "gzip": (
        (0.2, 1.4, 2.6, 3.6, 3.9, 5.0, 5.9, 7.0, 8.5, 12.7),
        (1.0, 0.142, 0.108, 0.102, 0.094, 0.086, 0.084, 0.086, 0.0824, 0.0819),
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
"""Seconds of the link's work that the kernel is given, besides what passes while the other bodies have their
turn: some scheduling delays, and twice what passes between two decisions.
"""
_READ = 256 * 1024
"""Bytes of a body that are compressed in one turn."""
_UNSENT = (16 * 1024, 1024 * 1024)
"""Bytes of the same, at least and at most: the first flight of a connection; a send buffer."""
_REST = 1.5e-9
"""Seconds of the processor for a byte besides its coding: to make it, to copy it through four sockets.
Measured with Apache and PHP; without it the level that just fills the processor is taken for one that leaves
room.
"""
_OTHER = 0.15
"""Of the faster half so much counts beside the slower one."""
_BUSY = 2.0
"""From so many bodies for a processor on, level 0 may be chosen: a stored body is 7 to 12 times as long."""
_QUIET = 1.5
"""Fewer than so many for a processor: it has time to work ahead."""
_BELIEVED = 0.3
"""Confidence from which on an estimate counts: the least that `Bandwidth` has while bytes wait on the way."""
_PROBE = 2.0
"""A link that stands idle is believed to carry so many times what was believed, or what has arrived: as in
slow start, until it has something to send when it is looked at.
"""
_MANY = 16
"""Packets' worth of bytes: the first so many of a connection may be a burst that a bucket lets pass; how long
fewer took says little.
"""
_STALE = 2.0
"""Seconds for which a rate is believed while the link stands idle: `modnet.estimate`'s half-life."""
_FADES = 0.7
"""Of the bodies that there were at the last look so many are expected again: within two seconds none."""
_CROWD_FADES = 0.995
"""The same for a body that begins: half of them within half a minute."""
_SMOOTH = 0.2
"""Of what a level costs, the newest counts so much."""
_SLOWEST = 20.0
"""Where a coding was held up longer, it was not by others that have their turn."""
_KEPT = 4096
"""Networks remembered; then all are forgotten. 60 bytes each."""
_FRESH = 120.0
"""Seconds for which a network's rate is believed."""
_CHOSEN = tuple(f"level_{level}" for level in range(10))
"""What decisions are counted as."""


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
        """Bodies that are being compressed, as of the last look and since."""
        self.lately = 0.0
        """As many as there were at recent looks."""
        self.crowd = 0.0
        """As many as there were within the last half minute: clients that were served together come back
        together, and the first of them is not alone.
        """
        self.carried = 0.0
        """Bytes a second that their links carry, as far as is known."""
        self.slowed = 1.0
        """How many times as long as it should a coding takes, since others want the processors too."""
        self._cost: dict[tuple[str, int], float] = {}
        self._costs: dict[str, list[float]] = {}
        """What `costs` has made of it."""
        self._networks: dict[str, tuple[float, float]] = {}
        self._counted = dict.fromkeys([*_CHOSEN, "blind"], 0)
        self._bodies: dict[int, float] = {}
        """The rates of their links."""
        self._before_that: dict[int, float] = {}
        """Those that were not heard of since the last look."""

    # --- the processors ---

    def look(self) -> None:
        """Forgets bodies that were not heard of for a while."""
        self.lately = max(self.active, _FADES * self.lately)
        self.crowd = max(self.active, _CROWD_FADES * self.crowd)
        self._before_that, self._bodies = self._bodies, {}
        self.active, self.carried = len(self._before_that), sum(self._before_that.values())

    def ask(self, body: int, rate: float | None) -> None:
        """A body is being compressed, for a link of this rate."""
        known = self._bodies.get(body)
        if known is None:
            # Of two looks: a body on a slow link has its turn a few times a second.
            known = self._before_that.pop(body, None)
            if known is None:
                self.active += 1
        # At once: where all links become faster at the same time, so does what all want. Sums that two
        # threads have spoilt are right again after the next look.
        self._bodies[body] = rate or 0.0
        self.carried += self._bodies[body] - (known or 0.0)

    def forget(self, body: int) -> None:
        """It is over, or nobody wants it any more."""
        rate = self._bodies.pop(body, None)
        if rate is None:
            rate = self._before_that.pop(body, None)
        if rate is not None:
            self.active -= 1
            self.carried -= rate

    def share(self, rate: float | None, begins: bool) -> float:
        """How many want each processor, if all did as a body does whose link has this rate; a lone body on an
        idle machine has one for itself.

        Bodies on slower links want less of it, and those on faster ones get no more than everybody. What the
        levels in use happen to leave is not asked: all would take it at once. Of a body that `begins` nobody
        knows who comes with it; the next question is soon.
        """
        wanting = max(self.active, self.crowd if begins else self.lately)
        if rate and self.active and 0.0 < self.carried < self.active * rate:
            # The others as those that are there.
            wanting *= self.carried / (self.active * rate)
        return max(1.0, wanting / self.cores) * self.slowed

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

    def spent(self, coding: str, level: int, seconds: float, elapsed: float, count: int) -> None:
        """So much of the processor took so many bytes, and so long."""
        if count > 0 and seconds > 0.0:
            self.slowed += _SMOOTH * (min(max(elapsed / seconds, 1.0), _SLOWEST) - self.slowed)
            now = seconds / count
            before = self._cost.get((coding, level))
            self._cost[coding, level] = now if before is None else before + _SMOOTH * (now - before)
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

    def blind(self) -> None:
        """TCP's state could not be read, and the level stays."""
        self.count("blind")

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
        try:
            if encoding.bytes_in == 0:
                flow.limit_unsent(_UNSENT[0])
            tcp = flow.tcp.snapshot()
            held = (tcp.write_seq - tcp.snd_una) % (1 << 32)
            step = -1 if tcp.cwnd * tcp.mss > held else 1
            if encoding.bytes_in > 0:
                self._level = min(max(self._level + step, lowest), highest)
        except OSError:
            self._machine.blind()
        self._machine.count(_CHOSEN[self._level])
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
        self._heard = 0.0
        """The estimate that was last believed."""
        self._at = (0, 0.0)
        """Bytes that had arrived at the last look, and when that was."""
        self._known = 0.0
        """When the rate was last seen, or taken over from the network."""
        self._unsent: int | None = None
        """The bound that the kernel was given."""
        self._network = ""
        self._seen = (0, 0.0, 0.0)
        self._size: float | None = None
        """Bytes out for a byte in, at level 6."""
        self._level = min(max(6, lowest), highest)

    def __del__(self) -> None:
        # The body's end: nothing else tells of it.
        self._machine.forget(id(self))

    def level(self, flow: Flow, encoding: Encoding) -> int:
        """The level from here on."""
        machine = self._machine
        try:
            if encoding.bytes_in > 0:
                self._learn(encoding)
            self._look(flow, encoding)
            machine.ask(id(self), self._rate)
            share = machine.share(self._rate, encoding.bytes_in == 0)
            self._level = self._best(encoding.name, share)
            if self._level <= max(self._range.start, 1):
                # The processor is the slower half at every level, until something waits for the link.
                encoding.until_busy()
            self._bound(flow, encoding.name, share)
        except OSError:
            machine.blind()
        machine.count(_CHOSEN[self._level])
        return self._level

    def _learn(self, encoding: Encoding) -> None:
        """What the level so far has cost and brought."""
        taken, seconds, elapsed = self._seen
        self._seen = now = (encoding.bytes_in, encoding.seconds, encoding.elapsed)
        self._machine.spent(encoding.name, encoding.level, now[1] - seconds, now[2] - elapsed, now[0] - taken)
        # A coding gives its bytes in bursts: only what it has made in all says something.
        made = encoding.bytes_out
        if made > 1000:
            sizes = _TYPICAL[encoding.name][1]
            self._size = made / now[0] * sizes[6] / sizes[encoding.level]

    def _look(self, flow: Flow, encoding: Encoding) -> None:
        """What the link carries."""
        tcp = flow.tcp.snapshot()
        if not self._network and flow.peer is not None:
            self._network = _network(flow.peer[0])
            self._rate = self._machine.rate_of(self._network)
            self._known = tcp.updated_ns * 1e-9
            if self._rate is not None and tcp.delivery_rate > self._rate:
                # What this connection has carried its link can carry, whatever others of its network do: who
                # reads nothing is slow. Short bodies are asked about once, and would never find that out.
                self._rate = float(tcp.delivery_rate)
        now = tcp.updated_ns * 1e-9
        acked, before = self._at
        self._at = (tcp.bytes_acked, now)
        arrived = (tcp.bytes_acked - acked) / (now - before) if 0.0 < before < now else 0.0
        unsent = (tcp.write_seq - tcp.snd_nxt) % (1 << 32)
        # What is sent may still wait in front of the link; what is acknowledged does not.
        idle = unsent == 0 and tcp.packets_out == 0 and encoding.bytes_in > 0
        self._bandwidth.observe(tcp)
        best = self._bandwidth.best()
        if best is not None and best.confidence >= _BELIEVED and best.rate != self._heard:
            self._heard = best.rate
            # What has arrived the link has carried: the kernel's rate is that of one packet's round trip, and
            # has dips.
            many = tcp.bytes_acked - acked >= _MANY * tcp.mss
            self._saw(max(best.rate, arrived) if many else best.rate, now, True)
        elif unsent > 0 and tcp.delivery_rate > 0 and not tcp.app_limited:
            # The kernel's word: a burst that a bucket lets pass fools it, but not for long.
            if not self._shows_little(tcp):
                self._saw(float(tcp.delivery_rate), now, False)
        elif idle:
            if not self._shows_little(tcp):
                self._stood_idle(tcp, arrived, now)
            encoding.flush()

    def _shows_little(self, tcp: Any) -> bool:
        """Whether what its network has says more than what the connection has shown."""
        return self._rate is not None and tcp.bytes_acked < _MANY * tcp.mss

    def _saw(self, rate: float, now: float, measured: bool) -> None:
        self._rate, self._measured, self._known = rate, measured, now
        self._machine.has_rate(self._network, rate)

    def _stood_idle(self, tcp: Any, arrived: float, now: float) -> None:
        """All has arrived: the processor was the slower half, or the link has become faster."""
        window = tcp.cwnd * tcp.mss / (tcp.srtt_us * 1e-6) if tcp.srtt_us else arrived
        rate = self._rate
        if rate is not None and now - self._known <= _STALE:
            window = min(_PROBE * max(rate, arrived), window)
        if rate is None or window > rate:
            self._rate, self._measured = window, False
            self._machine.has_rate(self._network, window)

    def _bound(self, flow: Flow, coding: str, share: float) -> None:
        """Has the kernel be given what it will send until this body has its turn again."""
        least, most = _UNSENT
        if self._measured and share < _QUIET:
            # The processor has nothing better to do, and what is ready when the link gets faster is ready.
            unsent = most
        elif self._rate is not None:
            turn = share * _READ * self._machine.costs(coding)[self._level]
            unsent = int(min(max(self._rate * (_LATE + turn), least), most))
        else:
            unsent = least
        # Each change is a system call, and the socket's next event.
        if self._unsent is None or not 0.75 * self._unsent <= unsent <= 1.33 * self._unsent:
            self._unsent = unsent
            flow.limit_unsent(unsent)

    def _best(self, coding: str, share: float) -> int:
        machine = self._machine
        costs, sizes = machine.costs(coding), _TYPICAL[coding][1]
        scale = 1.0 if self._size is None else self._size / sizes[6]
        # Where no other bodies wait, or nothing was seen of the link, bytes are not given away.
        stored = machine.active >= _BUSY * machine.cores and self._measured
        levels = self._range if stored else range(max(self._range.start, 1), self._range.stop)
        slowness = 0.0 if self._rate is None else scale / self._rate
        found, least = self._range.start, float("inf")
        for level in levels:
            # The slower half, and a little of the other: what a moment later may be the slower one.
            takes, link = (costs[level] + _REST) * share, sizes[level] * slowness
            takes = takes + _OTHER * link if takes > link else link + _OTHER * takes
            if takes < least:
                found, least = level, takes
        return found


@functools.lru_cache(maxsize=_KEPT)
def _network(address: str) -> str:
    """The client's network: what one provider's customers of one place share."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return str(ipaddress.ip_network((ip, 24 if ip.version == 4 else 48), strict=False))
