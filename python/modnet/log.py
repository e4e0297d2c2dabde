"""The log of a module's process: what its code prints, and tracebacks of its hooks, in a file of bounded
size.

`$runtime/log/<name>.log`, and `<name>.log.1` with what came before. Nothing is written by ModNet itself
unless something is wrong, and a log in which nothing stands goes with its module.
Rules: never more than twice `MOST`. Must not: raise into code that prints; a full disk is no module's fault.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
import time
from pathlib import Path

__all__ = ["MOST", "Log", "path_of"]

MOST = 1 << 20
"""Bytes of one file; what journald keeps of a service by default is more, what one reads in a pager is
less.
"""

_TRIES = 20
"""Rounds in which others may remove the directory under our hands."""


def path_of(runtime: str, name: str) -> Path:
    """Where the log of the module `name` is."""
    return Path(runtime) / "log" / f"{name}.log"


class Log(io.TextIOBase):
    """Takes the place of stdout and stderr. Each line gets the time in front."""

    def __init__(self, runtime: str, name: str) -> None:
        self.path = path_of(runtime, name)
        self._lock = threading.RLock()
        self._file: int | None = None
        self._size = 0
        self._line_begun = False

    def open(self) -> None:
        """Opens the file, and sends descriptors 1 and 2 there: what native code writes when it dies counts
        too.
        """
        with self._lock:
            if self._file is not None:
                return
            self._file = self._made()
            self._size = os.fstat(self._file).st_size
            os.dup2(self._file, 1)
            os.dup2(self._file, 2)

    def _made(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        for _ in range(_TRIES):
            with contextlib.suppress(FileExistsError):
                self.path.parent.mkdir(mode=0o700)
            # Another module that ends, or finds what a dead one left, removes the directory if it is empty.
            with contextlib.suppress(FileNotFoundError):
                return os.open(self.path, flags, 0o600)
        return os.open(self.path, flags, 0o600)

    def write(self, text: str) -> int:
        """Appends; what cannot be written is dropped."""
        with self._lock, contextlib.suppress(OSError):
            self.open()
            stamp = time.strftime("%Y-%m-%d %H:%M:%S ")
            out = []
            for line in text.splitlines(keepends=True):
                out.append(line if self._line_begun else stamp + line)
                self._line_begun = not line.endswith("\n")
            data = "".join(out).encode(errors="backslashreplace")[-MOST:]
            if self._size + len(data) > MOST:
                self._turn()
            if self._file is not None:
                self._size += os.write(self._file, data)
        return len(text)

    def writable(self) -> bool:
        """Always."""
        return True

    def fileno(self) -> int:
        """The file's descriptor."""
        if self._file is None:
            raise OSError("the log is not open yet")
        return self._file

    def end(self) -> None:
        """Removes the log if nothing stands in it, and its directory if it was the last."""
        with self._lock, contextlib.suppress(OSError):
            if self._file is not None and os.fstat(self._file).st_size == 0:
                self.path.unlink()
            self.path.parent.rmdir()

    def _turn(self) -> None:
        self.path.replace(self.path.with_name(self.path.name + ".1"))
        old, self._file = self._file, None
        self._size = 0
        if old is not None:
            os.close(old)
        self.open()
