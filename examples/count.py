"""Counts connections and bytes, and logs each connection when it is over.

    modnet run -m examples/count.py -- python3 -m http.server

Shows what belongs to the whole module: flows on different cores run in different threads, so it takes a
lock. There are no data hooks: the bytes stay native, and the engine counts them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping

import modnet

log = logging.getLogger("count")


class Count(modnet.Module):
    """Counts, and tells at the end of each connection."""

    def __init__(self, settings: None = None) -> None:
        super().__init__(settings)
        self._lock = threading.Lock()
        self._totals = {"connections": 0, "bytes_outbound": 0, "bytes_inbound": 0}

    def start(self) -> None:
        logging.basicConfig(level=logging.INFO, format="%(message)s")

    def counters(self) -> Mapping[str, int]:
        with self._lock:
            return dict(self._totals)

    def closed(self, flow: modnet.Flow) -> None:
        with self._lock:
            self._totals["connections"] += 1
            self._totals["bytes_outbound"] += flow.bytes_outbound
            self._totals["bytes_inbound"] += flow.bytes_inbound
        host = flow.peer[0] if flow.peer else "?"
        seconds = time.time() - flow.opened_at
        log.info("%s: %d bytes out, %d in, %.3f s", host, flow.bytes_outbound, flow.bytes_inbound, seconds)
