"""Whether a command can be run under the shim, asked of its file before anything is started.

| the command | why not |
| --- | --- |
| not found, not executable | as a shell says: 127, 126 |
| static | no dynamic linker, so nothing can be preloaded |
| set-uid, set-gid, file capabilities | the dynamic linker ignores LD_PRELOAD in them |
| 32-bit, another libc | the shim is 64-bit and needs glibc |

Rules: reads headers only; follows `#!` lines as the kernel does. A file that it does not understand is left
to exec to refuse. Must not: run anything.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modnet.errors import UsageError

__all__ = ["Command", "NotFound", "NotRunnable", "find"]

PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NEEDED, DT_STRTAB = 1, 5
DEPTH = 4
"""`#!` lines that lead to `#!` lines; the kernel's own bound (BINPRM_MAX_RECURSION)."""


class NotFound(UsageError):
    """There is no such command."""

    exit_status = 127


class NotRunnable(UsageError):
    """There is, and it cannot be run, or not with modules."""

    exit_status = 126


@dataclass(frozen=True)
class Command:
    """What to give to exec."""

    path: bytes
    argv: tuple[bytes, ...]
    sanitised: bool
    """It is linked with AddressSanitizer's library, which insists on being the first of all libraries."""


def find(argv: Sequence[str], environment: Mapping[bytes, bytes]) -> Command:
    """Looks the command up as execvp does, and checks that the shim can be loaded into it."""
    words = tuple(os.fsencode(word) for word in argv)
    path = _look_up(words[0], environment.get(b"PATH", os.fsencode(os.defpath)))
    program = path
    for _ in range(DEPTH + 1):
        head = _head(program, argv[0])
        if head.startswith(b"\x7fELF"):
            return Command(path, words, _check_elf(program, head))
        if not head.startswith(b"#!"):
            break
        line = head[2:].split(b"\n", 1)[0].split()
        if not line:
            break
        program = line[0]
        if program.rpartition(b"/")[2] == b"env" and (named := _named_by_env(line[1:])):
            # `#!/usr/bin/env python3`: env becomes python3, so that is what has to be checked.
            program = _look_up(named, environment.get(b"PATH", os.fsencode(os.defpath)))
        elif not Path(os.fsdecode(program)).exists():
            raise NotFound(f"{argv[0]}: its first line names {os.fsdecode(program)}, which does not exist")
    else:
        raise NotRunnable(
            f"{argv[0]}: its first lines name one script after the other; name the program itself"
        )
    # No header: a script without `#!`, which execvp gives to the shell.
    return Command(b"/bin/sh", (b"/bin/sh", path, *words[1:]), sanitised=False)


def _named_by_env(words: Sequence[bytes]) -> bytes | None:
    """What `env` runs: the kernel gives it one argument, `-S` takes that apart."""
    rest = [word for word in words if word != b"-S" and b"=" not in word]
    return rest[0] if rest and not rest[0].startswith(b"-") else None


def _look_up(word: bytes, path: bytes) -> bytes:
    shown = os.fsdecode(word)
    if b"/" in word:
        candidates = [word]
    else:
        candidates = [(part or b".") + b"/" + word for part in path.split(b":")]
    refused: str | None = None
    for candidate in candidates:
        try:
            mode = Path(os.fsdecode(candidate)).stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            refused = f"{shown}: {error.strerror}"
            continue
        if stat.S_ISDIR(mode):
            refused = refused or f"{shown} is a directory; name a program"
        elif not os.access(candidate, os.X_OK, effective_ids=os.access in os.supports_effective_ids):
            refused = refused or f"{shown} is not executable (chmod +x {os.fsdecode(candidate)})"
        else:
            return candidate
    if refused is not None:
        raise NotRunnable(refused)
    where = "there is no such file" if b"/" in word else "it is in no directory of PATH"
    raise NotFound(f"{shown}: command not found: {where}")


def _head(path: bytes, shown: str) -> bytes:
    try:
        with Path(os.fsdecode(path)).open("rb") as file:
            mode = os.fstat(file.fileno())
            _check_privilege(path, mode, shown)
            return file.read(4096)
    except PermissionError:
        # May be run and not read: nothing can be known, and such programs are not dumpable either.
        raise NotRunnable(
            f"{shown} may not be read, so that it cannot be checked; chmod +r it, or run it as its owner"
        ) from None
    except OSError as error:
        raise NotRunnable(f"{shown}: {error.strerror}") from None


def _check_privilege(path: bytes, found: os.stat_result, shown: str) -> None:
    raises = (found.st_mode & stat.S_ISUID and found.st_uid != os.geteuid()) or (
        found.st_mode & stat.S_ISGID and found.st_mode & stat.S_IXGRP and found.st_gid != os.getegid()
    )
    try:
        capable = os.geteuid() != 0 and bool(os.getxattr(path, "security.capability"))
    except OSError:
        capable = False
    if raises or capable:
        raise NotRunnable(
            f"{shown} is set-uid or has capabilities, and the dynamic linker preloads nothing into such "
            "programs; run modnet as the user that it becomes"
        )


def _check_elf(path: bytes, head: bytes) -> bool:
    """Raises where the shim cannot be loaded; answers whether AddressSanitizer is linked."""
    shown = os.fsdecode(path)
    if head[4] != 2:
        raise NotRunnable(f"{shown} is a 32-bit program; the shim is 64-bit: run a 64-bit build of it")
    try:
        offset, size, count = struct.unpack_from("<Q14xHH", head, 32)
        with Path(os.fsdecode(path)).open("rb") as file:
            file.seek(offset)
            table = file.read(size * count)
            entries = [struct.unpack_from("<IIQQQQQQ", table, at * size) for at in range(count)]
            interpreters = [entry for entry in entries if entry[0] == PT_INTERP]
            if not interpreters:
                if Path(shown).name.startswith(("ld-linux", "ld.so")):
                    return False
                raise NotRunnable(
                    f"{shown} is a static program, into which nothing can be preloaded; run a dynamically "
                    "linked build of it (static programs are supported in a later version)"
                )
            file.seek(interpreters[0][2])
            interpreter = file.read(interpreters[0][5]).rstrip(b"\0")
            if not interpreter.rpartition(b"/")[2].startswith((b"ld-linux", b"ld64", b"ld.so")):
                raise NotRunnable(
                    f"{shown} uses {os.fsdecode(interpreter)}; the shim needs a program linked with glibc"
                )
            return any(name.startswith(b"libasan.so") for name in _needed(file.read, file.seek, entries))
    except (struct.error, IndexError, ValueError):
        # Cut short or odd: exec will say what it thinks of it.
        return False


def _needed(read: object, seek: object, entries: Sequence[tuple[int, ...]]) -> list[bytes]:
    """Names of the libraries that the program is linked with."""
    assert callable(read) and callable(seek)
    dynamic = next((entry for entry in entries if entry[0] == PT_DYNAMIC), None)
    if dynamic is None:
        return []
    seek(dynamic[2])
    data = read(dynamic[5])
    tags = [struct.unpack_from("<QQ", data, at) for at in range(0, len(data) - 15, 16)]
    strings = next((value for tag, value in tags if tag == DT_STRTAB), None)
    if strings is None:
        return []
    names = []
    for tag, value in tags:
        if tag == DT_NEEDED:
            address = strings + value
            for kind, _, start, virtual, _, length, *_ in entries:
                if kind == PT_LOAD and virtual <= address < virtual + length:
                    seek(start + address - virtual)
                    names.append(read(256).split(b"\0", 1)[0])
    return names
