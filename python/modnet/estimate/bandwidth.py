"""`Bandwidth`: one number from everything that is known of a connection, and how far to trust it.

| source | taken from | trusted, while fresh |
| --- | --- | --- |
| `rate` | `DeliveryRate.recent` | `DeliveryRate.trust`: 0.6 for the fewest packets, 0.8 for 24 |
| `kernel` | the kernel's `delivery_rate`, no more than the packet pairs say | 0.4, after eight packets |
| `pair` | `PacketPair.estimate` | 0.3 |

While nothing is seen to wait in the network the sender may be the limit, and rates are lower bounds: `rate`
counts then where it is more than the best of the others or there is no other, `kernel` only where there is
no other.

Trust halves every two seconds after the measure: mobile links change that fast. The most trusted source
counts, so a rate of ten seconds ago gives way to a packet pair of now, and where there is nothing newer it
stays, with little confidence.

Fooled by what fools the source: see their files. What fools the kernel's rate is a bucket's burst, for a
whole round trip, and a response that passes a bucket whole, until something else is known.

Must not: average sources. They are fooled in the same direction by the same things, so the mean of a good
and a bad one is bad.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from modnet.estimate.delivery_rate import LEAST, DeliveryRate
from modnet.estimate.packet_pair import PacketPair
from modnet.estimate.snapshot import Snapshot

__all__ = ["Bandwidth", "Measure", "Source"]

Source: TypeAlias = Literal["rate", "kernel", "pair"]
_HALF_LIFE_NS = 2e9
_KERNEL, _PAIR = 0.4, 0.3
# The trust in a lower bound, of that in the same rate with a queue.
_BOUND = 0.3


class Measure(NamedTuple):
    """What is believed: `rate` in bytes/s of payload, `confidence` from 0 to 1, and whose word it is."""

    rate: float
    confidence: float
    source: Source


class Bandwidth:
    """A connection's bandwidth, in bytes/s of payload.

    >>> from modnet.estimate import Bandwidth
    >>> bandwidth = Bandwidth()
    >>> bandwidth.estimate, bandwidth.confidence
    (None, 0.0)

    In a module, `flow.bandwidth.observe(flow.tcp.snapshot())` whenever a hook or a timer runs, and
    `flow.bandwidth.estimate` when there is something to decide.
    """

    __slots__ = ("_heard", "_kernel", "_kernel_bound", "_kernel_ns", "_now_ns", "_pair_ns", "pair", "rate")

    def __init__(self) -> None:
        self.pair = PacketPair()
        """The packet pairs alone."""
        self.rate = DeliveryRate()
        """The rate of acknowledgement alone."""
        self._heard = 0.0
        self._kernel = 0.0
        self._kernel_ns = 0
        self._kernel_bound = False
        self._pair_ns = 0
        self._now_ns = 0

    def observe(self, snapshot: Snapshot) -> None:
        """Takes a snapshot, of the same connection and not older than the one before."""
        self._now_ns = snapshot.updated_ns
        if self.pair.observe(snapshot):
            self._pair_ns = self._now_ns
        self.rate.observe(snapshot)
        kernel = snapshot.delivery_rate
        # In a train's first packets it is the rate at which a bucket lets them pass: up to 7,000 times the
        # link's was seen.
        if kernel != self._heard:
            self._heard = kernel
            train, mss = self.rate.train, snapshot.mss
            if kernel > 0 and train.size >= LEAST * mss:
                self._kernel, self._kernel_ns = kernel, self._now_ns
                # Where all came at once nobody has seen it wait: it may have passed a bucket whole.
                self._kernel_bound = len(train.points) < 2 or train.waited_ns * kernel < mss * 1e9

    @property
    def estimate(self) -> float | None:
        """Bytes/s of payload that the network carries now; None while nothing is known."""
        best = self.best()
        return best.rate if best else None

    @property
    def confidence(self) -> float:
        """From 0 (nothing is known) to 1; above 0.5 half of the estimates are within a few per cent."""
        best = self.best()
        return best.confidence if best else 0.0

    def best(self) -> Measure | None:
        """The most trusted measure; None while there is none. Costs some microseconds: ask when deciding."""
        found: list[Measure] = []
        bound: Measure | None = None
        recent, trust, is_bound, at_ns = self.rate.judged()
        if recent is not None:
            trust *= self._fresh(at_ns)
            if is_bound:
                bound = Measure(recent, _BOUND * trust, "rate")
            elif trust >= _KERNEL:
                # The others have no more.
                return Measure(recent, trust, "rate")
            else:
                found.append(Measure(recent, trust, "rate"))
        pair = self.pair.estimate
        if pair is not None:
            found.append(Measure(pair, _PAIR * self._fresh(self._pair_ns), "pair"))
        if self._kernel > 0:
            trust = _KERNEL * self._fresh(self._kernel_ns)
            if not self._kernel_bound:
                # A burst raises both; the lower one has seen less of it.
                value = self._kernel if pair is None else min(self._kernel, pair)
                found.append(Measure(value, trust, "kernel"))
            elif bound is None and not found:
                # It may be a bucket's burst as well: not to be held against any other.
                bound = Measure(self._kernel, _BOUND * trust, "kernel")
        best = max(found, key=lambda measure: measure.confidence, default=None)
        return bound if bound and (best is None or bound.rate > best.rate) else best

    def _fresh(self, at_ns: int) -> float:
        return float(0.5 ** (max(0, self._now_ns - at_ns) / _HALF_LIFE_NS))
