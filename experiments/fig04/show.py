"""The table and the PNG: download times on a logarithmic scale, the paper's beside them."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from experiments.common import draw, tables
from experiments.common.report import Report
from experiments.fig04 import plan

_OUT = Path(__file__).with_name("out") / "fig04.png"


def table(report: Report) -> None:
    """Prints every row, then the checks."""
    console = tables.console()
    made = Table("link, Mbit/s", "clients", "variant", title="One report of 3 MB")
    for name in ("mean s", "p95 s", "KB", "core 0 ms", "cpu ms", "times the best", "the paper"):
        made.add_column(name, justify="right")
    for row in report.rows:
        paper = "-" if row["paper"] is None else f"{row['paper']['times_the_best']:g}"
        made.add_row(
            row["link"],
            str(row["clients"]),
            row["variant"],
            f"{row['mean_s']['median']:.3f}",
            f"{row['p95_s']['median']:.3f}",
            f"{row['bytes']['median'] / 1000:.0f}",
            f"{row['busy_ms']['median']:.1f}",
            f"{row['cpu_ms']['median']:.1f}",
            f"{row['times_the_best']:.2f}",
            paper,
        )
    console.print(made)
    tables.checks(console, report)


def png(report: Report) -> Path:
    """One panel a link."""
    links = list(dict.fromkeys(row["link"] for row in report.rows))
    figure, axes = draw.panels(len(links))
    for panel, link in zip(axes, links, strict=True):
        rows = [row for row in report.rows if row["link"] == link]
        best = min(row["mean_s"]["median"] for row in rows)
        bars = [
            draw.Bar(
                f"{link} Mbit/s" if link != plan.CHANGING else "2 to 240 Mbit/s, changing",
                row["variant"],
                *(row["mean_s"][name] for name in ("median", "q1", "q3")),
                paper=row["paper"] and (row["paper"]["times_the_best"] * best,) * 2,
            )
            for row in rows
        ]
        draw.grouped(
            panel, bars, "Mean time of a download (the paper's as a multiple of our best)", plan.VARIANTS
        )
        panel.set_yscale("log")
        panel.set_ylabel("s")
    return draw.save(figure, _OUT)
