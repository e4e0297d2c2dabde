"""What `modnet watch` follows of one flow over time. Pure: no I/O, no clock.

| quantity | unit |
| --- | --- |
| `cwnd` | packets |
| `srtt` | ms |
| `in_flight` | bytes |
| `unsent` | bytes |
| `bandwidth` | bytes/s, estimated |
| `rate` | bytes/s, passed by the module |
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from modnet.errors import UsageError
from modnet.top.rows import Row
from modnet.top.view import host, port

__all__ = ["QUANTITIES", "UNITS", "Point", "Series", "chosen"]

UNITS = {
    "cwnd": "packets",
    "srtt": "ms",
    "in_flight": "bytes",
    "unsent": "bytes",
    "bandwidth": "bytes/s",
    "rate": "bytes/s",
}
QUANTITIES = tuple(UNITS)


@dataclass(frozen=True)
class Point:
    """One look; None: not known."""

    at: float
    """Seconds since the first look."""
    values: dict[str, float | None]
    """By quantity."""


@dataclass
class Series:
    """A flow's points, oldest first; with `most`, the newest ones."""

    most: int | None = None
    points: list[Point] = field(default_factory=list)

    def add(self, at: float, row: Row) -> None:
        """One look at the flow."""
        srtt = None if row.srtt_us is None else row.srtt_us / 1000
        values = {
            "cwnd": row.cwnd,
            "srtt": srtt,
            "in_flight": row.in_flight,
            "unsent": row.unsent,
            "bandwidth": row.bandwidth,
            "rate": row.rate_outbound,
        }
        self.points.append(Point(at, values))
        if self.most is not None and len(self.points) > self.most:
            del self.points[0]

    def values(self, quantity: str) -> list[float | None]:
        """One quantity over all points."""
        return [point.values[quantity] for point in self.points]

    def lines(self) -> Iterable[list[object]]:
        """A heading and a line for each point, for a file of comma-separated values."""
        yield ["seconds", *(f"{name}_{unit.replace('/', '_per_')}" for name, unit in UNITS.items())]
        for point in self.points:
            yield [f"{point.at:.3f}", *("" if v is None else v for v in point.values.values())]


def chosen(rows: Sequence[Row], what: str) -> Row | None:
    """The flow that PEER, PORT or FLOW means: an address with or without its port, a port of the client or
    of the server, or a flow as MODULE/NUMBER. The busiest of several; None: there is none.
    """
    name, slash, number = what.rpartition("/")
    if slash and not number.isdecimal():
        raise UsageError(f"no flow is called {what!r}: say MODULE/NUMBER, as modnet ps --flows lists them")

    def fits(row: Row) -> bool:
        if slash:
            return row.module == name and row.flow == int(number)
        if what.isdecimal():
            return what in (port(row.peer), port(row.local))
        return what in (row.peer, host(row.peer))

    found = [row for row in rows if fits(row)]
    return max(found, key=lambda row: row.bytes_outbound, default=None)
