"""Which lines are shown, in which order, in which words. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from modnet.errors import UsageError
from modnet.top.rows import Row

__all__ = [
    "COLUMNS",
    "ORDERS",
    "Filter",
    "bytes_in_words",
    "cells",
    "host",
    "known_order",
    "laid_out",
    "ordered",
    "port",
]

_BETWEEN = "  "
# Columns of words begin at the left, numbers end at the right.
_WORDS = {"MODULE", "PEER", "CHAIN", "SOURCE"}
# What gives way first on a narrow terminal.
_WIDE = ("CHAIN", "RETR", "IN", "APP", "SOURCE", "PORT", "YANKED")


def bytes_in_words(count: float | None) -> str:
    """1,234,567 as `1.2M`; nothing as `-`."""
    if count is None:
        return "-"
    for unit in ("", "K", "M", "G", "T"):
        if abs(count) < 999.5 or unit == "T":
            return f"{count:.0f}{unit}" if not unit or abs(count) >= 99.95 else f"{count:.1f}{unit}"
        count /= 1000
    raise AssertionError("a unit was returned")


def port(address: str) -> str:
    """The port of `host:port`."""
    return address.rpartition(":")[2]


def host(address: str) -> str:
    """The address of `host:port`, without the brackets of IPv6."""
    return address.rpartition(":")[0].strip("[]")


def _port_number(row: Row) -> int:
    """Below every port where it is not known: in the middle of a chain."""
    number = port(row.local)
    return int(number) if number.isdecimal() else -1


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{bytes_in_words(value)}/s"


def _plain(value: object) -> str:
    return "-" if value is None else str(value)


@dataclass(frozen=True)
class _Column:
    title: str
    text: Callable[[Row], str]
    key: Callable[[Row], Any]
    falls: bool
    """Whether the largest comes first."""


def _by(name: str) -> Callable[[Row], Any]:
    """Sorts what is not known below everything."""
    return lambda row: -1 if getattr(row, name) is None else getattr(row, name)


# The names are those that `--sort` takes.
_ALL = {
    "module": _Column("MODULE", lambda r: r.module, lambda r: r.module, False),
    "peer": _Column("PEER", lambda r: r.peer, lambda r: r.peer, False),
    "port": _Column("PORT", lambda r: port(r.local), _port_number, False),
    "application": _Column("APP", lambda r: str(r.application), lambda r: r.application, False),
    "chain": _Column("CHAIN", lambda r: " ".join(r.chain), lambda r: r.chain, False),
    "out": _Column("OUT", lambda r: bytes_in_words(r.bytes_outbound), _by("bytes_outbound"), True),
    "in": _Column("IN", lambda r: bytes_in_words(r.bytes_inbound), _by("bytes_inbound"), True),
    "rate": _Column("RATE", lambda r: _rate(r.rate_outbound), _by("rate_outbound"), True),
    "cwnd": _Column("CWND", lambda r: _plain(r.cwnd), _by("cwnd"), True),
    "srtt": _Column(
        "SRTT",
        lambda r: "-" if r.srtt_us is None else f"{r.srtt_us / 1000:.1f}ms",
        _by("srtt_us"),
        True,
    ),
    "unsent": _Column("UNSENT", lambda r: bytes_in_words(r.unsent), _by("unsent"), True),
    "yanked": _Column("YANKED", lambda r: bytes_in_words(r.yanked), _by("yanked"), True),
    "retransmits": _Column("RETR", lambda r: _plain(r.retransmits), _by("retransmits"), True),
    "bandwidth": _Column("BANDWIDTH", lambda r: _rate(r.bandwidth), _by("bandwidth"), True),
    "source": _Column("SOURCE", lambda r: _plain(r.source), lambda r: r.source or "", False),
}
COLUMNS = [column.title for column in _ALL.values()]
ORDERS = list(_ALL)


def cells(row: Row) -> list[str]:
    """One line, as `COLUMNS` heads it."""
    return [column.text(row) for column in _ALL.values()]


def laid_out(lines: Sequence[Sequence[str]], width: int) -> tuple[list[str], list[str]]:
    """The heads of those columns that so many characters have room for, each with what stands before it, and
    a text for each line of `cells`.
    """
    columns = dict(zip(COLUMNS, zip(COLUMNS, *lines, strict=True), strict=True))
    widths = {title: max(map(len, column)) for title, column in columns.items()}
    for title in _WIDE:
        if sum(widths.values()) + len(_BETWEEN) * (len(widths) - 1) <= width:
            break
        del widths[title]
    made = [
        [cell.ljust(wide) if title in _WORDS else cell.rjust(wide) for cell in columns[title]]
        for title, wide in widths.items()
    ]
    heads, *rest = zip(*made, strict=True)
    return [heads[0], *(_BETWEEN + head for head in heads[1:])], [_BETWEEN.join(line) for line in rest]


def ordered(rows: Sequence[Row], order: str, reverse: bool = False) -> list[Row]:
    """By a name of `ORDERS`: numbers fall, names rise; `reverse` turns that round. Equals stay by module and
    flow.
    """
    column = _ALL[order]
    rows = sorted(rows, key=lambda row: (row.module, row.flow))
    return sorted(rows, key=column.key, reverse=column.falls != reverse)


@dataclass(frozen=True)
class Filter:
    """Only flows of a module, of a peer (its address, with or without a port), at a port of ours; all that
    are given must hold.
    """

    module: str | None = None
    peer: str | None = None
    port: int | None = None

    def of(self, rows: Iterable[Row]) -> list[Row]:
        """Those that pass."""
        return [row for row in rows if self._passes(row)]

    def _passes(self, row: Row) -> bool:
        return (
            self.module in (None, row.module)
            and self.peer in (None, row.peer, host(row.peer))
            and (self.port is None or str(self.port) == port(row.local))
        )


def known_order(name: str) -> str:
    """A name of `ORDERS`, or an error that lists them."""
    if name not in ORDERS:
        raise UsageError(f"no column {name!r} to sort by: there are {', '.join(ORDERS)}")
    return name
