"""`modnet module`: start, stop, reload, list, show."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import click

from modnet.cli import show
from modnet.cli.complete import living_modules, module_specs

__all__ = ["command"]


@click.group("module")
def command() -> None:
    """Start, stop and look at modules."""


@command.command("start")
@click.argument("spec", metavar="MODULE[,key=value…]", shell_complete=module_specs)
def start(spec: str) -> None:
    """Start a module that stays until it is stopped, whoever uses it."""
    from modnet import janitor, launch
    from modnet.errors import UsageError
    from modnet.registry import Registry

    [wanted] = launch.request([spec])
    registry = Registry(prepare=True)
    if registry.is_living(wanted.name):
        raise UsageError(
            f"a module named {wanted.name!r} is running already; stop it (modnet module stop {wanted.name}) "
            f"or register this one under another name ({spec},as=NAME)"
        )
    launch.start(registry, wanted, persistent=True)
    janitor.start(registry.path)


@command.command("stop")
@click.argument("names", nargs=-1, metavar="NAME…", shell_complete=living_modules)
@click.option("--all", "every", is_flag=True, help="Every module.")
@click.option(
    "--drain",
    type=click.FloatRange(0, 86400),
    metavar="SECONDS",
    help="How long flows may take to end.  [default: as the module was started]",
)
def stop(names: tuple[str, ...], every: bool, drain: float | None) -> None:
    """Stop modules and wait until they have ended. New connections pass without them."""
    from modnet.registry import Registry
    from modnet.stopping import stop_all

    registry = Registry()
    if every == bool(names):
        raise click.UsageError("give NAMEs, or --all")
    for name in names:
        _must_live(registry, name)
    stop_all(registry, names or tuple(registry.modules()), drain)


@command.command("reload", short_help="Have modules read their files anew.")
@click.argument("names", nargs=-1, required=True, metavar="NAME…", shell_complete=living_modules)
def reload(names: tuple[str, ...]) -> None:
    """Have modules read their files anew, rules for instance; what is wrong with them is told, and nothing
    changes.
    """
    from modnet.registry import Registry, told

    registry = Registry()
    for name in names:
        _must_live(registry, name)
    for name in names:
        with told():
            registry.ask(name, "reload")


@command.command("list")
@click.option("--available", is_flag=True, help="Also those that could be started by their name.")
@click.option("--json", "in_json", is_flag=True, help="One JSON document.")
def list_(available: bool, in_json: bool) -> None:
    """List the modules that run."""
    from modnet.cli.ps import count, module_state
    from modnet.registry import Registry

    registry = Registry()
    rows = [module_state(registry, name) | {"running": True} for name in registry.modules()]
    if available:
        from modnet.loader import available as find_available

        running = {row["name"] for row in rows}
        rows += [
            {"name": one.name, "running": False, "module": one.reference, "distribution": one.distribution}
            for one in find_available()
            if one.name not in running
        ]
    if in_json:
        show.as_json(rows)
        return
    show.table(
        ["NAME", "RUNNING", "PID", "USERS", "FLOWS", "STAYS", "MODULE"],
        [
            [
                row["name"],
                row["running"],
                row.get("pid"),
                count(row.get("users")),
                row.get("error", count(row.get("flows"))),
                row.get("persistent"),
                spec_of(row).get("module", row.get("module")),
            ]
            for row in rows
        ],
        "No module is running; start one with: modnet run -m MODULE -- CMD, or modnet module start MODULE",
    )


@command.command("show", short_help="Settings and counters of a module, running or not.")
@click.argument("name", metavar="NAME", shell_complete=living_modules)
@click.option("--json", "in_json", is_flag=True, help="One JSON document.")
def show_(name: str, in_json: bool) -> None:
    """Show what a running module says of itself, or the settings of one that could be started."""
    from modnet.registry import Registry

    registry = Registry()
    if "/" not in name and ":" not in name and registry.is_living(name):
        status = {"name": name} | registry.status(name)
        spec = spec_of(status)
        status |= {"module": spec.get("module"), "log": spec.get("log")}
        status["settings"] = same_of(spec).get("settings")
        status.pop("spec", None)
    else:
        status = _described(registry, name)
    if in_json:
        show.as_json(status)
        return
    _print(status)


def _print(status: dict[str, Any]) -> None:
    """What is one thing in one table; settings and counters in tables of their own."""
    tables = {key: value for key, value in status.items() if isinstance(value, dict)}
    described = status["settings"] if isinstance(status.get("settings"), list) else []
    rows = [
        [key, " ".join(map(str, value)) if isinstance(value, list) else value]
        for key, value in status.items()
        if key not in tables and value is not described
    ]
    show.table(["WHAT", "VALUE"], rows, "")
    for title, values in tables.items():
        if values:
            click.echo()
            show.table([title.replace("_", " ").upper(), "VALUE"], list(values.items()), "")
    if described:
        click.echo()
        # Defaults last: one that is long widens no other column.
        columns = ["SETTING", "TYPE", "HELP", "DEFAULT"]
        settings = [
            [
                one["name"],
                one["type"],
                one["help"],
                "must be given" if one["default"] is None else one["default"],
            ]
            for one in described
        ]
        show.table(columns, settings, "")


def _described(registry: Any, name: str) -> dict[str, Any]:
    from modnet import loader, settings

    cls = loader.find(loader.parse(name))
    about = (cls.__doc__ or "").strip().split("\n\n")[0]
    return {
        "name": cls.name,
        "running": False,
        "about": " ".join(about.split()),
        "hooks": sorted(cls.hooks()),
        "settings": [dataclasses.asdict(info) for info in settings.describe(cls.Settings)],
    }


def _must_live(registry: Any, name: str) -> None:
    from modnet.errors import UsageError, suggestion

    living = registry.modules()
    if name not in living:
        hint = suggestion(name, living) or (
            f" (there are: {', '.join(living)})" if living else "; none is running"
        )
        raise UsageError(f"no module named {name!r} is running{hint}")


def spec_of(status: dict[str, Any]) -> dict[str, Any]:
    """What the launcher wrote of a module; empty for one that is not the SDK's."""
    spec = status.get("spec")
    try:
        spec = json.loads(spec) if isinstance(spec, str) else spec
    except ValueError:
        return {}
    return spec if isinstance(spec, dict) else {}


def same_of(spec: dict[str, Any]) -> dict[str, Any]:
    """Code, settings and options, as the loader wrote them."""
    try:
        same = json.loads(spec.get("same", "{}"))
    except ValueError:
        return {}
    return same if isinstance(same, dict) else {}
