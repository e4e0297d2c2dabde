"""Stopping modules and seeing them gone: by the end of their process, not by hope."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Sequence

from modnet.errors import PeerError
from modnet.registry import Registry, told

__all__ = ["stop_all"]

MARGIN = 5.0
"""Seconds beyond the drain that a module has to end its threads and go."""


def stop_all(registry: Registry, names: Sequence[str], drain: float | None) -> None:
    """Tells all of them first, then waits for each."""
    waiting = []
    for name in names:
        with told():
            status = registry.ask(name, "status")[0]
            seconds = drain if drain is not None else float(status.get("drain", 10.0))
            pidfd = os.pidfd_open(int(status["pid"]))
            registry.ask(name, "stop", drain=seconds)
        waiting.append((name, pidfd, time.monotonic() + seconds + MARGIN))
    for name, pidfd, end in waiting:
        left = max(0.0, end - time.monotonic())
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        gone = poll.poll(left * 1000)
        os.close(pidfd)
        if not gone:
            raise PeerError(
                f"module {name!r} was told to stop and still runs; see its log (modnet module show {name})"
            )
