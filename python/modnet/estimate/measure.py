"""`Measure`: what an estimator believes, how far, and whose word it is. Types only.

`Bandwidth.best()` gives one; a policy's test writes one.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

__all__ = ["Measure", "Source"]

Source: TypeAlias = Literal["rate", "kernel", "pair"]


class Measure(NamedTuple):
    """What is believed: `rate` in bytes/s of payload, `confidence` from 0 to 1, and whose word it is."""

    rate: float
    confidence: float
    source: Source
