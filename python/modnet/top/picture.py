"""A series as a picture. Only here is matplotlib known, which is not installed with the package."""

from __future__ import annotations

from pathlib import Path

from modnet.top.series import UNITS, Series

__all__ = ["write"]


def write(path: Path, title: str, series: Series) -> None:
    """One panel for each quantity, over the same time. PNG, or what the name's ending says."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 11), layout="constrained")
    FigureCanvasAgg(figure)
    times = [point.at for point in series.points]
    panels = figure.subplots(len(UNITS), 1, sharex=True)
    for axes, (name, unit) in zip(panels, UNITS.items(), strict=True):
        values = [float("nan") if value is None else value for value in series.values(name)]
        axes.plot(times, values, linewidth=1.2)
        axes.set_ylabel(f"{name.replace('_', ' ')}\n{unit}")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    panels[0].set_title(title)
    panels[-1].set_xlabel("seconds")
    figure.savefig(path, dpi=110)
