"""The terminal of `modnet top` and `modnet watch`: draws lines, hears keys. Only here is a terminal known.

| key in `top` | does |
| --- | --- |
| `<` `>` | sorts by the column before, behind |
| `r` | turns the order round |
| space | pauses, and goes on |
| `q` | ends |
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from modnet.top import view
from modnet.top.chart import chart
from modnet.top.rows import Row
from modnet.top.series import UNITS, Series

__all__ = ["charts", "run"]


def run(look: Callable[[], list[Row]], order: str, interval: float) -> None:
    """Shows what `look` gives every `interval` seconds, until `q` or Ctrl-C."""
    console = Console(highlight=False)
    reverse, rows, paused, due = False, look(), False, time.monotonic() + interval
    with (
        _keys() as key,
        Live(
            _page(console, rows, order, reverse, paused), console=console, screen=True, auto_refresh=False
        ) as live,
    ):
        while True:
            pressed = key(max(0.0, due - time.monotonic()))
            if pressed == "q":
                return
            if pressed in ("<", ">"):
                at = view.ORDERS.index(order) + (1 if pressed == ">" else -1)
                order = view.ORDERS[at % len(view.ORDERS)]
            elif pressed == "r":
                reverse = not reverse
            elif pressed == " ":
                paused = not paused
            if time.monotonic() >= due:
                due = time.monotonic() + interval
                if not paused:
                    rows = look()
            live.update(_page(console, rows, order, reverse, paused), refresh=True)


def _page(console: Console, rows: list[Row], order: str, reverse: bool, paused: bool) -> Group:
    """As many lines as the terminal has room for.

    Each is one text. Rejected: rich's Table, which measures and folds each cell: 35 of the 38 ms of a look at
    64 flows, taken from them where every core is busy.
    """
    room = max(1, console.height - 5)
    lines = view.ordered(rows, order, reverse)
    heads, shown = view.laid_out([view.cells(row) for row in lines[:room]], console.width)
    titles = Text(no_wrap=True, style="bold")
    for head in heads:
        title = head.strip()
        before, _, behind = head.partition(title)
        is_sorted_by = title == view.COLUMNS[view.ORDERS.index(order)]
        titles.append(before).append(title, "reverse" if is_sorted_by else "").append(behind)
    rule = Text("─" * len(titles), no_wrap=True)
    rate = sum(row.rate_outbound or 0 for row in rows)
    top = f"modnet top  {len(rows)} flows  {view.bytes_in_words(rate)}/s out  {time.strftime('%H:%M:%S')}"
    if paused:
        top += "  paused"
    hidden = len(lines) - room
    foot = "< > sort   r reverse   space pause   q quit" + (f"   {hidden} more" if hidden > 0 else "")
    table = (Text(line, no_wrap=True) for line in shown)
    return Group(Text(top, style="bold"), titles, rule, *table, Text(foot, style="dim"))


@contextlib.contextmanager
def charts() -> Iterator[Callable[[str, Series], None]]:
    """A function that draws a series under a title: a chart for each quantity, as large as the terminal lets
    them be.
    """
    console = Console(highlight=False)
    with Live(console=console, screen=True, auto_refresh=False) as live:

        def draw(title: str, series: Series) -> None:
            height = max(1, (console.height - 1) // len(UNITS) - 1)
            parts = [Text(title, style="bold")]
            for name, unit in UNITS.items():
                values = series.values(name)
                known = [value for value in values if value is not None]
                now = view.bytes_in_words(values[-1]) if values else "-"
                most = view.bytes_in_words(max(known)) if known else "-"
                head = f"{name.replace('_', ' ')}  {now} {unit}  (up to {most})"
                parts.append(Text(head, style="bold cyan"))
                parts.extend(Text(line) for line in chart(values, console.width, height))
            live.update(Group(*parts), refresh=True)

        yield draw


def _no_key(seconds: float) -> str:
    time.sleep(seconds)
    return ""


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """A function that waits so many seconds for a key, and gives "" where none came."""
    fd = sys.stdin.fileno()
    if not os.isatty(fd):
        yield _no_key
        return
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd)

    def key(seconds: float) -> str:
        ready, _, _ = select.select([fd], [], [], seconds)
        return os.read(fd, 1).decode(errors="replace") if ready else ""

    try:
        yield key
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
