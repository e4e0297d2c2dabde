"""`modnet inspect enable`, `disable`, `status`: the TCP states of flows, written by the kernel."""

from __future__ import annotations

from dataclasses import asdict

import click

from modnet.cli import show

__all__ = ["command"]


@click.group("inspect")
def command() -> None:
    """Let modules read the TCP state of their flows from memory.

    Without it they read the same from samples, taken at most every 10 ms.
    """


@command.command("enable")
@click.option("--group", metavar="GROUP", help="Whose members may use it besides root.")
@click.option(
    "--slots", default=65536, show_default=True, help="Sockets at one time; 330 bytes of memory each."
)
@click.option("--check", is_flag=True, hidden=True, help="Have each state carry a sum, for tests.")
def enable(group: str | None, slots: int, check: bool) -> None:
    """Load the programs and keep them loaded (root)."""
    from modnet import inspection

    done = inspection.enable(group, slots, check)
    for note in done.notes:
        click.echo(note)
    who = f"root and the group {group}" if group else "root"
    click.echo(f"enabled for {who} in {done.directory}, {done.slots} slots")


@command.command("disable")
def disable() -> None:
    """Take the programs out of the kernel (root). Flows that are inspected go on, sampled."""
    from modnet import inspection

    click.echo(f"removed {inspection.disable()}")


@command.command("status")
@click.option("--json", "in_json", is_flag=True, help="One JSON document.")
def status(in_json: bool) -> int:
    """Say whether you can use it, why not, and how the slots are. Exits with 1 if not."""
    from modnet import inspection

    now = inspection.status()
    if in_json:
        show.as_json(asdict(now) | {"directory": str(now.directory)})
    else:
        rows: list[list[object]] = [
            ["here", now.ok],
            ["why", now.why],
            ["what to do", now.todo],
            ["directory", now.directory],
        ]
        rows += [[name, count] for name, count in now.counters.items()]
        show.table(["INSPECTION", ""], rows, "")
    return int(not now.ok)
