"""A tiny module, so that the shim is tested by itself: takes stolen sockets and forwards both ways.

Rules: one thread, one selector; what is wrong in a message it raises at `stop`. Simpler than the engine: no
back-pressure beyond not reading while something waits to be written.
"""

import contextlib
import os
import selectors
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

HELLO, NEW = 1, 2
POOLED = 1
HELLO_BYTES = 8 + 44 + 32 * 16
RESET_NOW = struct.pack("ii", 1, 0)
# crates/abi/src/fault.rs
FAULT = 1 << 30
CHUNK = 262144


@dataclass(frozen=True)
class Hello:
    """What a client said of itself."""

    version: int
    flags: int
    record: int
    pid: int
    position: int
    chain: tuple[str, ...]
    token: bytes


@dataclass
class Flow:
    """One stolen connection: what each end still has to be sent."""

    left: socket.socket
    right: socket.socket
    waiting: dict[socket.socket, bytes] = field(default_factory=dict)
    ended: set[socket.socket] = field(default_factory=set)

    def other(self, one: socket.socket) -> socket.socket:
        return self.right if one is self.left else self.left


class Peer:
    """The module `name` in the registry below `runtime`."""

    def __init__(
        self,
        runtime: Path,
        name: str = "peer",
        *,
        cpus: list[int] | None = None,
        hold: bool = False,
        backlog: int = 64,
    ) -> None:
        self.directory = runtime / "modules" / name
        self.directory.mkdir(parents=True, exist_ok=True)
        self.hellos: list[Hello] = []
        self.flows: list[Flow] = []
        self.stolen = 0
        self.hold = hold
        self.errors: list[str] = []
        self._selector = selectors.DefaultSelector()
        self._listeners: list[socket.socket] = []
        self._clients: list[socket.socket] = []
        for cpu in range(os.cpu_count() or 1) if cpus is None else cpus:
            path = self.directory / f"steal.{cpu}"
            path.unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            listener.bind(str(path))
            path.chmod(0o666)
            listener.listen(backlog)
            listener.setblocking(False)
            self._listeners.append(listener)
            self._selector.register(listener, selectors.EVENT_READ, self._accept)
        self._wake, self._waker = socket.socketpair()
        self._selector.register(self._wake, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends as a process that dies does: the sockets' files stay, everything else is closed."""
        if self._thread.is_alive():
            self._waker.send(b"x")
            self._thread.join()
        for one in [*self._listeners, *self._clients, self._wake, self._waker]:
            one.close()
        for flow in self.flows:
            flow.left.close()
            flow.right.close()
        self.flows.clear()
        assert not self.errors, self.errors

    def join(self) -> None:
        """Waits for the thread, which ends by `stop` alone."""
        self._thread.join()

    def freeze(self) -> None:
        """Receives nothing any more, though it is alive."""
        self._waker.send(b"x")
        self._thread.join()

    def _run(self) -> None:
        while True:
            for key, mask in self._selector.select():
                if key.data is None:
                    self._wake.recv(1)
                    return
                try:
                    key.data(key.fileobj, mask)
                except Exception as error:
                    self.errors.append(repr(error))

    def _accept(self, listener: socket.socket, _: int) -> None:
        client, _address = listener.accept()
        client.setblocking(False)
        self._clients.append(client)
        greeted: list[Hello] = []
        handler: Callable[[socket.socket, int], None] = lambda one, _: self._message(one, greeted)  # noqa: E731
        self._selector.register(client, selectors.EVENT_READ, handler)

    def _message(self, client: socket.socket, greeted: list[Hello]) -> None:
        data, fds, _flags, _address = socket.recv_fds(client, HELLO_BYTES + 1, 8)
        if not data:
            self._selector.unregister(client)
            self._clients.remove(client)
            client.close()
            return
        slot, kind = struct.unpack_from("<II", data)
        assert slot == 0xFFFFFFFF, slot
        if kind == HELLO:
            assert len(data) == HELLO_BYTES, len(data)
            # A pool that is offered is left alone: then every pair is fresh.
            assert len(fds) == 2 * (struct.unpack_from("<I", data, 12)[0] & POOLED), fds
            for fd in fds:
                os.close(fd)
            version, flags, record, pid, position, length, until, token = struct.unpack_from(
                "<7I16s", data, 8
            )
            names = [data[52 + 32 * i : 84 + 32 * i].rstrip(b"\0").decode() for i in range(16)]
            assert until == length
            assert names[position] == self.directory.name, (names, position)
            greeted.append(Hello(version, flags, record, pid, position, tuple(names[:length]), token))
            self.hellos.append(greeted[-1])
        else:
            assert kind == NEW and greeted, (kind, greeted)
            assert len(data) == 8 and len(fds) == 2, (data, fds)
            left, right = (socket.socket(fileno=fd) for fd in fds)
            assert left.family == socket.AF_UNIX and right.family in (socket.AF_INET, socket.AF_INET6)
            for one in (left, right):
                assert not os.get_blocking(one.fileno()), "both ends come non-blocking"
            self.stolen += 1
            flow = Flow(left, right)
            self.flows.append(flow)
            if not self.hold:
                for one in (left, right):
                    self._selector.register(
                        one, selectors.EVENT_READ, lambda s, m, f=flow: self._data(f, s, m)
                    )

    def _data(self, flow: Flow, one: socket.socket, mask: int) -> None:
        if one.fileno() < 0:
            return  # Closed by an earlier event of the same round.
        try:
            if mask & selectors.EVENT_WRITE:
                self._send(flow, one, flow.waiting.pop(one))
            if mask & selectors.EVENT_READ and one not in flow.ended:
                data = one.recv(CHUNK)
                if data:
                    self._send(flow, flow.other(one), data)
                else:
                    flow.ended.add(one)
                    if (
                        one is flow.left
                        and flow.right.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == RESET_NOW
                    ):
                        self._end(flow, reset=True)
                        return
                    if flow.other(one) not in flow.waiting:
                        flow.other(one).shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return
        except OSError as error:
            if one is flow.right:
                fault = struct.pack("ll", FAULT + (error.errno or 0), 0)
                flow.right.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, fault)
            self._end(flow, reset=isinstance(error, ConnectionResetError) and one is flow.left)
            return
        self._watch(flow)

    def _send(self, flow: Flow, to: socket.socket, data: bytes) -> None:
        try:
            sent = to.send(data, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            flow.waiting[to] = data[sent:]
        elif flow.other(to) in flow.ended:
            to.shutdown(socket.SHUT_WR)

    def _watch(self, flow: Flow) -> None:
        if len(flow.ended) == 2 and not flow.waiting:
            self._end(flow, reset=False)
            return
        for one in (flow.left, flow.right):
            mask = selectors.EVENT_WRITE if one in flow.waiting else 0
            # What has ended is watched no more; what cannot be passed on is not read.
            if one not in flow.ended and flow.other(one) not in flow.waiting:
                mask |= selectors.EVENT_READ
            with contextlib.suppress(KeyError):
                self._selector.unregister(one)
            if mask:
                self._selector.register(one, mask, lambda s, m, f=flow: self._data(f, s, m))

    def _end(self, flow: Flow, *, reset: bool) -> None:
        if reset:
            flow.right.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_NOW)
        for one in (flow.left, flow.right):
            with contextlib.suppress(KeyError):
                self._selector.unregister(one)
            one.close()
        self.flows.remove(flow)
