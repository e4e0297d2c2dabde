"""What can go wrong, in three kinds, each told in one line that says what to do.

| class | whose doing | exit status of the command |
| --- | --- | --- |
| `UsageError` | yours: a name, a setting, a module's code | 2 |
| `PeerError` | the peer's: a module or process that we talk to answered badly, or not at all | 3 |
| `SystemRefused` | the system's: permission, a limit, a full disk | 4 |

Rules: a message is one line, names the thing as the user wrote it, and says what to do. `one_line` enforces
the first. Must not: print, or import anything of ours.

>>> str(UsageError("first\\n  second"))
'first second'
>>> suggestion("fowarder", ["forwarder", "tap"])
"; did you mean 'forwarder'?"
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

__all__ = ["ModnetError", "PeerError", "SystemRefused", "UsageError", "one_line", "suggestion"]


class ModnetError(Exception):
    """Base of all errors that ModNet raises on purpose; catch this one to catch them all."""

    exit_status: ClassVar[int] = 1
    """What a command that ends with this error exits with."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class UsageError(ModnetError):
    """Your mistake: something was written that cannot be meant. Nothing has been started."""

    exit_status: ClassVar[int] = 2


class PeerError(ModnetError):
    """The peer's: a module, an application or a file of theirs did not keep to the rules."""

    exit_status: ClassVar[int] = 3


class SystemRefused(ModnetError):
    """The system refused: permission, a limit, no space, or a kernel without the feature."""

    exit_status: ClassVar[int] = 4


def one_line(message: str) -> str:
    """The message with each run of white space, line breaks included, made one space; what else a terminal
    would act on is shown escaped, since parts of a message come from files and command lines.
    """
    joined = " ".join(message.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in joined)


def suggestion(word: str, known: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` where one of `known` looks like `word`, else an empty string.

    Only a near miss is suggested: a wrong suggestion is worse than none.
    """
    # Here, since only a mistake needs it, and `modnet run` starts in front of every command.
    import difflib

    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.7)
    return f"; did you mean {by_lower[close[0]]!r}?" if close else ""
