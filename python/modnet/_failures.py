"""Logs exceptions in hooks: the first of its kind with its traceback, later ones counted.

A hook that is broken is broken for every flow, a hundred thousand times a minute; a log that fills the disk
would be a second fault. One kind is (hook, type of the exception, file and line). Safe among worker
threads. Must not: raise, or decide what becomes of the flow (the engine does, by `on_error`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["INTERVAL", "Failures"]

INTERVAL = 10.0
"""Seconds between two lines about the same kind of failure."""
_KINDS = 256
"""Most kinds remembered; then all is forgotten and said anew. A module does not have as many places to
fail.
"""


class Failures:
    """What has failed in one module, and when it was last said."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, type[BaseException], str, int], tuple[float, int]] = {}
        self.total = 0
        """Failures so far, said or not."""

    def report(self, module: str, hook: str, flow: str, error: BaseException) -> None:
        """Counts one failure and logs it, unless its kind was logged within the last `INTERVAL` seconds."""
        # Here, since `modnet run` imports this file in front of every command, and needs neither.
        import logging
        import traceback

        frames = traceback.extract_tb(error.__traceback__)
        file, line = (frames[-1].filename, frames[-1].lineno or 0) if frames else ("", 0)
        kind = (hook, type(error), file, line)
        now = self._clock()
        with self._lock:
            self.total += 1
            said, silent = self._kinds.get(kind, (None, 0))
            if said is not None and now - said < INTERVAL:
                self._kinds[kind] = (said, silent + 1)
                return
            if len(self._kinds) >= _KINDS:
                self._kinds.clear()
            self._kinds[kind] = (now, 0)
        more = f" ({silent} more like it since the last such line)" if silent else ""
        # The traceback only once a kind: after that it says nothing new.
        trace = (type(error), error, error.__traceback__) if said is None else None
        logging.getLogger("modnet").error(
            "%s.%s failed on %s: %s: %s%s",
            module,
            hook,
            flow,
            type(error).__name__,
            error,
            more,
            exc_info=trace,
        )
