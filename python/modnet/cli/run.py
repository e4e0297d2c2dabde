"""`modnet run`: starts what is missing, then becomes the command."""

from __future__ import annotations

import click

from modnet.cli.complete import module_specs

__all__ = ["command"]


@click.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "-m",
    "--module",
    "modules",
    multiple=True,
    metavar="MODULE[,key=value…]",
    shell_complete=module_specs,
    help="A module of the chain, the first nearest to the command: a name, file.py:Class or "
    "package.module:Class. as=NAME registers it under another name.",
)
@click.option(
    "--fail",
    type=click.Choice(["open", "closed"]),
    default="open",
    show_default=True,
    help="What becomes of a connection whose modules cannot be reached: it passes without them, or is "
    "refused.",
)
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD [ARG…]")
def command(modules: tuple[str, ...], fail: str, argv: tuple[str, ...]) -> None:
    """Run CMD with modules on its TCP connections.

    modnet becomes the command: same process, exit status, signals and terminal. Modules that are not running
    yet are started beside it, shared with other commands that ask for the same, and end with the last of
    them.
    """
    from modnet import environment, launch
    from modnet.command import find
    from modnet.errors import UsageError, suggestion
    from modnet.registry import Registry

    # Everything that can be wrong is found before anything is started.
    if argv[0].startswith("-"):
        hint = suggestion(argv[0], ["--module", "--fail", "--help"]) or "; write -- before the command"
        raise UsageError(f"modnet run has no option {argv[0]}{hint}")
    registry = Registry()
    wanted = launch.request(modules, registry)
    found = find(argv, environment.original())
    environment.shim()
    registry = Registry(registry.path, prepare=True)
    launch.ensure(registry, wanted)
    launch.become(registry, wanted, found, fail_closed=fail == "closed")
