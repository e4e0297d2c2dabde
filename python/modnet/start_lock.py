"""One of those who want the same module starts it.

Rules: never waited for, so nobody hangs behind a stopped process; whoever does not get it looks at the
registry again. Must not: protect the name itself, which the registry does.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from pathlib import Path

from modnet.errors import SystemRefused

__all__ = ["StartLock"]


class StartLock:
    """Held by who starts a module of that name; not waited for, since whoever has it will soon be done.

    An open-file-description lock on one byte of the registry's lock file: no file of its own that could stay
    behind, gone with its holder, and no relation to the `flock` that registering takes.
    """

    F_OFD_SETLK = 37

    def __init__(self, runtime: str, name: str) -> None:
        self._path = Path(runtime, "modules", ".lock")
        self._name = name
        self._fd = -1

    def __enter__(self) -> bool:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._fd = os.open(self._path, flags, 0o600)
            # Two names with one checksum only wait for one another. Byte 0 on is the holder's number.
            byte = 4096 + zlib.crc32(self._name.encode())
            lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
            fcntl.fcntl(self._fd, self.F_OFD_SETLK, lock)
        except BlockingIOError:
            return False
        except PermissionError as error:
            if self._fd >= 0:
                return False
            raise SystemRefused(f"cannot write {self._path}: {error.strerror}") from None
        except OSError as error:
            raise SystemRefused(f"cannot lock {self._path}: {error.strerror}") from None
        return True

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
