"""A connection over a simulated link: every acknowledgement as the snapshot that a reader would see after it.

    snapshots = Link(rate=125_000).carry([Write(at_ns=0, size=50_000)])

The sender keeps `cwnd` packets under way and adds one for each acknowledged, up to `cwnd_limit`. The link is
a token bucket with a queue in front; the receiver acknowledges every `ack_every` packets, a lone one by a
timer, and the way back may hold acknowledgements together. Deterministic; times in ns from `START_NS`.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

MSS = 1448
START_NS = 1_000_000_000
MS = 1_000_000
SECOND = 1_000_000_000
# What passes at once passes at 1 Gbit/s.
_LINE_NS = 12_000
_ACK_NS = 10_000


@dataclass(frozen=True)
class Packet:
    arrival_ns: int = 0
    sent_ns: int = 0
    acked_bytes: int = 0


@dataclass(frozen=True)
class Snapshot:
    updated_ns: int = START_NS
    snd_una: int = 0
    snd_nxt: int = 0
    write_seq: int = 0
    mss: int = MSS
    srtt_us: int = 0
    min_rtt_us: int = 0
    delivered: int = 0
    bytes_acked: int = 0
    delivery_rate: float = 0.0
    app_limited: bool = False
    retransmits: int = 0
    packets: tuple[Packet, Packet] = (Packet(), Packet())


@dataclass(frozen=True)
class Write:
    at_ns: int
    size: int


@dataclass
class Link:
    """`rate` in bytes of payload a second, or a function of the time; `bucket` bytes pass at once."""

    rate: float | Callable[[int], float]
    rtt_ns: int = 10 * MS
    bucket: float = 0.0
    ack_every: int = 1
    ack_timer_ns: int = 40 * MS
    hold_ns: int = 0
    """Acknowledgements wait for the next multiple of this: compression."""
    whole: bool = False
    """A packet passes when its predecessor is paid for, as large packets do through HTB."""
    packet: Callable[[int], int] = lambda number: MSS
    """The size of the packet with this number."""
    cwnd: int = 10
    cwnd_limit: int = 60
    first_seq: int = 1
    _tokens: float = 0.0
    _full_ns: int = 0
    _free_ns: int = 0
    _back_ns: int = 0

    def carry(self, writes: Iterable[Write]) -> list[Snapshot]:
        """A snapshot for each write and each acknowledgement."""
        return list(self._run(list(writes)))

    def _run(self, writes: list[Write]) -> Iterator[Snapshot]:
        self._tokens, self._full_ns = self.bucket, START_NS
        order = itertools.count()
        events: list[tuple[int, int, str, object]] = []

        def later(at_ns: int, kind: str, value: object) -> None:
            heapq.heappush(events, (at_ns, next(order), kind, value))

        for write in writes:
            later(START_NS + write.at_ns, "write", write.size)
        written = sent = acked = delivered = number = 0
        cwnd, flight = float(self.cwnd), 0
        waiting: list[tuple[int, int]] = []  # (size, sent_ns) at the receiver, not acknowledged
        timer = 0
        last = (Packet(), Packet())
        srtt = least = 0.0
        while events:
            now, _, kind, value = heapq.heappop(events)
            if kind == "write":
                written += int(value)  # type: ignore[call-overload]
            elif kind == "arrive":
                waiting.append(value)  # type: ignore[arg-type]
                timer += 1
                if len(waiting) >= self.ack_every:
                    later(self._back(now), "ack", waiting)
                    waiting = []
                else:
                    later(now + self.ack_timer_ns, "timer", timer)
            elif kind == "timer":
                if value == timer and waiting:
                    later(self._back(now), "ack", waiting)
                    waiting = []
            else:
                took: list[tuple[int, int]] = value  # type: ignore[assignment]
                size = sum(s for s, _ in took)
                acked, delivered, flight = acked + size, delivered + len(took), flight - len(took)
                cwnd = min(self.cwnd_limit, cwnd + len(took))
                last = (Packet(now, took[-1][1], size), last[0])
                rtt = (now - took[-1][1]) / 1000
                srtt, least = (srtt + (rtt - srtt) / 8, min(least, rtt)) if srtt else (rtt, rtt)
            while flight < int(cwnd) and sent < written:
                size = min(self.packet(number), written - sent)
                later(self._pass(now, size) + self.rtt_ns // 2, "arrive", (size, now))
                sent, flight, number = sent + size, flight + 1, number + 1
            if kind not in ("write", "ack"):
                continue
            yield Snapshot(
                updated_ns=now,
                snd_una=(self.first_seq + acked) % 2**32,
                snd_nxt=(self.first_seq + sent) % 2**32,
                write_seq=(self.first_seq + written) % 2**32,
                srtt_us=round(srtt),
                min_rtt_us=round(least),
                delivered=delivered,
                bytes_acked=acked,
                app_limited=sent == written,
                packets=last,
            )

    def _back(self, now: int) -> int:
        at = now + self.rtt_ns // 2
        if self.hold_ns:
            # Held together they come one behind the other, at the speed of a fast link.
            at = max(-(-at // self.hold_ns) * self.hold_ns, self._back_ns + _ACK_NS)
        self._back_ns = at
        return at

    def _pass(self, now: int, size: int) -> int:
        """When a packet that comes now has passed the bucket."""
        start = max(now, self._free_ns)
        rate = self.rate(start - START_NS) if callable(self.rate) else self.rate
        tokens = min(self.bucket, self._tokens + (start - self._full_ns) * rate / SECOND)
        owed = max(0.0, size - tokens)
        self._tokens, self._full_ns = max(0.0, tokens - size), start + round(owed * SECOND / rate)
        self._free_ns = max(self._full_ns, start + _LINE_NS)
        return start if self.whole else self._free_ns


def look(snapshots: list[Snapshot], every_ns: int) -> Iterator[Snapshot]:
    """What a reader sees that looks every so many ns: the state of that moment, the newest packets in it."""
    at = snapshots[0].updated_ns
    for current, following in itertools.pairwise([*snapshots, None]):
        end = following.updated_ns if following else current.updated_ns + every_ns
        if at < end:
            yield current
            at += -(-(end - at) // every_ns) * every_ns


def sampled(snapshots: Iterable[Snapshot]) -> Iterator[Snapshot]:
    """The same without what single packets tell, as TCP_INFO has it."""
    for s in snapshots:
        yield Snapshot(**{**vars(s), "packets": (Packet(), Packet())})


def burst(size: int) -> list[Write]:
    """One response."""
    return [Write(0, size)]


def responses(count: int, size: int, every_ns: int) -> list[Write]:
    """A response each, so far apart."""
    return [Write(i * every_ns, size) for i in range(count)]
