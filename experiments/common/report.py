"""The object that `--json` prints (DESIGN §8), the same for every experiment. Pure.

| key | holds |
| --- | --- |
| machine | where it ran |
| build | what was measured; never a debug build |
| data | where the input came from |
| rows | what was measured, the paper's value beside it under `paper` (null: it gives none) |
| checks | `name`, `value`, `bound`, `ok`: is a bound met |

Rule: a check knows only rows' figures; a value that could not be measured is null and not ok.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Check:
    """`value` against `bound`, e.g. ">= 0.74"."""

    name: str
    value: float | None
    bound: str
    ok: bool


def check(name: str, value: float | None, bound: str) -> Check:
    """Judges `value` by `bound`: ">= x", "<= x", "< x" or "== x"; a value of None is not ok."""
    relation, _, limit_text = bound.partition(" ")
    limit = float(limit_text)
    if relation not in {">=", "<=", "<", "=="}:
        raise ValueError(f"unknown relation {relation!r}")
    if value is None:
        return Check(name, None, bound, False)
    ok = {">=": value >= limit, "<=": value <= limit, "<": value < limit, "==": value == limit}[relation]
    return Check(name, float(f"{value:.5g}"), bound, ok)


@dataclass(frozen=True)
class Report:
    """One run of an experiment."""

    machine: Mapping[str, Any]
    build: Mapping[str, Any]
    data: Mapping[str, Any]
    rows: list[dict[str, Any]] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)

    def json(self) -> str:
        """The one object, indented."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)
