"""`modnet tap show`: prints what the module `tap` has recorded."""

from __future__ import annotations

import sys
from pathlib import Path

import click

__all__ = ["command"]


@click.group("tap")
def command() -> None:
    """Look at what the module tap has recorded."""


@command.command("show")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--flow", type=int, metavar="NUMBER", help="Only this flow.")
@click.option("--json", "in_json", is_flag=True, help="One JSON object a line.")
def show(file: Path, flow: int | None, in_json: bool) -> None:
    """Print FILE: what passed, in which direction, when."""
    from modnet.modules import tap

    tap.show(file, sys.stdout, flow=flow, as_json=in_json)
