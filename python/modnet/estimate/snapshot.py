"""`Snapshot` and `Packet`: what the estimators read of a connection, and nothing else. Types only.

`flow.tcp.snapshot()` is one; a test writes a dataclass. Sequence numbers are 32 bits wide and wrap; times are
CLOCK_MONOTONIC.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["Packet", "Snapshot", "seq_diff"]

_HALF, _WHOLE = 1 << 31, 1 << 32


class Packet(Protocol):
    """One packet that was received, and what it acknowledged."""

    @property
    def arrival_ns(self) -> int:
        """When it came; 0 where there is none (a young or a sampled connection)."""

    @property
    def sent_ns(self) -> int:
        """When the last of the data that it acknowledged was sent; 0: unknown, or part of a large packet."""

    @property
    def acked_bytes(self) -> int:
        """How much it acknowledged for the first time; 0: nothing, such as a request."""


class Snapshot(Protocol):
    """A connection's state at one moment."""

    @property
    def updated_ns(self) -> int:
        """When the state was as it says."""

    @property
    def snd_una(self) -> int:
        """The first byte that is not acknowledged."""

    @property
    def snd_nxt(self) -> int:
        """The next byte to send."""

    @property
    def write_seq(self) -> int:
        """The next byte that the application will write: up to here there is something to send."""

    @property
    def mss(self) -> int:
        """Bytes that a full packet carries."""

    @property
    def srtt_us(self) -> int:
        """The smoothed round trip time; 0 before the first."""

    @property
    def min_rtt_us(self) -> int:
        """The shortest round trip of late; 4294967295 before the first."""

    @property
    def delivered(self) -> int:
        """Packets that have arrived, those acknowledged out of order included; modulo 2^32."""

    @property
    def bytes_acked(self) -> int:
        """Bytes acknowledged in order."""

    @property
    def delivery_rate(self) -> float:
        """The kernel's own latest estimate, in bytes/s; 0 where there is none."""

    @property
    def retransmits(self) -> int:
        """Packets sent again, in all."""

    @property
    def packets(self) -> tuple[Packet, Packet]:
        """The last two packets that were received, the newest first."""


def seq_diff(later: int, earlier: int) -> int:
    """Bytes from one sequence number to another; negative if `later` is the earlier one.

    >>> seq_diff(10, 4_294_967_290), seq_diff(0, 1)
    (16, -1)
    """
    return (later - earlier + _HALF) % _WHOLE - _HALF
