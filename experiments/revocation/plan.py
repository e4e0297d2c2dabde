"""What is measured: the cases, the ways to send, and how long each lasts. Pure.

| way | the server |
| --- | --- |
| plain | gives the kernel all that a send buffer of 1 MB takes |
| lowat | the same, but writes 16 KB at a time, when fewer than 16 KB are unsent (TCP_NOTSENT_LOWAT) |
| h2o | writes what the window lets go and two segments, whenever the kernel has sent all (H2O's rule) |
| late | is plain, and runs behind a module that is revocable and takes back what it can |
| socket | sends by a `modnet.revoke.RevocableSocket`, and takes back what it can |

Each connection has two parts: first it only sends, for the goodput; then it decides, again and again, that
what has not been sent is old, and has new content to send instead.

It must not measure.
"""

from __future__ import annotations

from dataclasses import dataclass

WAYS = ("plain", "lowat", "h2o", "late", "socket")
PLAIN, LATE, SOCKET = "plain", "late", "socket"
REVOCABLE = (LATE, SOCKET)
"""The ways that have bounds."""
RATES = (1, 10, 100)
CONTROLS = ("cubic", "bbr")

SEND_BUFFER = 1 << 20
MOST_DECISIONS = 255
"""New content is told apart by the value of its bytes."""
NEW_BYTES = 1448
"""New content: a segment that holds nothing else."""
_QUEUE_S = 0.05
_LEAST_PACKETS = 20
# What a plain buffer holds has to pass before the client sees anything new.
_PLAIN_DECISIONS_S = 12.0


@dataclass(frozen=True)
class Length:
    """Of a connection: seconds of sending only, decisions after that, seconds between them (on average)."""

    goodput_s: float = 4.0
    decisions: int = 30
    every_s: float = 0.1
    rounds: int = 5


QUICK = Length(goodput_s=0.5, decisions=8, every_s=0.05, rounds=1)
# A plain buffer takes 8 s at 1 Mbit/s to show anything.
QUICK_RATES = ("10", "100")


@dataclass(frozen=True)
class Case:
    """One link, one congestion control, one way to send."""

    mbit: int
    control: str
    way: str

    def __str__(self) -> str:
        return f"{self.mbit} Mbit/s {self.control} {self.way}"

    @property
    def buffer_packets(self) -> int:
        """What may wait for the link: a twentieth of a second."""
        return max(_LEAST_PACKETS, round(_QUEUE_S * self.mbit * 125_000 / 1514))

    def decisions(self, length: Length) -> int:
        """How often it decides: what is slow to show anything, seldom."""
        if self.way != PLAIN:
            return length.decisions
        return max(
            1, min(length.decisions, round(_PLAIN_DECISIONS_S * self.mbit * 125_000 / (2 * SEND_BUFFER)))
        )

    def bound(self, mss: int) -> float:
        """Bytes that may be beyond recall: a millisecond of the link, or two segments, whichever is more."""
        return max(self.mbit * 125.0, 2.0 * mss)


def cases(rates: tuple[str, ...], controls: tuple[str, ...], ways: tuple[str, ...]) -> list[Case]:
    """Those of one congestion control together: they share their hosts; those of one link, their round."""
    return [Case(int(rate), control, way) for control in controls for rate in rates for way in ways]
