"""Connected TCP sockets over loopback, for the tests of revocable ones. It must not know what is tested."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

PATIENCE = 20.0
"""Seconds after which something will not come any more."""


def connected(room: int | None = None) -> tuple[socket.socket, socket.socket]:
    """(ours, the peer's). The peer takes little that it does not read: `room` bytes, where given."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.socket()
        if room is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        peer.settimeout(PATIENCE)
        peer.connect(listener.getsockname())
        ours, _ = listener.accept()
    return ours, peer


def read_all(peer: socket.socket) -> bytes:
    """Until the end."""
    found = bytearray()
    while data := peer.recv(1 << 18):
        found += data
    return bytes(found)


def wait_until(true: Callable[[], object], what: str) -> None:
    """Returns once `true()` is: for what another thread or the kernel brings about, and nothing tells."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.001)
