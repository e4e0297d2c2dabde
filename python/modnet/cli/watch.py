"""`modnet watch`: one flow over time, drawn in the terminal, as a picture, as a file of values.

What is drawn is `modnet.top`. Must not: ask anything of the flow itself.
"""

from __future__ import annotations

import contextlib
import csv
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from modnet.top.series import Series

__all__ = ["command"]


@click.command("watch")
@click.argument("what", metavar="PEER|PORT|FLOW")
@click.option(
    "--interval",
    type=click.FloatRange(0.01, 60),
    default=0.2,
    show_default=True,
    help="Seconds between looks.",
)
@click.option(
    "--seconds", type=click.FloatRange(0.1), help="Stop after so long; else with the flow, or Ctrl-C."
)
@click.option(
    "--plot", type=click.Path(path_type=Path, dir_okay=False), help="Write a picture (PNG) at the end."
)
@click.option(
    "--record", type=click.Path(path_type=Path, dir_okay=False), help="Write the values (CSV) at the end."
)
def command(
    what: str, interval: float, seconds: float | None, plot: Path | None, record: Path | None
) -> None:
    """Follow one flow: congestion window, round-trip time, bytes in flight, unsent bytes, bandwidth.

    PEER is a client's address with or without its port, PORT a port of either side, FLOW a MODULE/NUMBER as
    modnet ps --flows lists them. Waits until there is such a flow, and takes the busiest of several.
    """
    from modnet.errors import UsageError
    from modnet.registry import Registry
    from modnet.top.rows import Board
    from modnet.top.series import Series, chosen

    if plot is not None:
        _need_pictures()
    for path in (plot, record):
        if path is not None and not path.parent.is_dir():
            raise UsageError(f"there is no directory {path.parent} for {path.name}")
    registry, board = Registry(), Board()
    # A picture and a file have everything, a screen what it has room for.
    series = Series(most=None if plot or record else 1000)
    title, first, end = "", 0.0, None if seconds is None else time.monotonic() + seconds
    with contextlib.suppress(KeyboardInterrupt), _drawing() as draw:
        while end is None or time.monotonic() < end:
            now = time.monotonic()
            row = chosen(board.look(now, registry.all_flows()), what)
            if row is not None:
                if not title:
                    # From here on this one, whichever is the busiest.
                    first, what = now, f"{row.module}/{row.flow}"
                    title = f"{what}  {row.peer} - {row.local}"
                series.add(now - first, row)
                draw(title, series)
            elif title:
                break
            time.sleep(max(0.0, now + interval - time.monotonic()))
    if not title:
        raise UsageError(f"no flow of {what} came; modnet top lists those that there are")
    if record is not None:
        with record.open("w", newline="") as file:
            csv.writer(file).writerows(series.lines())
    if plot is not None:
        from modnet.top.picture import write

        write(plot, title, series)
    click.echo(f"{title}: {len(series.points)} looks in {series.points[-1].at:.1f} s", err=True)


def _need_pictures() -> None:
    from modnet.errors import SystemRefused

    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise SystemRefused("--plot needs matplotlib: pip install modnet[plot]") from None


@contextlib.contextmanager
def _drawing() -> Iterator[Callable[[str, Series], None]]:
    """A function that draws a series; in a pipe nothing is drawn."""

    def nothing(title: str, series: Series) -> None:
        pass

    if not sys.stdout.isatty():
        yield nothing
        return
    from modnet.top import screen

    with screen.charts() as draw:
        yield draw
