"""The table, the CSV and the PNG. It must not compute figures."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from rich.table import Table

from experiments.common import draw, tables
from experiments.common.report import Report
from experiments.revocation import plan
from experiments.revocation.analysis import Results

_OUT = Path(__file__).with_name("out")
_COLOURS = dict(zip(plan.WAYS, ("tab:red", "tab:orange", "tab:olive", "tab:blue", "tab:cyan"), strict=False))


def table(report: Report) -> None:
    """Prints every row, then the checks."""
    console = tables.console()
    made = Table("Mbit/s", "control", "way", title="Medians (9 of 10, worst)")
    for name in (
        "unsent, bytes",
        "in queues",
        "goodput of plain",
        "100 KB, ms",
        "rtt, ms",
        "reaction, ms",
        "less rtt",
    ):
        made.add_column(name, justify="right")
    for row in report.rows:
        ratio = row["of_plain"]
        made.add_row(
            str(row["mbit"]),
            row["control"],
            row["way"],
            _spread(row["unsent"]),
            _one(row["in_queues"]),
            f"{ratio['median']:.4f}" if ratio else "-",
            _one(row["start_ms"]),
            _one(row["rtt_ms"]),
            _spread(row["reaction_ms"]),
            _spread(row["beyond_rtt_ms"]),
        )
    console.print(made)
    tables.checks(console, report)


def table_file(results: Results) -> Path:
    """Writes every decision as a line of a CSV file."""
    path = _OUT / "revocation.csv"
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ("mbit", "control", "way", "round", "unsent", "flight", "rtt_us", "reaction_ms", "goodput")
        )
        for case, runs in results.items():
            for number, run in enumerate(runs):
                for d in run.decisions:
                    reaction = "" if d.reaction_s is None else round(d.reaction_s * 1e3, 3)
                    facts = (d.unsent, d.flight, d.rtt_us, reaction, round(run.goodput))
                    writer.writerow((case.mbit, case.control, case.way, number, *facts))
    return path


def png(results: Results) -> Path:
    """Draws for each link the share of decisions that find so much beyond recall, or take so long."""
    links = list(dict.fromkeys((case.mbit, case.control) for case in results))
    figure, axes = draw.panels(2 * max(1, len(links)))
    for number, link in enumerate(links):
        of_link = {case: runs for case, runs in results.items() if (case.mbit, case.control) == link}
        for panel, what in zip(axes[2 * number : 2 * number + 2], ("unsent", "reaction"), strict=True):
            _panel(panel, of_link, what)
            panel.set_title(f"{link[0]} Mbit/s, {link[1]}", fontsize=10)
    figure.suptitle("What a decision finds beyond recall, and when the client sees what it decided")
    return draw.save(figure, _OUT / "revocation.png")


def _panel(axes: Any, results: Results, what: str) -> None:
    for case, runs in results.items():
        decisions = [decision for run in runs for decision in run.decisions]
        if what == "unsent":
            values = sorted(max(1, d.unsent) for d in decisions)
        else:
            values = sorted(d.reaction_s * 1e3 for d in decisions if d.reaction_s is not None)
        shares = [(i + 1) / len(values) for i in range(len(values))]
        axes.step(values, shares, where="post", color=_COLOURS[case.way], label=case.way)
        if what == "unsent":
            axes.axvline(case.bound(plan.NEW_BYTES), color="grey", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlabel("bytes that the kernel has not sent" if what == "unsent" else "reaction, ms")
    axes.set_ylabel("share of decisions")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)


def _spread(found: dict[str, float | None]) -> str:
    return f"{_one(found['median'])} ({_one(found['p90'])}, {_one(found['worst'])})"


def _one(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
