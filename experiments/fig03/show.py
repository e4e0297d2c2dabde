"""The table and the PNG: ours with the spread, the paper's values beside. It must not compute figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from experiments.common import draw, tables
from experiments.common.report import Report
from experiments.fig03 import plan

_OUT = Path(__file__).with_name("out") / "fig03.png"


def table(report: Report) -> None:
    """Prints a table for each cell, then the checks."""
    console = tables.console()
    for cell, rows in _by_cell(report.rows).items():
        made = Table("variant", title=cell, title_justify="left")
        for title in (
            "requests/s",
            "of native",
            "quartiles",
            "paper",
            "p50 µs",
            "p99 µs",
            "core 0 µs",
            "of native",
            "busy",
            "client busy",
            "errors",
        ):
            made.add_column(title, justify="right")
        for row in rows:
            made.add_row(*_line(row))
        console.print(made)
    tables.checks(console, report)


def png(report: Report) -> Path:
    """Draws ratios to native by size, one panel for each mode and link, and one for the chains."""
    shown: dict[str, list[draw.Bar]] = {}
    for row in report.rows:
        if row["variant"] == plan.NATIVE or not row["ratio"]:
            continue
        cell = plan.Cell(row["size"], row["mode"], row["link"])
        chain = cell in plan.CHAIN_CELLS and row["variant"] in {plan.FORWARDER, *plan.CHAINS}
        kind = {"new": "new connection each", "keep": "kept-alive connections"}[row["mode"]]
        paper = tuple(row["paper"]["ratio"]) if row["paper"] else None
        median, q1, q3 = (row["ratio"][key] for key in ("median", "q1", "q3"))
        if row["variant"] not in plan.CHAINS:
            bar = draw.Bar(row["size"], row["variant"], median, q1, q3, paper)
            shown.setdefault(f"{kind}, {row['link']}", []).append(bar)
        if chain:
            length = plan.CHAINS.get(row["variant"], 1)
            group = f"{length} module{'s' * (length > 1)}"
            bar = draw.Bar(group, f"{row['size']}, {kind}", median, q1, q3, paper)
            shown.setdefault("chains of forwarders, unshaped", []).append(bar)
    figure, axes = draw.panels(max(1, len(shown)))
    for panel, (title, bars) in zip(axes, shown.items(), strict=False):
        known = (
            plan.VARIANTS
            if all(bar.series in plan.VARIANTS for bar in bars)
            else [bar.series for bar in bars]
        )
        draw.grouped(panel, bars, title, known)
        panel.set_ylabel("throughput of native")
    figure.suptitle("Figure 3: what delegation costs nginx (medians of per-round ratios, quartiles)")
    return draw.save(figure, _OUT)


def _by_cell(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(f"{row['size']}, {row['mode']}, {row['link']}", []).append(row)
    return found


def _line(row: dict[str, Any]) -> list[str]:
    ratio, busy = row["ratio"], row["busy_ratio"]
    paper = row["paper"]["ratio"] if row["paper"] else None
    return [
        row["variant"],
        f"{row['requests_per_s']['median']:,.0f}",
        f"{ratio['median']:.2f}" if ratio else "-",
        f"{ratio['q1']:.2f}-{ratio['q3']:.2f}" if ratio else "-",
        "-".join(f"{value:.2f}" for value in dict.fromkeys(paper)) if paper else "",
        f"{row['p50_us']['median']:,.0f}",
        f"{row['p99_us']['median']:,.0f}",
        f"{row['busy_us']['median']:,.1f}",
        f"{busy['median']:.2f}" if busy else "-",
        f"{row['busy']['median']:.0%}",
        f"{row['client_busy']['median']:.0%}",
        ", ".join(f"{kind} {count}" for kind, count in row["errors"].items()),
    ]
