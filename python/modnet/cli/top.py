"""`modnet top`: the flows of all modules, live.

What is shown is `modnet.top`. Must not: ask anything of the flows themselves.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict

import click

from modnet.cli import show

__all__ = ["command"]


@click.command("top")
@click.option("--module", help="Only flows of this module.")
@click.option("--peer", help="Only flows of this client: its address, with or without the port.")
@click.option("--port", type=click.IntRange(1, 65535), help="Only flows at this port of the server.")
@click.option("--sort", "order", default="rate", show_default=True, help="The column to sort by.")
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 60),
    default=1.0,
    show_default=True,
    help="Seconds between looks.",
)
@click.option("--once", is_flag=True, help="A table of two looks, one interval apart, and no more.")
@click.option("--json", "in_json", is_flag=True, help="The same as one JSON document.")
def command(
    module: str | None,
    peer: str | None,
    port: int | None,
    order: str,
    interval: float,
    once: bool,
    in_json: bool,
) -> None:
    """Show the flows of all modules: who, how much, how fast, and what TCP makes of it."""
    from modnet.registry import Registry
    from modnet.top import view
    from modnet.top.rows import Board, Row

    order = view.known_order(order)
    registry, board = Registry(), Board()
    wanted = view.Filter(module, peer, port)
    if module is not None:
        # A name that nobody has is a mistake, not an empty table.
        registry.status(module)

    def look() -> list[Row]:
        return wanted.of(board.look(time.monotonic(), registry.all_flows()))

    if not (once or in_json) and sys.stdout.isatty():
        from modnet.top import screen

        screen.run(look, order, interval)
        return
    # Rates need two looks.
    look()
    time.sleep(interval)
    rows = view.ordered(look(), order)
    if in_json:
        show.as_json({"interval": interval, "flows": [asdict(row) for row in rows]})
    else:
        show.table(view.COLUMNS, [view.cells(row) for row in rows], "No flow at the moment.")
