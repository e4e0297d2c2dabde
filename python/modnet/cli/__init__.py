"""The command `modnet`: one file a subcommand, loaded only when it is called.

| subcommand | file |
| --- | --- |
| `run` | `run.py` |
| `apply` | `apply.py` |
| `module start, stop, reload, list, show` | `module.py` |
| `ps` | `ps.py` |
| `top` | `top.py` |
| `watch` | `watch.py` |
| `inspect enable, disable, status` | `inspect.py` |
| `doctor` | `doctor.py` |
| `tap show` | `tap.py` |
| `completion` | `completion.py` |

Rules: an error is one line on standard error that says what to do, and an exit status that is not 0
(`modnet.errors`; 127 and 126 as a shell where the command is not found or cannot be run). `modnet run`
starts in front of every command, so nothing is imported that it does not need.
Must not: hold anything that the package's functions should do.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from typing import Any

import click

from modnet.errors import ModnetError, SystemRefused, UsageError, one_line

__all__ = ["main"]

_COMMANDS = {
    "run": "Run a command with modules on its sockets.",
    "apply": "Change the modules of a running process.",
    "module": "Start, stop and look at modules.",
    "ps": "Processes, their chains, flows and counters.",
    "top": "The flows of all modules, live.",
    "watch": "One flow over time, drawn or recorded.",
    "inspect": "The TCP state of flows, read from memory.",
    "doctor": "What works here, what does not, what to do.",
    "tap": "Look at what the module tap has recorded.",
    "completion": "Print the completion script of a shell.",
}


class _Commands(click.Group):
    """Knows the subcommands' names without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        found = importlib.import_module(f"modnet.cli.{cmd_name}").command
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            # Words as short as these are near to one another sooner than modules' names are.
            close = difflib.get_close_matches(args[0], _COMMANDS, n=1, cutoff=0.6)
            hint = f"; did you mean {close[0]!r}?" if close else f": there are {', '.join(_COMMANDS)}"
            raise UsageError(f"no subcommand {args[0]!r}{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from modnet import _native

        click.echo(f"modnet {_native.VERSION} ({_native.BUILD_PROFILE} build)")
        ctx.exit()


@click.command(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Version and build profile.",
)
def modnet() -> None:
    """Small modules on the TCP sockets of programs that nobody changed.

    \b
    modnet run -m throttle,rate=1MB -- python3 -m http.server
    """


def main(arguments: list[str] | None = None) -> Any:
    """Runs the command and exits; every mistake is told in one line."""
    try:
        status = modnet.main(arguments, prog_name="modnet", standalone_mode=False)
        sys.stdout.flush()
        sys.exit(status if isinstance(status, int) else 0)
    except ModnetError as error:
        _end(str(error), error.exit_status)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else error.format_message())
        sys.exit(2)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "modnet"
        # The help says more than a line can, unless the line says already what to do.
        more = "" if "did you mean" in error.message.lower() else f" (see {where} --help)"
        _end(error.format_message().rstrip(".") + more, 2)
    except click.ClickException as error:
        _end(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        # `modnet ps | head`: whoever read has seen enough. The rest must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(141)
    except OSError as error:
        # What nobody has foreseen is the system's answer to something that was asked of it.
        where = f"{error.filename}: " if error.filename else ""
        _end(f"{where}{error.strerror or error}", SystemRefused.exit_status)


def _end(message: str, status: int) -> None:
    print(f"modnet: {one_line(message)}", file=sys.stderr)
    sys.exit(status)
