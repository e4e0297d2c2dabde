"""`modnet ps`: who runs with which chain, and what was counted."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modnet.cli import show

if TYPE_CHECKING:
    from modnet.registry import Registry

__all__ = ["command"]


@click.command("ps")
@click.option("--flows", "with_flows", is_flag=True, help="List every flow too.")
@click.option("--json", "in_json", is_flag=True, help="One JSON document, with everything.")
def command(with_flows: bool, in_json: bool) -> None:
    """Show processes with their chains, the modules' flows, and every counter."""
    from modnet.registry import Registry
    from modnet.top.rows import unsent

    registry = Registry()
    # Whoever looks tidies up: what a killed module or process has left goes now.
    users = registry.users(sweep=True)
    processes = [
        asdict(record)
        | {
            "command": command_line(record.pid, users.get(record.pid, [])),
            "processes": users.get(record.pid, []),
        }
        for record in registry.records()
    ]
    modules = [module_state(registry, name) for name in registry.modules()]
    flows = [
        {"module": module["name"]} | flow
        for module in modules
        if (with_flows or in_json) and "error" not in module
        for flow in registry.flows(module["name"])
    ]
    if in_json:
        show.as_json({"processes": processes, "modules": modules, "flows": flows})
        return
    _print(processes, modules, [_waiting(registry, module) for module in modules])
    if with_flows:
        if flows:
            click.echo()
        # TCP's state is for `top`, and for --json.
        flows = [flow | {"unsent": unsent(flow)} for flow in flows]
        columns = sorted({key for flow in flows for key in flow} - {"module", "tcp"})
        rows = [[flow["module"], *(flow.get(key) for key in columns)] for flow in flows]
        show.table(["MODULE", *(key.upper() for key in columns)], rows, "No flow at the moment.")


def _waiting(registry: Registry, module: dict[str, Any]) -> int | None:
    """Bytes of a revocable module's flows that can still be taken back; None: it is none."""
    from modnet.errors import ModnetError
    from modnet.top.rows import unsent

    if module.get("revocable") is None:
        return None
    try:
        return sum(unsent(flow) or flow["queued_outbound"] for flow in registry.flows(module["name"]))
    except ModnetError:
        # It has ended since it was asked for its state.
        return None


def _print(processes: list[dict[str, Any]], modules: list[dict[str, Any]], waiting: list[int | None]) -> None:
    show.table(
        ["PID", "CHAIN", "FAIL", "PAIRS", "PROCESSES", "COMMAND"],
        [
            [
                one["pid"],
                "half written" if one["chain"] is None else " ".join(one["chain"]),
                "closed" if one["fail_closed"] else "open",
                one["pairs"],
                len(one["processes"]),
                one["command"],
            ]
            for one in processes
        ],
        "No process runs with modules; start one with: modnet run -m MODULE -- CMD",
    )
    if modules:
        click.echo()
        show.table(
            ["MODULE", "PID", "FLOWS", "USERS", "PAIRS", "UNSENT", "YANKED"],
            [
                [
                    one["name"],
                    one.get("pid"),
                    one.get("error", count(one.get("flows"))),
                    count(one.get("users")),
                    one.get("pairs"),
                    unsent,
                    one.get("counters", {}).get("bytes_yanked"),
                ]
                for one, unsent in zip(modules, waiting, strict=True)
            ],
            "",
        )
    rows = [(one["pid"], name, value) for one in processes for name, value in one["counters"].items()]
    if rows:
        click.echo()
        show.table(["PID", "COUNTER", "VALUE"], rows, "")


def count(value: object) -> object:
    """A number as it is, a list by its length."""
    return len(value) if isinstance(value, list) else value


def module_state(registry: Any, name: str) -> dict[str, Any]:
    """A module's status; where it does not answer, that is its state."""
    from modnet.errors import ModnetError

    try:
        status: dict[str, Any] = registry.status(name)
        return {"name": name} | status
    except ModnetError as error:
        return {"name": name, "error": str(error)}


def command_line(pid: int, others: list[int]) -> str | None:
    """The command of a process, or of the oldest that shares its record where it has gone itself."""
    for candidate in (pid, *others):
        try:
            words = Path(f"/proc/{candidate}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        except OSError:
            continue
        return " ".join(word.decode(errors="replace") for word in words)
    return None
