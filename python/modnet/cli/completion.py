"""`modnet completion SHELL`: the script that a shell loads."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["command"]


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    bash: eval "$(modnet completion bash)"            in ~/.bashrc
    zsh:  eval "$(modnet completion zsh)"             in ~/.zshrc
    fish: modnet completion fish > ~/.config/fish/completions/modnet.fish
    """
    kind = get_completion_class(shell)
    root = click.get_current_context().find_root().command
    assert kind is not None
    script = kind(root, {}, "modnet", "_MODNET_COMPLETE")
    # bash's class asks the installed bash for its version, and complains where there is none; the script is
    # the same.
    click.echo(script.source_template % script.source_vars())
