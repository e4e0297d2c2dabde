"""Output: tables that are pretty on a terminal and plain in a pipe, and JSON. The only file that knows
rich.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import click

__all__ = ["as_json", "table", "text"]


def as_json(value: Any) -> None:
    """One JSON document."""
    click.echo(json.dumps(value, indent=2 if sys.stdout.isatty() else None))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], empty: str) -> None:
    """A table; `empty` is said on a terminal where there are no rows, and nothing in a pipe."""
    cells = [[text(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        # A heading and columns that line up, as ps and ss do, so that awk and people can both read it.
        if cells:
            lines = [list(columns), *cells]
            widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
            for line in lines:
                click.echo(
                    "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
                )
        return
    if not cells:
        click.echo(empty)
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        # Nothing is cut: a word that is too long goes on below.
        shown.add_column(column, overflow="fold")
    for line in cells:
        shown.add_row(*(escape(cell) for cell in line))
    Console(highlight=False).print(shown)


def text(cell: object) -> str:
    """A cell in words: nothing as `-`, truth as yes and no, what a terminal would act on escaped."""
    if cell is None or cell == "":
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(cell))
