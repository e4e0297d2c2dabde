"""Drawing that experiments share: grouped bars of ratios with their spread, the paper's values beside them.

Rule: a PNG goes to the experiment's `out/` folder, which git ignores. It must not compute what it shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # the backend has to be chosen first: there may be no display


@dataclass(frozen=True)
class Bar:
    """A median between its quartiles, and what the paper says (a range), if anything."""

    group: str
    series: str
    median: float
    q1: float
    q3: float
    paper: tuple[float, float] | None = None


def grouped(axes: Any, bars: list[Bar], title: str, colours: Sequence[str]) -> None:
    """Draws one panel: groups side by side, coloured by place in `colours`, the paper's range in black."""
    groups = list(dict.fromkeys(bar.group for bar in bars))
    series = list(dict.fromkeys(bar.series for bar in bars))
    # A lone series is not drawn as one broad wall.
    width = 0.85 / max(4, len(series))
    palette = pyplot.get_cmap("tab10")
    labelled: set[str] = set()
    for bar in bars:
        number = series.index(bar.series)
        x = groups.index(bar.group) + (number - (len(series) - 1) / 2) * width
        label = bar.series if bar.series not in labelled else None
        labelled.add(bar.series)
        spread = [[bar.median - bar.q1], [bar.q3 - bar.median]]
        axes.bar(
            x,
            bar.median,
            width * 0.9,
            color=palette(colours.index(bar.series) % palette.N),
            yerr=spread,
            ecolor="grey",
            capsize=2,
            label=label,
        )
        if bar.paper:
            low, high = bar.paper
            label = "the paper" if "the paper" not in labelled else None
            labelled.add("the paper")
            middle = (low + high) / 2
            axes.errorbar(
                x, middle, [[middle - low], [high - middle]], fmt="kD", markersize=4, capsize=4, label=label
            )
    axes.axhline(1, color="grey", linewidth=0.8)
    axes.set_xticks(range(len(groups)), groups)
    axes.set_title(title, fontsize=10)
    axes.grid(axis="y", alpha=0.3)
    if bars:
        axes.legend(fontsize=7)


def panels(count: int) -> tuple[Any, list[Any]]:
    """A figure with panels below each other."""
    figure, grid = pyplot.subplots(count, 1, figsize=(11, 3.6 * count), squeeze=False, layout="constrained")
    return figure, [row[0] for row in grid]


def save(figure: Any, path: Path) -> Path:
    """Writes the PNG and forgets the figure."""
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
    return path
