"""How a connection goes on after a yank: what arrives on a path of 50 Mbit/s and 40 ms, against no yank.

Three variants in turn on the same path: no yank, a yank that gives the congestion window back, one that lets
it begin anew. It must not judge.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from modnet import _native

from experiments.kernel_yank.path import DelayedPath
from experiments.net import Hosts

VARIANTS = ("no yank", "window kept", "window anew")
CONTROLS = ("cubic", "bbr")
MBIT = 50.0
DELAY_S = 0.02
"""One way."""
PACKETS = 120
"""That may wait: two thirds of what is under way."""
SETTLED_S = 1.5
"""From the start to the yank."""
AFTER_S = 1.0
WINDOWS_S = (0.1, 0.3, 1.0)
"""After the yank, what arrives in so long is compared."""
YANKED = 20_000


@dataclass
class Resumed:
    """One connection: (seconds since the yank, bytes so far)."""

    control: str
    variant: str
    arrived: list[tuple[float, int]] = field(default_factory=list)
    window_before: int = 0
    lost: int = 0
    """Segments sent again after it."""

    def within(self, seconds: float) -> float:
        """Bytes that arrived from the yank on, for so long."""
        before = max((total for at_s, total in self.arrived if at_s <= 0), default=0)
        return max((total for at_s, total in self.arrived if at_s <= seconds), default=0) - before


def resume(rounds: int, advance: Callable[[], None]) -> list[Resumed]:
    """All variants in turn."""
    found = []
    with Hosts(congestion=None) as hosts, DelayedPath(hosts, DELAY_S, MBIT, PACKETS) as path:
        for _ in range(rounds):
            for control in CONTROLS:
                for variant in VARIANTS:
                    with _connection(hosts, path, control) as (ours, peer):
                        found.append(_one(Resumed(control, variant), ours, peer))
                    advance()
    return found


def _one(found: Resumed, ours: socket.socket, peer: socket.socket) -> Resumed:
    data = memoryview(bytes(1 << 18))
    begun_s = time.monotonic()
    at_s = begun_s + SETTLED_S
    yanked = False
    total = 0
    poller = select.poll()
    poller.register(ours, select.POLLOUT)
    poller.register(peer, select.POLLIN)
    while (now_s := time.monotonic()) < at_s + AFTER_S:
        for fd, _ in poller.poll(5):
            with contextlib.suppress(BlockingIOError):
                if fd == ours.fileno():
                    ours.send(data)
                else:
                    total += len(peer.recv(1 << 20))
                    found.arrived.append((time.monotonic() - at_s, total))
        if now_s >= at_s and not yanked:
            yanked = True
            before = _retransmitted(ours)
            if found.variant != "no yank":
                kept = found.variant == "window kept"
                _, costs = _native.kernel_yank_costs(ours.fileno(), YANKED, keep_window=kept)
                found.window_before = int(costs["window"])
                # The counter begins anew.
                before = 0
    found.lost = _retransmitted(ours) - before
    return found


def _retransmitted(of: socket.socket) -> int:
    """`tcpi_total_retrans`"""
    info = of.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return int.from_bytes(info[100:104], "little")


@contextlib.contextmanager
def _connection(
    hosts: Hosts, path: DelayedPath, control: str
) -> Iterator[tuple[socket.socket, socket.socket]]:
    with hosts.server.entered():
        listener = socket.create_server((path.server, 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, control.encode())
    with hosts.client.entered():
        peer = socket.socket()
    with listener, peer:
        peer.settimeout(10)
        peer.connect(listener.getsockname())
        ours, _ = listener.accept()
        with ours:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 << 20)
            for end in (ours, peer):
                end.setblocking(False)
            yield ours, peer
