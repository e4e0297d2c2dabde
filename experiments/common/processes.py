"""Processes of a network namespace: who is in it, ending them, how much CPU time each has used.

Rules: only processes inside a namespace of ours are ever signalled, through a pidfd, so that a pid which was
used again is safe. It must not start processes: net.py does.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from pathlib import Path

Identity = tuple[int, int]


def identity(path: Path) -> Identity:
    """What tells a namespace from every other: the device and inode of its file."""
    found = path.stat()
    return found.st_dev, found.st_ino


def in_namespace(wanted: Identity) -> list[int]:
    """The pids of the processes in this network namespace."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            # Kernel threads and processes that have just ended answer with an error.
            with contextlib.suppress(OSError):
                if identity(entry / "ns/net") == wanted:
                    found.append(int(entry.name))
    return sorted(found)


def end(pids: list[int], grace_s: float) -> list[int]:
    """Sends SIGTERM, waits up to `grace_s` seconds for all, then SIGKILL; answers which had to be killed."""
    left: dict[int, int] = {}
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            left[os.pidfd_open(pid)] = pid
    killed = []
    try:
        for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 10.0)):
            for fd, pid in left.items():
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(fd, number)
                    if number == signal.SIGKILL:
                        killed.append(pid)
            await_end(left, wait_s)
    finally:
        for fd in left:
            os.close(fd)
    return killed


def await_end(pidfds: dict[int, int], wait_s: float) -> None:
    """Waits until every process has ended or `wait_s` seconds have passed; drops ended ones from `pidfds`."""
    poller = select.poll()
    for fd in pidfds:
        poller.register(fd, select.POLLIN)
    deadline = time.monotonic() + wait_s
    while pidfds:
        remaining = deadline - time.monotonic()
        if remaining < 0:
            return
        for fd, _ in poller.poll(remaining * 1000):
            poller.unregister(fd)
            del pidfds[fd]
            os.close(fd)


def cpu_ns(pid: int) -> int:
    """CPU time of a process and its threads, in ns; 0 if it has ended.

    The process' own CPU clock (by clock_getcpuclockid(3)'s arithmetic) counts in ns; /proc/PID/stat in ticks
    of 10 ms.
    """
    try:
        return time.clock_gettime_ns(~pid << 3 | 2)
    except OSError:
        return 0


def role(pid: int) -> str:
    """A short name of what a process is, for people: its command's name."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "ended"


def told(pid: int) -> bytes:
    """Arguments and environment that a process was given, with NUL between them; b"" if it has ended."""
    try:
        return b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
    except OSError:
        return b""
