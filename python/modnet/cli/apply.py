"""`modnet apply`: another chain for a running process, from its next accept on."""

from __future__ import annotations

import os
import re

import click

from modnet.cli.complete import module_specs

__all__ = ["command"]


@click.command("apply")
@click.argument("words", nargs=-1, metavar="[PID] MODULE…", shell_complete=module_specs)
@click.option(
    "--match",
    metavar="PATTERN",
    help="Every process started by modnet run whose command line matches, instead of PID.",
)
@click.option("--none", "nothing", is_flag=True, help="Apply no module: new connections pass untouched.")
@click.option("--fail", type=click.Choice(["open", "closed"]), help="Change what modnet run --fail said.")
def command(words: tuple[str, ...], match: str | None, nothing: bool, fail: str | None) -> None:
    """Apply MODULEs, the first nearest to the application, to a process started by modnet run and its
    children.

    Connections that were accepted before keep the modules they have. Modules that are not running yet are
    started.
    """
    from modnet import _native, launch
    from modnet.errors import UsageError
    from modnet.registry import Registry, told

    pids, modules = _targets(words, match)
    if nothing and modules:
        raise click.UsageError("give either MODULEs or --none")
    if not nothing and not modules:
        raise click.UsageError("which modules? Give their names, or --none")
    registry = Registry(prepare=True)
    if match is not None:
        pids = _matching(registry, match)
        if not pids:
            raise UsageError(f"no process started by modnet run matches {match!r}; see modnet ps")
    with told():
        # Before any module is started: does every process take one?
        directories = {pid: _native.find_record(pid)[0] for pid in pids}
    for directory in set(directories.values()):
        there = Registry(directory, prepare=True)
        wanted = launch.request(modules, there)
        launch.ensure(there, wanted)
        for pid in (pid for pid in pids if directories[pid] == directory):
            with told():
                _native.apply_chain(
                    pid, [one.name for one in wanted], None if fail is None else fail == "closed"
                )


def _targets(words: tuple[str, ...], match: str | None) -> tuple[list[int], tuple[str, ...]]:
    if match is not None:
        return [], words
    if not words:
        raise click.UsageError("to which process? Give its PID, or --match PATTERN")
    if not words[0].isdecimal():
        raise click.UsageError(
            f"{words[0]!r} is no process number; find it with modnet ps, or use --match PATTERN"
        )
    return [int(words[0])], words[1:]


def _matching(registry: object, pattern: str) -> list[int]:
    """One process of each record that has a process whose command line matches."""
    from modnet.cli.ps import command_line
    from modnet.errors import UsageError
    from modnet.registry import Registry

    assert isinstance(registry, Registry)
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--match {pattern!r} is no regular expression: {error}") from None
    found = []
    for users in registry.users(sweep=True).values():
        lines = ((pid, command_line(pid, [])) for pid in users if pid != os.getpid())
        matching = [pid for pid, line in lines if line is not None and expression.search(line)]
        found += matching[:1]
    return found
