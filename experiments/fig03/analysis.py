"""From samples to rows and checks. Pure.

Rule: every ratio is a median of per-round ratios. A row with errors says so and is not ok; no check rests on
it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from experiments.common import stats
from experiments.common.report import Check, check
from experiments.fig03 import plan
from experiments.fig03.measure import Sample

Results = dict[plan.Cell, dict[str, list[Sample]]]
Bound = tuple[plan.Cell, str, str, str, str]
"""Cell, variant, the variant that it is compared with, value, and what the ratio has to be."""
_VALUES = ("requests_per_s", "bytes_per_s", "p50_us", "p99_us", "busy_us", "busy", "client_busy")
_RATIOS = {"ratio": "requests_per_s", "p50_ratio": "p50_us", "p99_ratio": "p99_us", "busy_ratio": "busy_us"}


def ratio(results: Results, cell: plan.Cell, variant: str, base: str, value: str) -> stats.Spread | None:
    """The per-round ratios of a value between two variants; None where either is missing or had errors."""
    sides = [results.get(cell, {}).get(name) for name in (variant, base)]
    if not all(sides) or any(sample.errors for side in sides for sample in side or []):
        return None
    first, second = ([getattr(sample, value) for sample in side or []] for side in sides)
    return stats.ratios(first, second)


def rows(results: Results) -> list[dict[str, Any]]:
    """One row for each variant of each cell."""
    made = []
    for cell, variants in results.items():
        for name, samples in variants.items():
            errors = sum((Counter(sample.errors) for sample in samples), Counter[str]())
            row: dict[str, Any] = {
                "variant": name,
                "size": cell.size,
                "mode": cell.mode,
                "link": cell.link,
                "rounds": len(samples),
            }
            for value in _VALUES:
                row[value] = stats.spread([getattr(sample, value) for sample in samples]).json()
            for title, value in _RATIOS.items():
                of_native = ratio(results, cell, name, plan.NATIVE, value)
                row[title] = of_native.json() if of_native else None
            roles = sorted({role for sample in samples for role in sample.processes_us})
            row["processes_us"] = {
                r: stats.spread([s.processes_us.get(r, 0.0) for s in samples]).json()["median"] for r in roles
            }
            row |= {"errors": dict(errors), "ok": not errors, "paper": plan.paper(name, cell)}
            made.append(row)
    return made


def checks(results: Results) -> list[Check]:
    """The bounds that the measured cells and variants allow to judge."""
    small, ten, kept = (
        plan.Cell(*words, "unshaped") for words in (("100B", "new"), ("10KB", "new"), ("1KB", "keep"))
    )
    big, big_shaped = (plan.Cell("1MB", "new", link) for link in ("unshaped", "1gbit"))
    forwarder, native = plan.FORWARDER, plan.NATIVE
    bounds = [
        (small, forwarder, native, "requests_per_s", ">= 0.85"),
        (small, forwarder, native, "busy_us", "<= 1.18"),
        (small, forwarder, plan.PROTOTYPE, "requests_per_s", ">= 1.02"),
        (ten, forwarder, native, "requests_per_s", ">= 0.85"),
        (kept, forwarder, native, "requests_per_s", ">= 0.95"),
        (kept, forwarder, native, "p99_us", "<= 1.6"),
        (big, forwarder, native, "requests_per_s", ">= 0.70"),
        (big_shaped, forwarder, native, "requests_per_s", ">= 0.98"),
        *((small, forwarder, proxy, "requests_per_s", ">= 1.35") for proxy in (plan.NGINX, plan.HAPROXY)),
        *((big, forwarder, proxy, "requests_per_s", ">= 1.6") for proxy in (plan.NGINX, plan.HAPROXY)),
        (small, plan.PYTHON, native, "requests_per_s", ">= 0.55"),
        *(
            (small, chain, native, "requests_per_s", bound)
            for chain, bound in zip(plan.CHAINS, (">= 0.75", ">= 0.58", ">= 0.40"), strict=True)
        ),
        # Pairs that outlive a flow make nothing slower than noise.
        *(
            (cell, forwarder, plan.FRESH, "requests_per_s", ">= 0.97")
            for cell in (small, ten, kept, big, big_shaped)
        ),
        # Late binding: what it costs where it is on, and that it costs nothing where it is off.
        *((cell, plan.LATE, forwarder, "requests_per_s", ">= 0.95") for cell in (big, big_shaped)),
        *(
            (cell, forwarder, plan.BEFORE, "requests_per_s", ">= 0.98")
            for cell in (small, ten, kept, big, big_shaped)
        ),
    ]
    return judged(results, [bound for bound in bounds if {*bound[1:3]} <= results.get(bound[0], {}).keys()])


def judged(results: Results, bounds: Sequence[Bound]) -> list[Check]:
    """A check of each bound, and one that no round had errors."""
    made = []
    for cell, variant, base, value, bound in bounds:
        found = ratio(results, cell, variant, base, value)
        made.append(check(f"{cell}: {value} of {variant} / {base}", found.median if found else None, bound))
    failed = sum(bool(s.errors) for cell in results.values() for samples in cell.values() for s in samples)
    return [*made, check("rounds with errors", failed, "== 0")]
