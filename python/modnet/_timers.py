"""`Module.every`: what a module does at intervals, in one thread of its own.

Rules: one thread for all timers of a module, started with the first; a call that takes long delays the
others and is not made up for; one that raises is told and called again. Must not: keep a process alive.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

__all__ = ["Timer", "Timers"]


class Timer:
    """One call at intervals; `cancel()` ends it."""

    def __init__(self, seconds: float, call: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self.seconds = seconds
        self.call = call
        self.arguments = arguments
        self.cancelled = False

    def cancel(self) -> None:
        """No further call; one that is under way is not waited for."""
        self.cancelled = True


class Timers:
    """The timers of one module. `failed(call, exception)` is told what was raised."""

    def __init__(self, failed: Callable[[str, BaseException], None]) -> None:
        self._failed = failed
        self._due: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._over = False

    def add(self, seconds: float, call: Callable[..., object], *arguments: Any) -> Timer:
        """Calls `call(*arguments)` every so many seconds, first after that time."""
        timer = Timer(seconds, call, arguments)
        with self._changed:
            self._push(timer, time.monotonic() + seconds)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="modnet-timers", daemon=True)
                self._thread.start()
            self._changed.notify()
        return timer

    def stop(self) -> None:
        """No further call. Returns when none is under way, unless it is called by one."""
        with self._changed:
            self._over = True
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _push(self, timer: Timer, at: float) -> None:
        heapq.heappush(self._due, (at, next(self._numbers), timer))

    def _run(self) -> None:
        while (timer := self._next()) is not None:
            try:
                timer.call(*timer.arguments)
            except BaseException as exception:  # also SystemExit: it would end all timers, and say nothing
                self._failed(getattr(timer.call, "__name__", "a timer"), exception)
            with self._changed:
                self._push(timer, time.monotonic() + timer.seconds)

    def _next(self) -> Timer | None:
        """The timer that is due, waited for; None: it is over."""
        with self._changed:
            while not self._over:
                wait = None
                if self._due:
                    wait = self._due[0][0] - time.monotonic()
                    if wait <= 0:
                        timer = heapq.heappop(self._due)[2]
                        if not timer.cancelled:
                            return timer
                        continue
                self._changed.wait(wait)
        return None
