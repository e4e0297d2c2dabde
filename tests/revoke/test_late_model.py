"""Late binding against its model: a socket of this process, and a flow through a revocable module. Short; a
hundred thousand steps are in tests/soak.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import invariant
from modnet import Module
from modnet.revoke import RevocableSocket

from tests.revoke.late_model import SETTINGS, LateBinding
from tests.revoke.pairs import connected, wait_until
from tests.sdk.engine import Stage, stage

# Below what a flow's queue holds, so that what is sent reaches it.
MOST = 3 << 20


class SocketPlace:
    """A `RevocableSocket`."""

    def __init__(self, room: int) -> None:
        ours, self.peer = connected(room)
        self.ours = RevocableSocket(ours)
        self.ours.setblocking(False)

    def send(self, data: bytes) -> int:
        with contextlib.suppress(BlockingIOError):
            return self.ours.send(data)
        return 0

    def settle(self) -> None:
        pass

    def taker(self) -> RevocableSocket:
        return self.ours

    def end(self) -> None:
        self.ours.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.ours.close()
        self.peer.close()


class SocketModel(LateBinding):
    """Over loopback."""

    def make(self, room: int) -> SocketPlace:
        return SocketPlace(room)

    # Of a flow it is a sample, some milliseconds old.
    @invariant()
    def what_is_unsent_is_part_of_what_was_not_read(self) -> None:
        if hasattr(self, "place"):
            assert self.place.taker().unsent <= len(self.stream) - self.read + len(self.behind)


class Kept(Module):
    """Gives the test its flows."""

    revocable = True

    def __init__(self, settings: Any = None) -> None:
        super().__init__(settings)
        self.flows: list[Any] = []

    def opened(self, flow: Any) -> None:
        self.flows.append(flow)


class FlowPlace:
    """A flow of the real engine; the test is its application."""

    def __init__(self, running: Stage, module: Kept) -> None:
        wire = running.flow()
        wait_until(lambda: module.flows, "a flow")
        self.flow = module.flows.pop()
        self.application, self.peer = wire.application, wire.network

    def send(self, data: bytes) -> int:
        if self.flow.unsent + len(data) > MOST:
            return 0
        try:
            taken = self.application.send(data)
        except BlockingIOError:
            return 0
        return taken

    def settle(self) -> None:
        # What is still in the pair can be taken back as well.
        pass

    def taker(self) -> Any:
        return self.flow

    def end(self) -> None:
        self.application.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.application.close()
        self.peer.close()


class FlowModel(LateBinding):
    """Through a module that looks at nothing."""

    module: Kept
    running: Stage

    def __init__(self) -> None:
        super().__init__()
        self.undo = contextlib.ExitStack()
        folder = self.undo.enter_context(tempfile.TemporaryDirectory(prefix="mn-"))
        Path(folder).chmod(0o711)
        self.module = Kept()
        self.running = self.undo.enter_context(stage(self.module, Path(folder)))

    def make(self, room: int) -> FlowPlace:
        # The peer's window is its system's: one that is made small later stalls for seconds.
        return FlowPlace(self.running, self.module)

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.undo.close()


@pytest.mark.timeout(300)
class TestSocket(SocketModel.TestCase):
    """A hundred connections of forty steps."""

    settings = settings(SETTINGS, max_examples=100, stateful_step_count=40)


@pytest.mark.timeout(300)
class TestFlow(FlowModel.TestCase):
    """A hundred flows of forty steps."""

    settings = settings(SETTINGS, max_examples=100, stateful_step_count=40)
