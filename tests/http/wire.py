"""Bytes sent as they are, bytes that came, and what the module counted. It must not know HTTP."""

from __future__ import annotations

import json
import socket

from tests.integrity import death
from tests.servers.base import Running


def exchange(port: int, data: bytes) -> bytes:
    """Sends this and nothing more; everything that comes until the connection ends, by a reset too."""
    came = b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        try:
            while piece := client.recv(1 << 16):
                came += piece
        except ConnectionResetError:
            pass
    return came


def counted(up: Running, name: str) -> int:
    """A counter of module gzip's own."""
    counters = json.loads(death.modnet(up, "module", "show", "gzip", "--json"))["own_counters"]
    value: int = counters.get(name, 0)
    return value
