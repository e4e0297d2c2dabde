"""The server: sends on one connection and reads its state every millisecond meanwhile.

Readings are kept and estimated from afterwards: what an estimator costs does not disturb what it estimates.
It must not know of links or estimators.
"""

from __future__ import annotations

import contextlib
import fcntl
import select
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from experiments.common.errors import ExperimentError
from experiments.inspection import plan, reader
from experiments.net import Hosts

EVERY_S = 0.001
_CLIENT = Path(__file__).with_name("client.py")
_SAMPLE_S = 0.011
_PATIENCE_S = 60.0
_PIECE = memoryview(bytes(1 << 16))


@dataclass
class Transfer:
    """What was read of one connection; `marks` are the readings' numbers at which a response began."""

    readings: list[reader.Reading] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)


def bulk(hosts: Hosts, seconds: float, size: int | None = None) -> Transfer:
    """A connection that always has something to send: for so long, or `size` bytes."""
    with _connection(hosts) as (connection, found, look):
        end_s = time.monotonic() + seconds
        left = size if size is not None else 1 << 62
        connection.setblocking(False)
        while time.monotonic() < end_s and left:
            _await(connection, select.POLLOUT)
            look()
            with contextlib.suppress(BlockingIOError):
                left -= connection.send(_PIECE[:left])
        if size is not None:
            _drain(connection, look)
    return found


def responses(hosts: Hosts, count: int, size: int, pause_s: float) -> Transfer:
    """A connection on which the client asks for `count` responses of `size` bytes."""
    with _connection(hosts, str(count), str(size), str(pause_s)) as (connection, found, look):
        connection.setblocking(False)
        for _ in range(count):
            end_s = time.monotonic()
            while not _await(connection, select.POLLIN):
                _late(end_s)
                look()
            connection.recv(64)
            found.marks.append(len(found.readings))
            left = size
            while left:
                _late(end_s)
                _await(connection, select.POLLOUT)
                with contextlib.suppress(BlockingIOError):
                    left -= connection.send(_PIECE[:left])
                look()
        _drain(connection, look)
    return found


@contextlib.contextmanager
def _connection(
    hosts: Hosts, *arguments: str
) -> Iterator[tuple[socket.socket, Transfer, Callable[[], None]]]:
    """A connection to a new client; `look()` takes a reading if it is time."""
    found = Transfer()
    # On the server's core, as a module would be.
    with hosts.server.entered():
        with socket.create_server((hosts.server.ipv4, 0)) as listener:
            listener.settimeout(_PATIENCE_S)
            argv = [sys.executable, _CLIENT, hosts.server.ipv4, str(listener.getsockname()[1]), *arguments]
            client = hosts.client.popen(argv, stderr=subprocess.DEVNULL)
            connection, _ = listener.accept()
        next_s = 0.0
        read = reader.of(connection)

        def look() -> None:
            nonlocal next_s
            now_s = time.monotonic()
            if now_s >= next_s:
                next_s = now_s + EVERY_S
                found.readings.append(read())

        with client, connection:
            try:
                look()
                yield connection, found, look
            finally:
                # A reset: what still waits in the shaped queue is nobody's any more.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
                client.kill()


def _await(connection: socket.socket, events: int) -> bool:
    """Waits for a reading's time or one of `events`, whichever is first; whether an event came."""
    poller = select.poll()
    poller.register(connection, events)
    return any(happened & events for _, happened in poller.poll(EVERY_S * 1000))


def _drain(connection: socket.socket, look: Callable[[], None]) -> None:
    """Reads on until all is acknowledged: by the socket's own word, whatever is being measured."""
    begun_s = time.monotonic()
    while struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0]:
        _late(begun_s)
        _await(connection, 0)
        look()
    # A sample is taken anew when the last is ten milliseconds old.
    time.sleep(_SAMPLE_S)
    look()


def _late(since_s: float) -> None:
    if time.monotonic() > since_s + _PATIENCE_S:
        raise ExperimentError(f"nothing moved for {_PATIENCE_S:.0f} s: is the machine or the link stuck?")


def fresh(hosts: Hosts) -> Transfer:
    """A new connection that sends just so much that its 30th packet is not its last."""
    return bulk(hosts, _PATIENCE_S, plan.FRESH_BYTES)
