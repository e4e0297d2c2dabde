"""`DeliveryRate`: how fast what was sent arrives, as the acknowledgements tell.

`recent` is the slope of the acknowledged bytes over the last quarter of a second (`train.py`), `maximum` the
largest that this was in the last ten seconds, as in BBR.

What fools it, and what is done:

- A token bucket that is not empty: the head of a train arrives too fast. Of all tails that leave out up to
  24 packets the slowest counts. A bucket that holds most of a response still wins.
- A bucket that lets a large packet pass whole and is in debt afterwards (HTB behind segmentation offload):
  the gap follows its packet instead of leading it, 33 % too much in slow start. The order that explains the
  gaps better is taken.
- An application that has little to send, or a window that is still small for a long path: the sender's own
  pace is measured, too little. Nothing waits in the network then; it counts only where it is more than what
  is known.
- Compressed acknowledgements: too much in a short train. Fewer than eight packets say nothing, and the
  slowest tail counts.
- Delayed acknowledgements: a timer of 40 ms ends a train, too little. Less than two last packets are left
  out, and so is a last gap that alone would change much.
- A change of the link: for a quarter of a second or 16 packets the window holds the time before.

Must not: use the kernel's `delivery_rate`, which looks back a round trip: a long queue makes that seconds,
and a bucket's burst stays in it as long.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from modnet.estimate.snapshot import Snapshot
from modnet.estimate.train import WINDOW_NS, Point, Train

__all__ = ["LEAST", "DeliveryRate"]

# With fewer packets one delayed acknowledgement is a quarter of the whole.
LEAST = 8
# A bucket's burst: 10 packets are Linux's first flight, 24 are `burst 32k`.
_HEAD = 24
_MEMORY_NS = 10_000_000_000
# To judge costs 20 µs, to take a point 2: unasked, a rate is judged so often and at the end of its train.
_JUDGE_NS = WINDOW_NS // 10
# So many packets are worth half of full trust. Readings an eighth of the time apart halve it: both ends may
# be wrong by one, and the kernel's own rate is better then.
_FEW = 6
_BLUR = 8
# Sent in less than this share of the time that it took to arrive: the network was the reason.
_DRIVEN = 0.75
# A lower bound so near to what is known confirms it: congestion controls that keep queues short leave nothing
# else to see.
_NEAR = 1.1
# Large packets through HTB leave a tenth of the misses of the other order; single packets make the two alike.
_EXPLAINS = 0.7


class _Slope(NamedTuple):
    rate: float
    packets: float
    time_ns: int
    driven: bool


class DeliveryRate:
    """Bandwidth by the rate of acknowledgement, in bytes/s of payload."""

    __slots__ = (
        "_at_ns",
        "_best",
        "_bound",
        "_early",
        "_judged_ns",
        "_recent",
        "_trust",
        "_unjudged",
        "train",
    )

    def __init__(self) -> None:
        self.train = Train()
        """What the rate is taken from."""
        self._recent: float | None = None
        self._trust = 0.0
        self._bound = False
        self._at_ns = 0
        self._best: deque[tuple[int, float]] = deque()
        self._early = False
        self._unjudged = False
        self._judged_ns = 0

    @property
    def recent(self) -> float | None:
        """The slope of the last window in which the network was the limit, or until then the largest so far;
        bytes/s, None before.
        """
        self._judge_now()
        return self._recent

    @property
    def trust(self) -> float:
        """How far `recent` could be trusted at `at_ns`, from 0 to 1.

        n / (n + 6) for n packets; less where single packets are unknown and readings were far apart.
        """
        self._judge_now()
        return self._trust

    @property
    def bound(self) -> bool:
        """Whether `recent` is a lower bound only: nothing waited in the network, the sender was the limit."""
        self._judge_now()
        return self._bound

    @property
    def at_ns(self) -> int:
        """When `recent` was measured, or confirmed by a lower bound near it; CLOCK_MONOTONIC, 0 before."""
        self._judge_now()
        return self._at_ns

    def judged(self) -> tuple[float | None, float, bool, int]:
        """`recent`, `trust`, `bound` and `at_ns`, judged once."""
        self._judge_now()
        return self._recent, self._trust, self._bound, self._at_ns

    @property
    def maximum(self) -> float | None:
        """The largest `recent` of the ten seconds before `at_ns`; bytes/s, None before the first one."""
        self._judge_now()
        return self._best[0][1] if self._best else None

    @property
    def estimate(self) -> float | None:
        """`recent`: after a change for the worse the maximum is wrong for ten seconds."""
        return self.recent

    def observe(self, snapshot: Snapshot) -> None:
        """Takes a snapshot. Four or more in a train are enough; 5 ms apart do for links below 50 Mbit/s."""
        train = self.train
        points, begun = train.points, train.begun
        if not train.observe(snapshot):
            return
        if self._unjudged and train.begun is not begun:
            self._judge(points, begun)
        self._unjudged = True
        if train.points[-1].at_ns - self._judged_ns >= _JUDGE_NS:
            self._judge_now()

    def _judge_now(self) -> None:
        if self._unjudged:
            self._unjudged = False
            self._judged_ns = self.train.points[-1].at_ns
            self._judge(self.train.points, self.train.begun)

    def _judge(self, points: deque[Point], begun: Point) -> None:
        slope = self._slope(points, begun)
        if slope is None:
            return
        if not slope.driven and self._recent is not None and slope.rate <= _NEAR * self._recent:
            if slope.rate * _NEAR >= self._recent:
                self._at_ns = points[-1].at_ns
            return
        self._recent, self._at_ns = slope.rate, points[-1].at_ns
        blur = slope.time_ns / (slope.time_ns + _BLUR * self.train.blur_ns)
        self._trust = slope.packets / (slope.packets + _FEW) * blur
        self._bound = not slope.driven
        best = self._best
        while best and best[-1][1] <= slope.rate:
            best.pop()
        best.append((self._at_ns, slope.rate))
        while best[0][0] < self._at_ns - _MEMORY_NS:
            best.popleft()

    def _slope(self, points: deque[Point], begun: Point) -> _Slope | None:
        last, mss = points[-1], self.train.mss
        # A runt among so many full packets makes it no fewer.
        least = (LEAST - 1) * mss
        if last.arrived - points[0].arrived <= least:
            return None
        if len(points) > 3:
            self._early = _early(points)
            if not self._early and _lull(points):
                last = points[-2]
        rate, start = 0.0, None
        for point in _starts(points, begun, mss):
            arrived = last.arrived - point.arrived
            time_ns = last.at_ns - point.at_ns
            if arrived > least and time_ns > 0:
                counted = arrived + point.chunk - last.chunk if self._early else arrived
                if start is None or counted * 1e9 < rate * time_ns:
                    rate, start = counted * 1e9 / time_ns, point
        if start is None or rate <= 0:
            return None
        driven = _driven(points, start, last, mss * 1e9 / rate)
        return _Slope(rate, (last.arrived - start.arrived) / mss, last.at_ns - start.at_ns, driven)


def _starts(points: deque[Point], begun: Point, mss: int) -> Iterator[Point]:
    """Where a tail may begin: in the head's second half, or at the window's start once that is past it."""
    whole = points[-1].arrived - begun.arrived
    final = begun.arrived + min(2 * whole // 3, _HEAD * mss)
    if points[0].arrived >= final:
        yield points[0]
        return
    first = begun.arrived + min(whole // 3, _HEAD * mss // 2)
    for point in points:
        if point.arrived > final:
            return
        if point.arrived >= first:
            yield point


def _lull(points: deque[Point]) -> bool:
    """Whether the last gap alone makes the rate by a third less. If it is the link that has changed, the next
    acknowledgement shows it.
    """
    first, before, last = points[0], points[-2], points[-1]
    gap_ns, time_ns = last.at_ns - before.at_ns, before.at_ns - first.at_ns
    return 2 * gap_ns > time_ns and 4 * (last.arrived - before.arrived) < before.arrived - first.arrived


def _driven(points: deque[Point], start: Point, last: Point, packet_ns: float) -> bool:
    """Whether the network was the limit from `start` on: everything waited longer than a packet takes, or was
    sent in less time than it took to arrive.
    """
    if start.sent_ns and 0 <= last.sent_ns - start.sent_ns <= _DRIVEN * (last.at_ns - start.at_ns):
        return True
    return all(point.delay_ns >= packet_ns for point in points if start.at_ns <= point.at_ns <= last.at_ns)


def _early(points: deque[Point]) -> bool:
    """Whether packets arrive before the link charges for them, so that each gap is the earlier one's.

    Each order predicts what arrives in each gap from the mean rate; the one that misses less is believed.
    O(points), which are some fifty.
    """
    first, last = points[0], points[-1]
    time_ns = last.at_ns - first.at_ns
    late = (last.arrived - first.arrived) / time_ns
    early = (last.arrived - first.arrived + first.chunk - last.chunk) / time_ns
    misses_late = misses_early = 0.0
    before = first
    for point in points:
        gap_ns, grown = point.at_ns - before.at_ns, point.arrived - before.arrived
        misses_late += abs(grown - late * gap_ns)
        misses_early += abs(grown + before.chunk - point.chunk - early * gap_ns)
        before = point
    return misses_early < _EXPLAINS * misses_late
