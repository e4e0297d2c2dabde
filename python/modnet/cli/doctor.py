"""`modnet doctor`: what works here."""

from __future__ import annotations

from dataclasses import asdict

import click

from modnet.cli import show

__all__ = ["command"]


@click.command("doctor")
@click.option("--json", "in_json", is_flag=True, help="One JSON document.")
def command(in_json: bool) -> int:
    """Say of each capability whether it is there, why, and what to do. Exits with 1 if a needed one is
    missing.
    """
    from modnet.doctor import examine

    checks = list(examine())
    if in_json:
        show.as_json([asdict(check) for check in checks])
    else:
        rows = [[check.name, check.ok, check.why, check.todo] for check in checks]
        show.table(["CAPABILITY", "HERE", "WHY", "WHAT TO DO"], rows, "")
    return int(any(check.needed and not check.ok for check in checks))
