"""`python -m modnet.janitor DIRECTORY`: removes what killed processes leave in a runtime directory.

Started by `modnet.launch` where there is none; ends by itself with the last record and the last module. Its
work is `crates/engine/src/janitor.rs`. Nothing depends on it. Must not: say anything, or have a terminal.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path

from modnet import _native, environment

__all__ = ["main", "start"]


def start(runtime: str) -> None:
    """Starts one for `runtime`, unless there is one. It is nobody's child: whoever calls this may become a
    command, which must not find children that it did not make.
    """
    if _native.janitor_is_there(runtime):
        return
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in range(3):
            os.dup2(null, fd)
        # Those that are open: without close_range (Linux before 5.9) `closerange` tries all that could be.
        for fd in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
            if fd > 2:
                with contextlib.suppress(OSError):  # the listing's own has gone
                    os.close(fd)
        os.chdir("/")
        given = environment.for_module(environment.original(), runtime)
        os.execve(sys.executable, [sys.executable, "-P", "-m", "modnet.janitor", runtime], given)
    finally:
        # Reached where something has failed: this is a copy of the caller and must not go on as it.
        os._exit(1)


def main() -> None:
    """Works until nothing is left."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # It is not in anybody's way: what it does can wait.
    os.nice(5)
    _native.janitor_work(sys.argv[1])


if __name__ == "__main__":
    main()
