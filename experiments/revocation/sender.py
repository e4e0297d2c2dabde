"""The server, a program of its own on the server's host: sends, then decides again and again.

    python sender.py WAY PORT LOG GOODPUT_S DECISIONS EVERY_S SEED

It takes one connection; plan.py lists the ways. LOG gets one JSON object a line for each decision: `at` (ns
of CLOCK_MONOTONIC), `unsent` (bytes that the kernel holds and has not sent: beyond recall), `took_new`
(whether it has taken back what the decision before had to send), and what TCP_INFO says besides. Where the
way is `late`, the module decides and logs (revoker.py), and this is plain sending. It must not know of links.
"""

from __future__ import annotations

import contextlib
import json
import random
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

SEND_BUFFER = 1 << 20
NEW_BYTES = 1448
_SO_SNDBUFFORCE = 32
_TCP_NOTSENT_LOWAT = 25
_LOW = 16 * 1024
_OLD = memoryview(bytes(1 << 16))
_INFO = struct.Struct("<8B24I4Q6I")


class Info:
    """What TCP_INFO says of a connection, as far as it is of use here."""

    def __init__(self, connection: socket.socket) -> None:
        found = _INFO.unpack(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size))
        words = found[8:32]
        self.mss, self.unacked, self.sacked, self.lost, self.retrans = (words[i] for i in (2, 4, 5, 6, 7))
        self.rtt_us, self.cwnd = words[15], words[18]
        self.unsent, self.min_rtt_us = found[38], found[39]

    @property
    def in_flight(self) -> int:
        """Segments on their way."""
        return max(0, self.unacked + self.retrans - self.sacked - self.lost)

    def row(self, at: int, taken: int, took_new: bool) -> dict[str, int]:
        """A line of the log."""
        return {
            "at": at,
            "taken": taken,
            "took_new": took_new,
            "unsent": self.unsent,
            "flight": self.in_flight * self.mss,
            "rtt_us": self.rtt_us,
            "min_rtt_us": self.min_rtt_us,
            "mss": self.mss,
        }


def times(goodput_s: float, decisions: int, every_s: float, seed: int) -> Iterator[float]:
    """When to decide, in seconds from the beginning: at random, in step with no clock of the kernel's."""
    chance = random.Random(seed)
    at = goodput_s
    for _ in range(decisions):
        at += every_s * chance.uniform(0.5, 1.5)
        yield at


def new(number: int) -> bytes:
    """The nth new content."""
    return bytes([number]) * NEW_BYTES


def has_new(taken: bytes, number: int) -> bool:
    """Whether the nth new content is among what was taken back, all of it: it never comes then."""
    return number > 0 and taken.count(number) == NEW_BYTES


def from_user_space(way: str, connection: socket.socket, log: TextIO, plan: Iterator[float]) -> None:
    """plain, lowat, h2o: what has been written is gone, what has not is decided about."""
    connection.setblocking(False)
    low = {"plain": None, "lowat": _LOW, "h2o": 1}[way]
    if low is not None:
        connection.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, low)
    poller = select.poll()
    poller.register(connection, select.POLLOUT)
    begun = time.monotonic()
    next_s = next(plan, None)
    number, pending = 0, b""
    while True:
        wait_s = 60.0 if next_s is None else begun + next_s - time.monotonic()
        ready = poller.poll(max(0, wait_s * 1000))
        if next_s is not None and time.monotonic() >= begun + next_s:
            took_new = len(pending) == NEW_BYTES
            number += 1
            pending = new(number)
            row = Info(connection).row(time.monotonic_ns(), 0, took_new)
            log.write(json.dumps(row) + "\n")
            next_s = next(plan, None)
        if not ready:
            continue
        most = len(_OLD)
        if way == "lowat":
            most = _LOW
        elif way == "h2o":
            info = Info(connection)
            most = (max(0, info.cwnd - info.in_flight) + 2) * info.mss
        with contextlib.suppress(BlockingIOError):
            if pending:
                pending = pending[connection.send(pending) :]
            else:
                connection.send(_OLD[:most])


def late_in_user_space(revocable: Any, log: TextIO, plan: Iterator[float]) -> None:
    """socket: a thread keeps the queue full, and this one decides."""

    def fill() -> None:
        with contextlib.suppress(OSError):
            while True:
                revocable.sendall(_OLD)

    threading.Thread(target=fill, daemon=True).start()
    begun = time.monotonic()
    for number, at in enumerate(plan, 1):
        time.sleep(max(0.0, begun + at - time.monotonic()))
        decided = time.monotonic_ns()
        with revocable.lock():
            info = Info(revocable)
            taken = revocable.yank(1 << 30)
            revocable.write(new(number))
        took_new = has_new(taken, number - 1)
        log.write(json.dumps(info.row(decided, len(taken), took_new)) + "\n")
    select.select([revocable], [], [])


def serve(way: str, port: int, log: TextIO, plan: Iterator[float]) -> None:
    """One connection, until the client has gone."""
    make: Any = None
    if way == "socket":
        # Before the clock runs; and nothing of ours in the processes that are compared with.
        from modnet.revoke import RevocableSocket

        make = RevocableSocket
    with socket.create_server(("", port)) as listener:
        if way != "socket":
            # Inherited by the connection, which is stolen when it is accepted.
            listener.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, SEND_BUFFER)
        connection, _ = listener.accept()
    with connection, contextlib.suppress(ConnectionError):
        if way == "late":
            while True:
                connection.sendall(_OLD)
        elif way == "socket":
            late_in_user_space(make(connection), log, plan)
        else:
            from_user_space(way, connection, log, plan)


def main(arguments: list[str]) -> None:
    """Runs with the arguments above."""
    way, port, path, *numbers = arguments
    goodput_s, decisions, every_s, seed = map(float, numbers)
    plan: Any = times(goodput_s, int(decisions), every_s, int(seed))
    with Path(path).open("a", buffering=1) as log:
        serve(way, int(port), log, plan)


if __name__ == "__main__":
    main(sys.argv[1:])
