"""From moments to rows and checks. Pure.

| word | meaning |
| --- | --- |
| error | how far an estimate is from the truth, as a share of the truth |
| truth | the rate of the shaper at that moment, less headers: 1448 of 1514 bytes |
| at 30 | at the 30th packet of a fresh connection |
| settled | a second and more after a step |

Rule: a moment at which an estimator says nothing is counted, not left out in silence.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.common.report import Check, check
from experiments.inspection import plan
from experiments.inspection.measure import ESTIMATORS, Moment, Run

Results = Mapping[plan.Case, Run]
# Line 5 of the issue: median errors.
BOUNDS = {"steady": 0.05, "at 30": 0.20, "step": 0.20, "responses": 0.15, "trace": 0.12}
_HALF_A_WINDOW_S = 0.2


def error(moment: Moment, estimator: str) -> float | None:
    """The share of the truth that an estimate is off; None where it says nothing."""
    said = moment.said[estimator]
    return None if said is None else abs(said / moment.truth - 1)


def errors(moments: Sequence[Moment], estimator: str) -> dict[str, float | None]:
    """Median and 90th percentile of the errors, the worst, and the share of moments with no estimate."""
    found = sorted(value for moment in moments if (value := error(moment, estimator)) is not None)
    if not found:
        return {"median": None, "p90": None, "worst": None, "silent": 1.0}
    return {
        "median": _short(statistics.median(found)),
        "p90": _short(found[int(0.9 * (len(found) - 1))]),
        "worst": _short(found[-1]),
        "silent": _short(1 - len(found) / len(moments)),
    }


def judged(case: plan.Case, run: Run) -> list[Moment]:
    """The moments that a case's bound is about."""
    if case.kind == "responses":
        return run.starts
    if case.kind == "step":
        return settled(run.moments)
    return [moment for moment in run.moments if moment.queued]


def settled(moments: Sequence[Moment]) -> list[Moment]:
    """Each step's moments around a second after it, until a fifth of a second later."""
    found: list[Moment] = []
    changed_s, truth = 0.0, moments[0].truth if moments else 0.0
    for moment in moments:
        if moment.truth != truth:
            changed_s, truth = moment.at_s, moment.truth
        since_s = moment.at_s - changed_s
        if changed_s and plan.SETTLED_S <= since_s <= plan.SETTLED_S + _HALF_A_WINDOW_S:
            found.append(moment)
    return found


def rows(results: Results, origins: Mapping[str, str]) -> list[dict[str, Any]]:
    """A row for each case, and one for the fresh connections of each steady case."""
    made = []
    for case, run in results.items():
        made.append(_row(case, case.kind, judged(case, run)) | {"trace": origins.get(case.link)})
        if run.fresh:
            made.append(_row(case, "at 30", run.fresh) | {"trace": None})
    return made


def _row(case: plan.Case, kind: str, moments: Sequence[Moment]) -> dict[str, Any]:
    return {
        "kind": kind,
        "link": case.link,
        "control": case.control,
        "place": case.place,
        "moments": len(moments),
        "error": {name: errors(moments, name) for name in ESTIMATORS},
        # §5.4 says that packet pair "works well for HTTP file downloads", and gives no figure.
        "paper": None,
    }


def checks(results: Results) -> list[Check]:
    """Line 5 of the issue, for each case that was measured."""
    made = []
    for row in rows(results, {}):
        bound = BOUNDS[row["kind"]]
        found = row["error"]["bandwidth"]
        name = f"{row['kind']} {row['link']} {row['control']} {row['place']}: median error of the bandwidth"
        made.append(check(name, found["median"], f"<= {bound}"))
    return made


def _short(value: float) -> float:
    return float(f"{value:.4g}")
