"""Entering a network namespace with one thread: setns, unshare and mount are called here and nowhere else.

Rule: only the calling thread (or a short-lived one) moves; the process' other threads stay where they are.
It must not make or remove namespaces: net.py does.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000
_MS_REC_PRIVATE = 0x4000 | 0x40000
# Python has os.setns and os.unshare from 3.12 on; this project runs on 3.11.
_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: Any) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


@contextlib.contextmanager
def entered(fd: int, core: int) -> Iterator[None]:
    """The calling thread is in the namespace of `fd`, on `core`; sockets and children made now stay there."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    cores = os.sched_getaffinity(0)
    try:
        _call("setns", fd, _CLONE_NEWNET)
        os.sched_setaffinity(0, {core})
        yield
    finally:
        os.sched_setaffinity(0, cores)
        _call("setns", home, _CLONE_NEWNET)
        os.close(home)


def with_own_sys(fd: int, action: Callable[[], None]) -> None:
    """Runs `action` in a thread that sees the /sys of the namespace of `fd`, and ends with its mounts."""
    errors: list[BaseException] = []

    def thread() -> None:
        try:
            _call("unshare", _CLONE_NEWNS)
            _call("setns", fd, _CLONE_NEWNET)
            _call("mount", b"none", b"/", None, _MS_REC_PRIVATE, None)
            _call("mount", b"sysfs", b"/sys", b"sysfs", 0, None)
            action()
        except BaseException as error:
            errors.append(error)

    worker = threading.Thread(target=thread)
    worker.start()
    worker.join()
    if errors:
        raise errors[0]
