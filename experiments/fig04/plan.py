"""What is measured: links, variants on each, and the paper's values. Pure.

| word | meaning |
| --- | --- |
| link | what each client has: a rate in Mbit/s, or `changing`: between 2 and 240 as recorded traces have it |
| variant | what compresses, and how hard; `native`: nobody |
| download | one report over a new connection |

It must not measure.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from experiments.common.traces import Step

NATIVE = "native"
DEFLATE = {f"deflate-{level}": level for level in (1, 6, 9)}
FIXED = {f"gzip-{level}": f"gzip,level={level}" for level in (1, 6, 9)}
ADAPTIVE, PAPER, ZSTD = "adaptive", "paper", "adaptive-zstd"
MODULES = {**FIXED, ADAPTIVE: "gzip", PAPER: "gzip,policy=paper", ZSTD: "gzip,coding=zstd"}
VARIANTS = (NATIVE, *DEFLATE, *MODULES)
CHANGING = "changing"
LINKS: dict[str, float | None] = {"240": 240.0, "50": 50.0, "10": 10.0, "2": 2.0, CHANGING: None}
_OFTEN = {"240": 30, "50": 6, "10": 3, CHANGING: 3}
"""Where the processor is the slower half a round is over in a quarter of a second, from one to the next of
which the machine wanders by five times the bound: their ratios' quartiles are 0.9 and 1.1, and the median of
five says nothing. On the changing link each round has another part of the traces, and the best level of three
parts is not that of twelve.
"""
TRACES = ("img1", "img2", "img3")
CHANGE_S = 0.2
"""Seconds of a step: a download takes some of them. The traces were recorded a step a second."""
CHANGE_MBIT = (2.0, 240.0)
_STRIDE = 37
"""Steps of a trace between one round's beginning and that of the next with it: no round is like another."""

CLIENTS = 40
"""The paper's."""
SERVER_MBIT = 2000.0
"""What two cores of today's virtual machines carry between namespaces with room to spare: 240 Mbit/s each is
for so many clients of the 40 as fit, see `clients`.
"""


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    clients: int = CLIENTS
    rounds: int = 5
    downloads: int = 3
    """Of each client in a round; one where a report takes more than ten seconds or rounds are many, `_MORE`
    times as many on the changing link.
    """
    often: bool = True
    """As many times more rounds as a link needs, see `_OFTEN`."""


QUICK = Size(clients=4, rounds=1, downloads=1, often=False)
QUICK_LINKS = ("240", "2", CHANGING)
_MORE = 5
QUICK_VARIANTS = (NATIVE, "deflate-6", "gzip-1", "gzip-6", "gzip-9", ADAPTIVE)


def clients(link: str, most: int) -> int:
    """So many clients that the server's own link could serve them all."""
    mbit = LINKS[link] or max(CHANGE_MBIT)
    return max(1, min(most, int(SERVER_MBIT / mbit)))


def rounds(link: str, size: Size) -> int:
    """So many of each variant."""
    return size.rounds * (_OFTEN.get(link, 1) if size.often else 1)


def downloads(link: str, variant: str, size: Size) -> int:
    """So many of each client in a round."""
    if (variant == NATIVE and link in ("2", CHANGING)) or (link in ("240", "50") and size.often):
        return 1
    return size.downloads * (_MORE if link == CHANGING else 1)


def changing(recorded: Sequence[Step], round_number: int) -> list[Step]:
    """The changing link of a round: the trace from some step on, and from its beginning when it is over. Its
    slowest step is 2 Mbit/s and its fastest 240; what lies between is by rank, on a logarithmic scale: fast
    times are as long as slow ones, in the order in which the trace has them.
    """
    sorted_mbit = sorted(step.mbit for step in recorded)
    slow, fast = map(math.log, CHANGE_MBIT)
    begin = round_number * _STRIDE % len(recorded)
    ranks = [bisect.bisect_left(sorted_mbit, step.mbit) for step in (*recorded[begin:], *recorded[:begin])]
    return [Step(CHANGE_S, math.exp(slow + (fast - slow) * rank / (len(recorded) - 1))) for rank in ranks]


def paper(variant: str, link: str) -> dict[str, Any] | None:
    """What §5.3 says of Figure 4: how many times as long as level 1 (fast clients) or level 9 (slow ones)."""
    fast = {"deflate-1": 1.0, "deflate-6": 2.0, "deflate-9": 4.0, NATIVE: 1.5, ADAPTIVE: 1.0}
    slow = {"deflate-9": 1.0, "deflate-1": 1.5, "deflate-6": 1.2, NATIVE: 51.0, ADAPTIVE: 1.0}
    values = {"240": fast, "2": slow}.get(link, {})
    if variant not in values:
        return None
    return {
        "times_the_best": values[variant],
        "source": "§5.3: 40 clients, 4 cores, a report that shrinks 34 to 51 times",
    }
