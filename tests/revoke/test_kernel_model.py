"""Writes, yanks, peeks and reads in any order, against a model: every byte is delivered once or yanked once,
in order.

The model is `experiments.kernel_yank.stream.Stream`. The short form is here, a hundred thousand steps in
tests/soak.
"""

import contextlib
import socket

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from modnet import _native

from experiments.kernel_yank.stream import Stream

pytestmark = pytest.mark.root

LENGTHS = st.one_of(st.integers(1, 100), st.integers(1, 100_000), st.just(1 << 20))


class KernelYank(RuleBasedStateMachine):
    """One connection over loopback."""

    ours: socket.socket
    peer: socket.socket

    @initialize(
        family=st.sampled_from([(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]),
        control=st.sampled_from([b"cubic", b"bbr"]),
        room=st.sampled_from([4096, 1 << 16]),
    )
    def connect(self, family: tuple[int, str], control: bytes, room: int) -> None:
        kind, host = family
        with socket.create_server((host, 0), family=kind) as listener:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, control)
            self.peer = socket.socket(kind)
            self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
            self.peer.connect(listener.getsockname())
            self.ours, _ = listener.accept()
        for end in (self.ours, self.peer):
            end.setblocking(False)
        self.out, self.back = Stream(), Stream()
        self.open = True

    def teardown(self) -> None:
        if not hasattr(self, "ours"):
            return
        with self.ours, self.peer:
            if self.open:
                self.ours.shutdown(socket.SHUT_WR)
            self.peer.settimeout(30)
            while data := self.peer.recv(1 << 18):
                self.out.arrived(data)
            assert self.out.outstanding == 0

    @precondition(lambda self: self.open)
    @rule(length=LENGTHS)
    def write(self, length: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self.out.written(self.ours.send(self.out.next(length)))

    @precondition(lambda self: self.open)
    @rule(length=LENGTHS)
    def yank(self, length: int) -> None:
        self.out.yanked(_native.kernel_yank(self.ours.fileno(), length))

    @precondition(lambda self: self.open)
    @rule(length=LENGTHS)
    def peek(self, length: int) -> None:
        shown = _native.kernel_yank(self.ours.fileno(), length, peek=True)
        assert shown == self.out.last(len(shown))

    @rule(length=LENGTHS)
    def drain(self, length: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self.out.arrived(self.peer.recv(length))

    @rule(length=st.integers(1, 20_000))
    def answer(self, length: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self.back.written(self.peer.send(self.back.next(length)))

    @rule(length=LENGTHS)
    def read(self, length: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self.back.arrived(self.ours.recv(length))

    @precondition(lambda self: self.open)
    @rule()
    def end(self) -> None:
        self.ours.shutdown(socket.SHUT_WR)
        self.open = False

    @invariant()
    def nothing_is_negative(self) -> None:
        if hasattr(self, "out"):
            assert self.out.outstanding >= 0 and self.back.outstanding >= 0


SETTINGS = settings(deadline=None, suppress_health_check=list(HealthCheck), database=None)


@pytest.mark.timeout(300)
class TestKernelYank(KernelYank.TestCase):
    """Sixty connections of forty steps."""

    settings = settings(SETTINGS, max_examples=60, stateful_step_count=40)
