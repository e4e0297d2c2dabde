"""What one `-m MODULE[,key=value...]` asks for, as text and taken apart. `modnet.loader` explains the syntax.

Pure: no file is looked at. Must not: import modules, or know which there are.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from modnet import settings
from modnet._check import check_name
from modnet._values import absolute
from modnet.errors import SystemRefused, UsageError
from modnet.settings import Duration, Size

__all__ = ["RESERVED", "Options", "Spec", "is_file", "parse", "split_file"]


@dataclass(frozen=True)
class Options:
    """What the engine is told about a module, whatever the module is; given like settings."""

    on_error: Literal["pass", "reset"] | None = None
    """What an exception in a hook does to its flow; None: as the class says."""
    send_queue: Size | None = None
    """Most bytes that wait in the engine, per flow and direction; a slow reader then stops the writer. None:
    256 KiB, and 4 MiB for what is outbound and revocable.
    """
    revocable: bool | None = None
    """Whether outbound bytes wait where they can be taken back until the kernel can send them; None: as the
    class says.
    """
    # What `docker stop` waits before it kills.
    drain: Duration = 10.0
    """Seconds that a stopped module gives its flows to end."""
    workers: int | None = None
    """Worker threads; None: one per core."""

    def __post_init__(self) -> None:
        if self.send_queue is not None and not 4096 <= self.send_queue <= 1 << 30:
            raise ValueError("send_queue must be between 4KiB and 1GiB")
        if not 0 <= self.drain <= 86400:
            raise ValueError("drain must be between 0 and 24h")
        if self.workers is not None and not 1 <= self.workers <= 1024:
            raise ValueError("workers must be between 1 and 1024")


# net.core.wmem_default is 208 KiB: twice what a socket holds by itself would add delay, less would stall it.
SEND_QUEUE = 256 * 1024
# What net.ipv4.tcp_wmem lets a socket's own buffer grow to.
REVOCABLE_QUEUE = 4 * 1024 * 1024

_OPTION_KEYS = frozenset(f.name for f in dataclasses.fields(Options))
RESERVED = _OPTION_KEYS | {"as", "settings"}
"""Keys that no module can have as a setting."""


@dataclass(frozen=True)
class Spec:
    """What one `-m` asks for. Means the same in another process and another directory: see `to_json`."""

    text: str
    """As it was written, for messages."""
    module: str
    """MODULE; a file's path is absolute."""
    settings: tuple[tuple[str, str], ...] = ()
    """Keys and values in the order they were written, the reserved ones not among them."""
    settings_file: str | None = None
    """The absolute path that `settings=` gave."""
    name: str | None = None
    """The name that `as=` gave."""
    options: Options = field(default_factory=Options)
    directory: str = ""
    """The directory where it was written: relative paths count from here."""

    def to_json(self) -> str:
        """For the process that is to run the module."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Spec:
        """What `to_json` wrote."""
        plain = json.loads(text)
        plain["settings"] = tuple((key, value) for key, value in plain["settings"])
        plain["options"] = Options(**plain["options"])
        return cls(**plain)


def parse(text: str, directory: Path | None = None) -> Spec:
    """Takes `-m`'s argument apart; looks at no file. Paths count from `directory` (None: the current one)."""
    directory = _here() if directory is None else directory
    reference, *pairs = [part.replace("\\,", ",") for part in re.split(r"(?<!\\),", text)]
    reference = reference.strip()
    if not reference:
        raise UsageError(f"no module in {text!r}: write MODULE[,key=value...]")
    own: list[tuple[str, str]] = []
    reserved: dict[str, list[object]] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key = key.strip()
        if not equals or not key:
            raise UsageError(
                f"{reference}: {pair!r} is not key=value (a comma inside a value is written '\\,')"
            )
        if key in RESERVED:
            if key in reserved:
                raise UsageError(f"{reference}: {key!r} was given twice")
            reserved[key] = [value]
        else:
            own.append((key, value))
    toml = reserved.pop("settings", None)
    name = reserved.pop("as", None)
    return Spec(
        text=text,
        module=_absolute(reference, directory),
        settings=tuple(own),
        settings_file=None if toml is None else str(_path(str(toml[0]), directory)),
        name=None if name is None else check_name(str(name[0])),
        options=settings.build(Options, reserved, owner=reference, base=directory),
        directory=str(directory),
    )


def is_file(reference: str) -> bool:
    file, _, tail = reference.rpartition(":")
    return reference.endswith(".py") or "/" in reference or (file.endswith(".py") and bool(tail))


def _absolute(reference: str, directory: Path) -> str:
    if not is_file(reference):
        return reference
    path, name = split_file(reference)
    # Resolved, so that two ways to the same file are the same module.
    resolved = os.path.realpath(_path(path, directory))
    return f"{resolved}:{name}" if name else resolved


def _path(text: str, directory: Path) -> Path:
    try:
        return absolute(text, directory)
    except ValueError:
        raise UsageError(f"{text!r} cannot be the path of a file") from None


def _here() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        raise SystemRefused(f"the current directory cannot be used: {error.strerror}") from None


def split_file(reference: str) -> tuple[str, str]:
    path, colon, name = reference.rpartition(":")
    return (path, name) if colon and not name.endswith(".py") and "/" not in name else (reference, "")
