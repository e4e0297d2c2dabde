"""`PacketPair`: bandwidth from the last two packets that were acknowledged (the paper's §5.4, after Lai and
Baker, SIGCOMM 2000).

Two packets that leave close together reach the narrowest link together and leave it one after the other, as
far apart as that link needs for the second one. So its size over the time between the two acknowledgements
is what the link carries.

What fools it, and what is done:

- A token bucket that is not empty: both pass at once, too much, without bound. Half of the latest pairs may
  be so.
- Compressed acknowledgements, that waited together on the way back: too much. Pairs that were sent further
  apart than they came back are left out; those that were not fool it.
- Delayed acknowledgements: one of the two stands for two packets, or for a timer. Pairs of unlike size are
  left out.
- An application that has little to send: the link was not the reason for the gap, too little. Pairs sent
  more than half of their gap apart are left out.
- Acknowledgements that pace the sender, as in a long transfer: no two packets leave together, so there are
  no pairs and the estimate stays what it was. A link that has become faster is not noticed.

Must not: be the only thing a policy rests on. `Bandwidth` uses it where nothing better is known.
"""

from __future__ import annotations

from collections import deque

from modnet.estimate.snapshot import Snapshot

__all__ = ["PacketPair"]

# Odd, so that the median is a pair. Of a bucket's ten packets at the start of a response, a reader every few
# milliseconds sees one to three.
_PAIRS = 9
# Acknowledgements of one and of two packets are not alike, those of a full and a nearly full one are.
_ALIKE = 0.75
_CLOSE = 0.5


class PacketPair:
    """Bandwidth by packet pair, in bytes/s of payload."""

    __slots__ = ("_pairs", "_seen_ns")

    def __init__(self) -> None:
        self._pairs: deque[float] = deque(maxlen=_PAIRS)
        self._seen_ns = 0

    @property
    def last(self) -> float | None:
        """The latest pair alone, as the paper takes it; bytes/s, None before the first one."""
        return self._pairs[-1] if self._pairs else None

    @property
    def estimate(self) -> float | None:
        """The median of the latest nine pairs; bytes/s, None before the first one."""
        # As `statistics.median`, which takes ten times as long.
        pairs = sorted(self._pairs)
        middle = len(pairs) // 2
        if len(pairs) % 2:
            return pairs[middle]
        return (pairs[middle - 1] + pairs[middle]) / 2 if pairs else None

    def observe(self, snapshot: Snapshot) -> bool:
        """Takes the pair that the snapshot shows, if it is new and a pair at all; whether it was."""
        newest, before = snapshot.packets
        arrival_ns = newest.arrival_ns
        if arrival_ns == self._seen_ns:
            return False
        self._seen_ns = arrival_ns
        size, other = newest.acked_bytes, before.acked_bytes
        gap_ns = arrival_ns - before.arrival_ns
        pair = (
            size >= snapshot.mss > 0
            and _ALIKE * size <= other <= size / _ALIKE
            and before.sent_ns > 0
            and 0 <= newest.sent_ns - before.sent_ns <= _CLOSE * gap_ns
            and gap_ns > 0
        )
        if pair:
            self._pairs.append(size * 1e9 / gap_ns)
        return pair
