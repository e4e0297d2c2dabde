"""The tables and the PNG: time against bytes, and how connections go on. It must not compute figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from experiments.common import draw, tables
from experiments.common.report import Report
from experiments.kernel_yank import analysis, resume
from experiments.kernel_yank.measure import Cost
from experiments.kernel_yank.resume import Resumed

_OUT = Path(__file__).with_name("out") / "kernel_yank.png"


def table(report: Report) -> None:
    """Prints trials, costs, resumption and checks."""
    console = tables.console()
    made = Table("link", "options", "connections", "took bytes", "refused", "wrong, resets", title="Trials")
    for name in ("stalled > 1 s", "of controls", "longest stall, s", "control's", "median µs", "gap µs"):
        made.add_column(name, justify="right")
    for row in (row for row in report.rows if row["kind"] == "trials"):
        made.add_row(
            *(row["link"], row["options"], str(row["connections"]), str(row["took"])),
            str(sum(row["refused"].values())),
            f"{len(row['wrong'])}, {len(row['resets'])}",
            str(row["stalled"]),
            f"{row['stalled_controls']} of {row['controls']}",
            *(f"{row[key]:.2f}" for key in ("longest_stall_s", "longest_stall_controls_s")),
            *(_cell(row[key]) for key in ("total_us", "gap_us")),
        )
    console.print(made)
    made = Table("bytes", "median µs", "p90", "gap µs", title="A yank of so many bytes, loopback")
    for row in (row for row in report.rows if row["kind"] == "cost"):
        total = row["total_us"]
        cells = (total["median"], total["p90"], row["gap_us"]["median"])
        made.add_row(f"{row['bytes']:,}", *(_cell(cell) for cell in cells))
    console.print(made)
    made = Table("control", "variant", *(f"{s:g} s" for s in resume.WINDOWS_S), "sent again", title=_RESUMED)
    for row in (row for row in report.rows if row["kind"] == "resume"):
        shares = (f"{share:.2f}" for share in row["share_of_link"].values())
        made.add_row(row["control"], row["variant"], *shares, _cell(row["sent_again"]))
    console.print(made)
    tables.checks(console, report)


_RESUMED = f"Share of {resume.MBIT:g} Mbit/s and {2000 * resume.DELAY_S:g} ms that arrived after a yank"


def png(costs: Sequence[Cost], resumed: Sequence[Resumed]) -> Path:
    """Draws time against bytes, and what arrives after a yank."""
    controls = resume.CONTROLS if resumed else ()
    figure, axes = draw.panels(1 + len(controls))
    _costs(axes[0], costs)
    for panel, control in zip(axes[1:], controls, strict=True):
        _resumed(panel, control, [one for one in resumed if one.control == control])
    return draw.save(figure, _OUT)


def _costs(axes: Any, costs: Sequence[Cost]) -> None:
    sizes = [cost.size for cost in costs]
    for name, colour in (("total_us", "tab:blue"), ("gap_us", "tab:orange")):
        medians = [sorted(getattr(cost, name))[len(getattr(cost, name)) // 2] for cost in costs]
        label = "all of it" if name == "total_us" else "gap: out of the hash"
        axes.loglog(sizes, medians, "o-", color=colour, label=label)
    bounds = analysis.BOUNDS_US.items()
    axes.loglog([size for size, _ in bounds], [us for _, us in bounds], "k_", markersize=18, label="bound")
    axes.set_title("A kernel yank, median", fontsize=10)
    axes.set_xlabel("bytes")
    axes.set_ylabel("µs")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)


def _resumed(axes: Any, control: str, runs: Sequence[Resumed]) -> None:
    for variant, colour in zip(resume.VARIANTS, ("black", "tab:green", "tab:red"), strict=True):
        for number, one in enumerate(run for run in runs if run.variant == variant):
            shown = [(at_s, total) for at_s, total in one.arrived if at_s >= 0]
            first = shown[0][1] if shown else 0
            megabytes = [(total - first) / 1e6 for _, total in shown]
            label = variant if number == 0 else None
            axes.plot([at_s for at_s, _ in shown], megabytes, color=colour, linewidth=1, label=label)
    axes.set_title(f"After a yank: {control}", fontsize=10)
    axes.set_xlabel("s")
    axes.set_ylabel("MB arrived")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
