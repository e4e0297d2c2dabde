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

from modnet.estimate.snapshot import Packet, Snapshot, seq_diff

__all__ = ["Point", "Train"]

# Ten acknowledgements at 1 Mbit/s. Traces of mobile links change within a second: a longer window is always
# half in the past.
WINDOW_NS = 250_000_000
# At lower rates the window holds this many full packets instead.
LEAST_PACKETS = 16
# With so many points every other one is given up, and from then on none lies nearer to the one before than
# the rest do; so a window has half as many, evenly spaced, and a young train more than enough.
_MOST_POINTS = 96
_STEP_NS = WINDOW_NS * 2 // _MOST_POINTS
# A train's first packets have nobody to wait for.
HEAD_PACKETS = 8
_LONG_NS = 1 << 62


class Point(NamedTuple):
    """`arrived` bytes of the flow had arrived at `at_ns`, `chunk` of them by this very acknowledgement (or,
    where single packets are unknown, since the reading before); the newest was sent at `sent_ns` (0:
    unknown) and waited `delay_ns` longer than the shortest round trip takes.
    """

    at_ns: int
    arrived: int
    chunk: int
    sent_ns: int
    delay_ns: int


class Train:
    """The points of the current train that are in the window, oldest first."""

    __slots__ = (
        "_acked",
        "_arrived",
        "_delivered",
        "_next",
        "_paused",
        "_queued",
        "_read_ns",
        "_recover",
        "_resent",
        "_step_ns",
        "begun",
        "blur_ns",
        "mss",
        "points",
        "size",
        "waited_ns",
    )

    def __init__(self) -> None:
        self.points: deque[Point] = deque()
        self.begun = Point(0, 0, 0, 0, 0)
        """The train's first point, though that may have left the window."""
        self.size = 0
        """Bytes that have arrived since the pause before; its first acknowledgement's included."""
        self.mss = 1
        """Bytes of a full packet."""
        self.blur_ns = 0
        """How much earlier than it says the last point may be: 0 where single packets are known."""
        self.waited_ns = _LONG_NS
        """The least that anything behind the train's head waited in the network."""
        self._arrived = 0
        self._paused = True
        self._recover: int | None = None
        self._acked = -1
        self._delivered = self._resent = self._next = self._read_ns = self._step_ns = 0
        self._queued = False

    def observe(self, snapshot: Snapshot) -> bool:
        """Takes a snapshot; whether it has brought a point."""
        acked, delivered = snapshot.bytes_acked, snapshot.delivered
        una, following = snapshot.snd_una, snapshot.snd_nxt
        now_ns = snapshot.updated_ns
        added = False
        if acked != self._acked or delivered != self._delivered:
            growth = self._growth(snapshot, acked, delivered, una)
            queued = snapshot.write_seq != following
            if self._acked >= 0 and growth > 0:
                # Nothing was waiting, and all that was under way has arrived: what came since was written
                # later.
                unseen = not self._queued and seq_diff(una, self._next) > 0
                newest, before = snapshot.packets
                new = _points(snapshot, newest, before, self._arrived, growth)
                self._add(new, growth, self._paused or unseen)
                known = newest.acked_bytes or before.acked_bytes
                self.blur_ns = 0 if known else now_ns - self._read_ns
                self._arrived += growth
                self._paused = False
                added = True
            self._acked, self._delivered = acked, delivered
            self._queued, self._next = queued, following
        elif following != self._next:
            self._queued, self._next = snapshot.write_seq != following, following
        if una == following:
            self._paused = True
        self._read_ns = now_ns
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
        return seq_diff(delivered, self._delivered) * self.mss

    def _add(self, new: tuple[Point, ...], growth: int, first: bool) -> None:
        points = self.points
        if first or not points:
            # Not cleared: whoever has not judged the train before may still hold its points.
            points = self.points = deque((new[0],))
            self.begun, self.size = new[0], 0
            self._step_ns, self.waited_ns = 0, _LONG_NS
        self.size += growth
        if self.size > HEAD_PACKETS * self.mss:
            self.waited_ns = min(self.waited_ns, new[-1].delay_ns)
        for point in new:
            # Not later: the same acknowledgement, of which more is known now; or the last but one at the end.
            if len(points) > 1 and (
                point.at_ns <= points[-1].at_ns or points[-1].at_ns - points[-2].at_ns < self._step_ns
            ):
                points[-1] = point
            elif point.at_ns > points[-1].at_ns:
                points.append(point)
        if len(points) > _MOST_POINTS:
            points = self.points = deque(list(points)[::2])
            self._step_ns = min(_STEP_NS, (points[-1].at_ns - points[0].at_ns) * 2 // _MOST_POINTS)
        last = points[-1]
        oldest_ns = last.at_ns - WINDOW_NS
        enough = last.arrived - LEAST_PACKETS * self.mss
        while len(points) > 2 and points[1].at_ns <= oldest_ns and points[1].arrived <= enough:
            points.popleft()


def _points(
    snapshot: Snapshot, newest: Packet, before: Packet, arrived: int, growth: int
) -> tuple[Point, ...]:
    """The points that a snapshot brings, one or two, by which `arrived` bytes have become `growth` more."""
    chunk, earlier = newest.acked_bytes, before.acked_bytes
    arrived += growth
    if not chunk:
        # The last to come was a request, or nothing is known of single packets.
        if earlier:
            return (_point(before, arrived, snapshot),)
        return (Point(snapshot.updated_ns, arrived, growth, 0, _usual_delay_ns(snapshot)),)
    if earlier and chunk < 2 * snapshot.mss and snapshot.snd_una == snapshot.snd_nxt:
        # Less than two full packets at the end may have been acknowledged by a timer of 40 ms; those before
        # were not.
        return (_point(before, arrived - chunk, snapshot),)
    last = _point(newest, arrived, snapshot)
    if earlier and growth >= chunk + earlier:
        # The one before came since the last snapshot too.
        return (_point(before, arrived - chunk, snapshot), last)
    return (last,)


def _point(packet: Packet, arrived: int, snapshot: Snapshot) -> Point:
    at_ns, sent_ns = packet.arrival_ns, packet.sent_ns
    if sent_ns:
        delay_ns = max(0, at_ns - sent_ns - snapshot.min_rtt_us * 1000)
    else:
        # It acknowledged a part of a large packet, whose time is not kept.
        delay_ns = _usual_delay_ns(snapshot)
    return Point(at_ns, arrived, packet.acked_bytes, sent_ns, delay_ns)


def _usual_delay_ns(snapshot: Snapshot) -> int:
    return max(0, snapshot.srtt_us - snapshot.min_rtt_us) * 1000
