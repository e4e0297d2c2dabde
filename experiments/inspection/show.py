"""The table and the PNG: estimates against the truth over time. It must not compute figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from experiments.common import draw, tables
from experiments.common.report import Report
from experiments.inspection import plan
from experiments.inspection.analysis import Results
from experiments.inspection.measure import ESTIMATORS, Run

_OUT = Path(__file__).with_name("out") / "inspection.png"
_COLOURS = {"bandwidth": "tab:blue", "pair": "tab:orange", "kernel": "tab:green"}
_MBIT = 125_000 * 1448 / 1514
_MOST_PANELS = 8


def table(report: Report) -> None:
    """Prints every row's errors, then the checks."""
    console = tables.console()
    made = Table(
        "what", "link, Mbit/s", "control", "place", "moments", title="Median error (90th percentile)"
    )
    for name in ESTIMATORS:
        made.add_column(name, justify="right")
    for row in report.rows:
        cells = [_cell(row["error"][name]) for name in ESTIMATORS]
        made.add_row(row["kind"], row["link"], row["control"], row["place"], str(row["moments"]), *cells)
    console.print(made)
    tables.checks(console, report)


def png(results: Results) -> Path:
    """Draws what changes with time, and one steady case: truth, bandwidth, packet pair and the kernel's."""
    shown = [case for case in results if case.kind in ("trace", "step")]
    shown = [*shown, *(case for case in results if case.kind in ("steady", "responses"))][:_MOST_PANELS]
    figure, axes = draw.panels(max(1, len(shown)))
    for panel, case in zip(axes, shown, strict=False):
        _panel(panel, case, results[case])
    figure.suptitle("Bandwidth of a connection: estimates against what the shaped link carries")
    return draw.save(figure, _OUT)


def _panel(axes: Any, case: plan.Case, run: Run) -> None:
    # More points than pixels hide more than they show.
    moments = run.moments[:: max(1, len(run.moments) // 4000)]
    times = [moment.at_s for moment in moments]
    truth = [moment.truth / _MBIT for moment in moments]
    for name, colour in reversed(_COLOURS.items()):
        said = [moment.said[name] for moment in moments]
        values = [float("nan") if value is None else value / _MBIT for value in said]
        axes.plot(times, values, color=colour, linewidth=1, label=name)
    axes.step(times, truth, color="black", linewidth=1, where="post", label="truth")
    axes.set_ylim(0, 1.6 * max(truth))
    axes.set_title(str(case), fontsize=10)
    axes.set_ylabel("Mbit/s")
    axes.set_xlabel("s")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="upper right")


def _cell(found: dict[str, float | None]) -> str:
    if found["median"] is None or found["p90"] is None:
        return "-"
    silent = f", {found['silent']:.0%} silent" if found["silent"] and found["silent"] >= 0.01 else ""
    return f"{found['median']:.1%} ({found['p90']:.0%}{silent})"
