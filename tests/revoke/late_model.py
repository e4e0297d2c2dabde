"""Writes, yanks, peeks, locks, reads and the end in any order, against a model of late binding.

The model is one byte string: all that was written and not taken back. What the peer has read is its
beginning; what a yank or a peek gives is its end. So every byte is delivered once or taken back once, in
order, whatever the kernel, the pump and the peer do meanwhile. Under a lock what others write comes behind,
and what is unsent stays so.

It must not know what it plays with: a `Place` does.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Any, Protocol

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.revoke.stream import pattern

LENGTHS = st.one_of(st.integers(0, 100), st.integers(1, 100_000), st.just(1 << 20))
ALL = 1 << 30

SETTINGS = settings(deadline=None, suppress_health_check=list(HealthCheck), database=None)


class Place(Protocol):
    """Where bytes wait: a socket of ours, or a module's flow."""

    peer: socket.socket
    """Where they arrive."""

    def send(self, data: bytes) -> int:
        """As the application; how many were taken."""

    def settle(self) -> None:
        """Returns when all that was taken can be taken back, wherever it lies."""

    def taker(self) -> Any:
        """What has `yank`, `peek`, `write`, `lock` and `unsent`."""

    def end(self) -> None:
        """No more is sent."""

    def close(self) -> None:
        """Everything."""


class LateBinding(RuleBasedStateMachine):
    """One connection. A subclass makes its `place`."""

    place: Place

    def make(self, room: int) -> Place:
        raise NotImplementedError

    @initialize(room=st.sampled_from([4096, 1 << 16]))
    def connect(self, room: int) -> None:
        self.place = self.make(room)
        self.place.peer.setblocking(False)
        self.stream = b""
        """Written before any lock, or under it by its holder, and not taken back."""
        self.behind = b""
        self.written = 0
        self.read = 0
        self.held: Any = None
        self.fixed = 0
        """While a lock is held: so many bytes at the end cannot leave."""
        self.open = True

    def teardown(self) -> None:
        if not hasattr(self, "place"):
            return
        if self.held:
            self.unlock()
        if self.open:
            self.place.end()
        # Through a small window much takes long.
        self.place.peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.place.peer.settimeout(60)
        while data := self.place.peer.recv(1 << 18):
            self._arrived(data)
        assert self.read == len(self.stream)
        self.place.close()

    def _next(self, length: int) -> bytes:
        return pattern(self.written, length)

    def _arrived(self, data: bytes) -> None:
        assert data == self.stream[self.read : self.read + len(data)]
        self.read += len(data)
        assert self.read <= len(self.stream) - self.fixed

    @precondition(lambda self: self.open)
    @rule(length=LENGTHS)
    def send(self, length: int) -> None:
        taken = self.place.send(self._next(length))
        if self.held:
            self.behind += self._next(taken)
        else:
            self.stream += self._next(taken)
            self.place.settle()
        self.written += taken

    @precondition(lambda self: self.open)
    @rule(length=st.integers(1, 100_000))
    def write(self, length: int) -> None:
        data = self._next(length)
        self.place.taker().write(data)
        self.stream += data
        self.written += length
        self.fixed += length if self.held else 0

    @rule(length=LENGTHS)
    def yank(self, length: int) -> None:
        taken = self.place.taker().yank(length)
        assert len(taken) <= length and self.stream.endswith(taken)
        if self.held:
            assert len(taken) == min(length, self.fixed)
            self.fixed -= len(taken)
        self.stream = self.stream[: len(self.stream) - len(taken)]
        assert self.read <= len(self.stream)

    @rule(length=LENGTHS)
    def peek(self, length: int) -> None:
        seen = self.place.taker().peek(length)
        assert len(seen) <= length and self.stream.endswith(seen)
        if self.held:
            assert len(seen) == min(length, self.fixed) and self.place.taker().peek(length) == seen

    @precondition(lambda self: not self.held)
    @rule()
    def lock(self) -> None:
        self.held = self.place.taker().lock()
        self.held.__enter__()
        self.fixed = len(self.place.taker().peek(ALL))

    @precondition(lambda self: self.held)
    @rule()
    def unlock(self) -> None:
        self.held.__exit__(None, None, None)
        self.held, self.fixed = None, 0
        self.stream += self.behind
        self.behind = b""
        self.place.settle()

    @rule(length=LENGTHS)
    def drain(self, length: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self._arrived(self.place.peer.recv(length))

    @precondition(lambda self: self.open and not self.held)
    @rule()
    def end(self) -> None:
        self.place.end()
        self.open = False
