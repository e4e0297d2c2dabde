"""`modnet tap show FILE`: prints what the module `tap` has recorded.

The printing itself is `modnet.modules.tap.show`. Must not: need a running module.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

__all__ = ["command"]


@click.group("tap")
def command() -> None:
    """Look at recordings of the module tap."""


@command.command(short_help="Print a recording.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--flow", type=click.IntRange(min=1), help="Only the flow with this number.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, bytes in base64.")
def show(file: Path, flow: int | None, as_json: bool) -> None:
    """Print a recording: who spoke to whom, and what passed when (times are UTC)."""
    from modnet.modules.tap import show as show_recording

    # What was recorded may hold any character, the terminal's encoding may not.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    show_recording(file, sys.stdout, flow=flow, as_json=as_json)
