"""Statistics of interleaved rounds. Pure.

Single throughputs vary by 10% here, and drift together: a variant is compared with the base *of the same
round*, and the median of those ratios is what counts, with the quartiles as its spread.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """A median between its quartiles, of `count` rounds."""

    median: float
    q1: float
    q3: float
    count: int

    def json(self) -> dict[str, float]:
        """As it stands in the report, with five digits: no figure here is surer than that."""
        return {name: float(f"{getattr(self, name):.5g}") for name in ("median", "q1", "q3")}


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles (by linear interpolation, ends included, so that two values have some too)."""
    if not values:
        raise ValueError("no rounds")
    if len(values) == 1:
        return Spread(values[0], values[0], values[0], 1)
    q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, q1, q3, len(values))


def ratios(values: Sequence[float], base: Sequence[float]) -> Spread:
    """The spread of the per-round ratios; rounds in which the base is 0 say nothing and are left out."""
    if len(values) != len(base):
        raise ValueError("the rounds do not match")
    return spread([value / of for value, of in zip(values, base, strict=True) if of])


def order(count: int, round_number: int) -> list[int]:
    """In which order `count` variants run in a round.

    Each is first in turn, and every other round goes backwards, so that none always follows the same other.
    """
    step = -1 if round_number % 2 else 1
    return [(round_number + step * i) % count for i in range(count)]
