"""What a test's client does at a probe's request."""

import socket
import struct
import threading
from collections.abc import Callable


def send(data: bytes) -> Callable[[socket.socket], None]:
    """Sends all of it."""
    return lambda client: client.sendall(data)


def expect(wanted: bytes) -> Callable[[socket.socket], None]:
    """Reads exactly this."""

    def step(client: socket.socket) -> None:
        got = b""
        while len(got) < len(wanted):
            more = client.recv(len(wanted) - len(got))
            assert more, f"end after {got!r}"
            got += more
        assert got == wanted

    return step


def expect_end(client: socket.socket) -> None:
    """Reads the end of the stream."""
    assert client.recv(1) == b""


def expect_reset(client: socket.socket) -> None:
    """Reads a reset."""
    try:
        data = client.recv(1)
    except ConnectionResetError:
        return
    raise AssertionError(f"{data!r} instead of a reset")


def half_close(client: socket.socket) -> None:
    """Sends the end of its stream."""
    client.shutdown(socket.SHUT_WR)


def reset(client: socket.socket) -> None:
    """Resets the connection."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def drain(client: socket.socket) -> None:
    """Reads until nothing has come for a moment."""
    client.settimeout(0.3)
    try:
        while client.recv(1 << 20):
            pass
    except TimeoutError:
        client.settimeout(30)


def later(data: bytes, seconds: float = 0.3) -> Callable[[socket.socket], None]:
    """Sends after a while, from the step's point of view at once."""

    def step(client: socket.socket) -> None:
        threading.Timer(seconds, client.sendall, [data]).start()

    return step
