"""`Train`: how many bytes had arrived when, for as long as something was under way without a pause.

A point is the arrival of an acknowledgement, not the moment of reading: how often somebody looks changes how
many points there are, and not where they lie. A *train* begins with the first acknowledgement after
everything had been acknowledged; what lies between two trains is the application's silence and no measure of
the network.

Rules: no clock, no I/O; a bounded number of points, so that observing costs the same at any rate. What
arrived is counted in bytes acknowledged; while something is being sent again in full packets delivered,
since `bytes_acked` stands still behind a hole and jumps when that is filled. It must not judge:
`delivery_rate.py` does.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from modnet.estimate.snapshot import Snapshot, seq_diff

__all__ = ["Point", "Train"]

# Ten acknowledgements at 1 Mbit/s. Traces of mobile links change within a second: a longer window is always
# half in the past.
WINDOW_NS = 250_000_000
# At lower rates the window holds this many full packets instead.
LEAST_PACKETS = 16
# With so many points every other one is given up: 2 % of a window is the finest that anybody needs.
_MOST_POINTS = 96


class Point(NamedTuple):
    """`arrived` bytes of the flow had arrived at `at_ns`, `chunk` of them by this very acknowledgement (or,
    where single packets are unknown, since the reading before); the newest was sent at `sent_ns` (0:
    unknown). `queued`: more was waiting to be sent.
    """

    at_ns: int
    arrived: int
    chunk: int
    sent_ns: int
    queued: bool


class Train:
    """The points of the current train that are in the window, oldest first."""

    __slots__ = (
        "_acked",
        "_arrived",
        "_delivered",
        "_next",
        "_paused",
        "_queued",
        "_recover",
        "_resent",
        "begun",
        "mss",
        "points",
        "size",
    )

    def __init__(self) -> None:
        self.points: deque[Point] = deque()
        self.begun = Point(0, 0, 0, 0, False)
        """The train's first point, though that may have left the window."""
        self.size = 0
        """Bytes that have arrived since the pause before; its first acknowledgement's included."""
        self.mss = 1
        """Bytes of a full packet."""
        self._arrived = 0
        self._paused = True
        self._recover: int | None = None
        self._acked = -1
        self._delivered = self._resent = self._next = 0
        self._queued = False

    def observe(self, snapshot: Snapshot) -> bool:
        """Takes a snapshot; whether it has brought a point."""
        acked, delivered = snapshot.bytes_acked, snapshot.delivered
        una, following = snapshot.snd_una, snapshot.snd_nxt
        added = False
        if acked != self._acked or delivered != self._delivered:
            growth = self._growth(snapshot, acked, delivered, una)
            queued = snapshot.write_seq != following
            if self._acked >= 0 and growth > 0:
                # Nothing was waiting, and all that was under way has arrived: what came since was written
                # later.
                unseen = not self._queued and seq_diff(una, self._next) > 0
                self._add(_point(snapshot, self._arrived, growth, queued), growth, self._paused or unseen)
                self._arrived += growth
                self._paused = False
                added = True
            self._acked, self._delivered = acked, delivered
            self._queued, self._next = queued, following
        elif following != self._next:
            self._queued, self._next = snapshot.write_seq != following, following
        if una == following:
            self._paused = True
        return added

    def _growth(self, snapshot: Snapshot, acked: int, delivered: int, una: int) -> int:
        """Bytes that have arrived since the last snapshot."""
        self.mss = snapshot.mss
        resent = snapshot.retransmits
        if resent != self._resent:
            self._resent, self._recover = resent, snapshot.snd_nxt
        if self._recover is None:
            return acked - self._acked
        if seq_diff(una, self._recover) >= 0:
            self._recover = None
        return (delivered - self._delivered) * self.mss

    def _add(self, point: Point, growth: int, first: bool) -> None:
        points = self.points
        if first or not points:
            # Not cleared: whoever has not judged the train before may still hold its points.
            self.points = deque((point,))
            self.begun, self.size = point, growth
            return
        self.size += growth
        at_ns = point.at_ns
        if at_ns <= points[-1].at_ns:
            # The same acknowledgement, of which more is known now; or the last but one of a train's end.
            if len(points) > 1:
                points.pop()
            else:
                return
        elif len(points) == _MOST_POINTS:
            points = self.points = deque(list(points)[::2])
        points.append(point)
        oldest_ns = at_ns - WINDOW_NS
        enough = point.arrived - LEAST_PACKETS * self.mss
        while len(points) > 2 and points[1].at_ns <= oldest_ns and points[1].arrived <= enough:
            points.popleft()


def _point(snapshot: Snapshot, arrived: int, growth: int, queued: bool) -> Point:
    arrived += growth
    newest, before = snapshot.packets
    chunk = newest.acked_bytes
    if not chunk:
        # The last to come was a request, or nothing is known of single packets.
        newest, chunk = before, before.acked_bytes
    elif chunk < 2 * snapshot.mss and before.acked_bytes and snapshot.snd_una == snapshot.snd_nxt:
        # Less than two full packets at the end may have been acknowledged by a timer of 40 ms; those before
        # were not.
        arrived, newest, chunk = arrived - chunk, before, before.acked_bytes
    if chunk:
        return Point(newest.arrival_ns, arrived, chunk, newest.sent_ns, queued)
    return Point(snapshot.updated_ns, arrived, growth, 0, queued)
