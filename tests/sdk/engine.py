"""A module in the real engine, in this process, with the test as the application, its shim, and the network.

The test plays the shim's part by hand (crates/abi/src/steal.rs): a HELLO, then a NEW with both ends of a
flow. So what is tested is engine and extension alone, and each byte is sent when the test says so.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modnet import _native
from modnet.module import Module

HELLO, NEW = 1, 2
NO_SLOT = 0xFFFFFFFF
CHAIN = 16
NAME = "m"
PATIENCE = 20.0
"""Seconds after which something will not come any more."""


def wait_until(true: Any, what: str) -> None:
    """Returns once `true()` is; there is no event to wait for where the engine's threads meet the test."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.001)


class Wire:
    """One flow: the application's end and the network's."""

    def __init__(self, application: socket.socket, network: socket.socket) -> None:
        self.application = application
        self.network = network
        for end in (application, network):
            end.setblocking(False)
        self.got = {"outbound": b"", "inbound": b""}
        """What has come out, by direction."""
        self.ended: dict[str, str] = {}
        """How a direction ended: `eof` or `reset`."""

    def send(self, way: str, data: bytes) -> None:
        """Into the flow, at the end where that direction begins."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            assert (self.application if way == "outbound" else self.network).send(data) == len(data)

    def end(self, way: str) -> None:
        """No more of that direction."""
        with contextlib.suppress(OSError):
            (self.application if way == "outbound" else self.network).shutdown(socket.SHUT_WR)

    def read(self) -> None:
        """Takes what has come out so far."""
        for way, out in (("outbound", self.network), ("inbound", self.application)):
            while way not in self.ended and select.select([out], [], [], 0)[0]:
                try:
                    data = out.recv(65536)
                except ConnectionResetError:
                    self.ended[way] = "reset"
                    break
                if not data:
                    self.ended[way] = "eof"
                self.got[way] += data

    def has(self, **wanted: bytes) -> bool:
        """Whether exactly this has come out, by direction."""
        self.read()
        return all(self.got[way] == data for way, data in wanted.items())

    def is_over(self) -> bool:
        """Whether both directions have ended."""
        self.read()
        return len(self.ended) == 2

    def close(self) -> None:
        """Both ends."""
        self.application.close()
        self.network.close()


class Stage:
    """A module that runs; `flow()` is a stolen connection."""

    def __init__(self, module: Module, runtime: Path, name: str = NAME) -> None:
        self.module = module
        self._engine = _native.Engine(
            module,
            name=name,
            runtime_dir=str(runtime),
            hooks=module.hooks(),
            spec="{}",
            persistent=True,
            drain=1.0,
            send_queue=256 * 1024,
            revocable=4 << 20 if module.revocable else None,
            workers=1,
        )
        self._engine.start()
        self._waiter = threading.Thread(target=self._engine.wait)
        self._waiter.start()
        queues = sorted((runtime / "modules" / name).glob("steal.*"))
        assert queues
        self._queue = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._queue.connect(str(queues[0]))
        chain = name.encode().ljust(32, b"\0") + bytes(32 * (CHAIN - 1))
        hello = struct.pack("<7I16s", 2, 0, 0, os.getpid(), 0, 1, 1, bytes(16)) + chain
        self._queue.send(struct.pack("<II", NO_SLOT, HELLO) + hello)
        self._wires: list[Wire] = []

    def flow(self) -> Wire:
        """A new flow; its network end is TCP, as the engine expects."""
        application, left = socket.socketpair()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            network = socket.create_connection(listener.getsockname())
            right, _ = listener.accept()
        socket.send_fds(self._queue, [struct.pack("<II", NO_SLOT, NEW)], [left.fileno(), right.fileno()])
        left.close()
        right.close()
        self._wires.append(Wire(application, network))
        return self._wires[-1]

    def stop(self) -> None:
        """Ends the engine."""
        for wire in self._wires:
            wire.close()
        self._queue.close()
        self._engine.stop(1.0)
        self._waiter.join(PATIENCE)
        assert not self._waiter.is_alive()


@contextlib.contextmanager
def stage(module: Module, runtime: Path, name: str = NAME) -> Iterator[Stage]:
    """The module in an engine of its own."""
    running = Stage(module, runtime, name)
    try:
        yield running
    finally:
        running.stop()
