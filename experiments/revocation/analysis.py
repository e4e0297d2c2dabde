"""From connections to rows and checks. Pure.

| word | meaning |
| --- | --- |
| unsent | bytes that the kernel held and had not sent when it was decided: beyond recall |
| in queues | bytes sent and not acknowledged beyond what the path holds: nobody takes those back |
| reaction | from the decision to the first byte of the new content at the client |
| of plain | goodput as a share of the plain way's in the same round |

Rule: a decision whose new content never came is counted: apart where the next decision has taken it back,
which is what a yank is for; else it is lost, and no decision may be.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from experiments.common import stats
from experiments.common.report import Check, check
from experiments.revocation import plan
from experiments.revocation.measure import Decision, Run

Results = Mapping[plan.Case, Sequence[Run]]
_JUDGED_MBIT = 10
"""The link whose reaction times have a bound."""


def quantile(values: Sequence[float], share: float) -> float | None:
    """The value below or at which this share of the values lies; None of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def in_queues(case: plan.Case, decision: Decision) -> float:
    """Bytes in flight beyond the path's own: its rate times the least round trip."""
    return max(0.0, decision.flight - case.mbit * 0.125 * decision.min_rtt_us)


def beyond_round_trip(decision: Decision) -> float | None:
    """How many seconds longer a reaction took than the round trip of that moment."""
    return None if decision.reaction_s is None else decision.reaction_s - decision.rtt_us / 1e6


def rows(results: Results) -> list[dict[str, Any]]:
    """A row for each case."""
    made = []
    for case, runs in results.items():
        decisions = [decision for run in runs for decision in run.decisions]
        reactions = [d.reaction_s for d in decisions if d.reaction_s is not None]
        later = [value for d in decisions if (value := beyond_round_trip(d)) is not None]
        base = results.get(replace(case, way=plan.PLAIN))
        of_plain = stats.ratios([r.goodput for r in runs], [r.goodput for r in base]) if base else None
        unsent = [float(d.unsent) for d in decisions]
        made.append(
            {
                "mbit": case.mbit,
                "control": case.control,
                "way": case.way,
                "decisions": len(decisions),
                "overtaken": sum(d.overtaken for d in decisions),
                "never_seen": sum(d.reaction_s is None and not d.overtaken for d in decisions),
                "unsent": _spread(unsent),
                "unsent_bound": _short(case.bound(max((d.mss for d in decisions), default=plan.NEW_BYTES))),
                "in_queues": _short(quantile([in_queues(case, d) for d in decisions], 0.5)),
                "goodput": _short(statistics.median(run.goodput for run in runs)),
                "of_plain": of_plain.json() if of_plain else None,
                "start_ms": _short(statistics.median(run.start_s for run in runs) * 1e3),
                "rtt_ms": _short(quantile([d.rtt_us / 1e3 for d in decisions], 0.5)),
                "reaction_ms": _spread([value * 1e3 for value in reactions]),
                "beyond_rtt_ms": _spread([value * 1e3 for value in later]),
                # §5.7 shows what a yank does for video, and gives no figure for this.
                "paper": None,
            }
        )
    return made


def checks(results: Results) -> list[Check]:
    """Line 1 of the issue, for each case that was measured."""
    made = []
    for row in rows(results):
        name = f"{row['mbit']} Mbit/s {row['control']} {row['way']}"
        if row["way"] == plan.PLAIN:
            if row["mbit"] == _JUDGED_MBIT:
                made.append(check(f"{name}: reaction, ms, median", row["reaction_ms"]["median"], ">= 500"))
            continue
        if row["way"] not in plan.REVOCABLE:
            continue
        made.append(
            check(f"{name}: unsent, bytes, 9 of 10", row["unsent"]["p90"], f"<= {row['unsent_bound']:g}")
        )
        if row["of_plain"]:
            made.append(check(f"{name}: goodput of plain", row["of_plain"]["median"], ">= 0.99"))
        if row["mbit"] == _JUDGED_MBIT:
            later = row["beyond_rtt_ms"]["median"]
            made.append(check(f"{name}: reaction less round trip, ms, median", later, "<= 5"))
        made.append(check(f"{name}: new content that never came", row["never_seen"], "== 0"))
    return made


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    return {
        "median": _short(quantile(values, 0.5)),
        "p90": _short(quantile(values, 0.9)),
        "worst": _short(max(values, default=None)),
    }


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
