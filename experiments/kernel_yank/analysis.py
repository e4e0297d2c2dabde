"""From connections and yanks to rows and checks. Pure.

| word | meaning |
| --- | --- |
| trial | a yank that took bytes or was refused; those that found nothing unsent are counted apart |
| stall | so long nothing arrived, while something was due and the reader read |
| loses much | `plan.loses_much`: stalls there are compared with the control's |
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.common.report import Check, check
from experiments.kernel_yank import plan, resume
from experiments.kernel_yank.connection import Found
from experiments.kernel_yank.measure import Cost
from experiments.kernel_yank.resume import Resumed

Trials = Mapping[plan.Case, Sequence[Found]]

STALL_S = 1.0
# Line 2 of the issue.
BOUNDS_US = {10_000: 150.0, 1_000_000: 500.0}


def rows(trials: Trials, costs: Sequence[Cost], resumed: Sequence[Resumed]) -> list[dict[str, Any]]:
    """All that was measured. The paper has no value for any of it: its kernel was changed."""
    found = [_trials_row(case, connections) for case, connections in trials.items()]
    found += [_cost_row(cost) for cost in costs]
    return found + _resumed_rows(resumed)


def _trials_row(case: plan.Case, connections: Sequence[Found]) -> dict[str, Any]:
    yanked = [found for found in connections if found.script.yanks]
    control = [found for found in connections if not found.script.yanks]
    totals = [us for found in yanked for us in found.total_us]
    gaps = [us for found in yanked for us in found.gap_us]
    return {
        "kind": "trials",
        "link": case.link,
        "options": case.options,
        "connections": len(yanked),
        "controls": len(control),
        "took": sum(found.yanks for found in yanked),
        "nothing_unsent": sum(found.empty for found in yanked),
        "refused": dict(sum((found.refusals for found in yanked), Counter())),
        "moments": dict(sum((found.moments for found in yanked), Counter())),
        "wrong": [found.wrong for found in connections if found.wrong],
        "resets": [found.reset for found in connections if found.reset],
        "hung": sum(found.hung for found in yanked),
        "hung_controls": sum(found.hung for found in control),
        "stalled": sum(found.stall_s > STALL_S for found in yanked),
        "stalled_controls": sum(found.stall_s > STALL_S for found in control),
        "longest_stall_s": round(max((found.stall_s for found in yanked), default=0.0), 3),
        "longest_stall_controls_s": round(max((found.stall_s for found in control), default=0.0), 3),
        "total_us": _median(totals),
        "gap_us": _median(gaps),
        "paper": None,
    }


def _cost_row(cost: Cost) -> dict[str, Any]:
    return {
        "kind": "cost",
        "bytes": cost.size,
        "total_us": _spread(cost.total_us),
        "gap_us": _spread(cost.gap_us),
        "paper": None,
    }


def _resumed_rows(resumed: Sequence[Resumed]) -> list[dict[str, Any]]:
    found = []
    for control in resume.CONTROLS:
        for variant in resume.VARIANTS:
            runs = [one for one in resumed if (one.control, one.variant) == (control, variant)]
            if runs:
                share = {
                    f"{seconds:g} s": _median([one.within(seconds) / _carried(seconds) for one in runs])
                    for seconds in resume.WINDOWS_S
                }
                found.append(
                    {
                        "kind": "resume",
                        "control": control,
                        "variant": variant,
                        "share_of_link": share,
                        "window_before": _median([one.window_before for one in runs]),
                        "sent_again": _median([one.lost for one in runs]),
                        "paper": None,
                    }
                )
    return found


def _carried(seconds: float) -> float:
    """What the path carries of payload in so long."""
    return seconds * resume.MBIT * 125_000 * 1448 / 1514


def checks(found: Sequence[Mapping[str, Any]]) -> list[Check]:
    """Line 2 of the issue."""
    trials = [row for row in found if row["kind"] == "trials"]
    made = [
        check("wrong bytes", sum(len(row["wrong"]) for row in trials), "== 0"),
        check("resets", sum(len(row["resets"]) for row in trials), "== 0"),
    ]
    heavy = [row for row in trials if plan.loses_much(row["link"], row["options"])]
    calm = [row for row in trials if row not in heavy]
    if calm:
        stalled = sum(row["stalled"] + row["hung"] for row in calm)
        made.append(check("connections that stalled > 1 s, links that lose little", stalled, "== 0"))
    if heavy:
        made.append(_heavy_check(heavy))
    for row in found:
        if row["kind"] == "cost" and row["bytes"] in BOUNDS_US:
            name = f"{row['bytes'] // 1000:,} KB, median µs"
            made.append(check(name, row["total_us"]["median"], f"<= {BOUNDS_US[row['bytes']]:g}"))
    return made


def _heavy_check(heavy: Sequence[Mapping[str, Any]]) -> Check:
    """The share of connections that stalled with yanks, less the control's, in standard errors of that.

    A plain comparison would fail every other run of two equal shares.
    """
    yanked, control = ((sum(row[name] for row in heavy)) for name in ("connections", "controls"))
    stalled = sum(row["stalled"] for row in heavy)
    stalled_control = sum(row["stalled_controls"] for row in heavy)
    name = "share that stalled > 1 s on links that lose much, beyond the control's, in standard errors"
    if not yanked or not control:
        return check(name, None, "<= 2")
    return check(name, excess(stalled, yanked, stalled_control, control), "<= 2")


def excess(some: int, of: int, others: int, of_others: int) -> float:
    """How much larger the first share is than the second, in standard errors; 0 where neither has any."""
    pooled = (some + others) / (of + of_others)
    error = (pooled * (1 - pooled) * (1 / of + 1 / of_others)) ** 0.5
    return (some / of - others / of_others) / error if error else 0.0


def _median(values: Sequence[float]) -> float | None:
    return round(statistics.median(values), 3) if values else None


def _spread(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "median": round(statistics.median(ordered), 1),
        "p90": round(ordered[int(0.9 * (len(ordered) - 1))], 1),
        "worst": round(ordered[-1], 1),
    }
