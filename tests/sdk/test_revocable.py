"""What a revocable module has passed on is taken back, looked at, held: in the engine and in playback."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from modnet import Module
from modnet.testing import Playback

from tests.sdk.engine import Stage, Wire, stage, wait_until


class Kept(Module):
    """Lets the test, in another thread, do what a timer would."""

    revocable = True

    def __init__(self, settings: Any = None) -> None:
        super().__init__(settings)
        self.flows: list[Any] = []

    def opened(self, flow: Any) -> None:
        self.flows.append(flow)


class Latest(Module):
    """Of what has not been sent, only the newest is worth sending."""

    revocable = True

    def outbound(self, flow: Any, data: memoryview) -> bytes:
        flow.yank(1 << 30)
        return bytes(data)


@pytest.fixture
def kept(runtime: Path) -> Iterator[tuple[Stage, Kept]]:
    module = Kept()
    with stage(module, runtime) as running:
        yield running, module


def _flow(running: Stage, module: Kept) -> tuple[Wire, Any]:
    wire = running.flow()
    wait_until(lambda: module.flows, "a flow")
    return wire, module.flows.pop()


def test_a_lock_holds_what_is_passed_on_and_what_is_yanked_under_it_never_arrives(
    kept: tuple[Stage, Kept],
) -> None:
    wire, flow = _flow(*kept)
    with flow.lock():
        flow.write(b"good morning")
        wire.send("outbound", b", late")
        assert flow.peek(7) == flow.yank(7) == b"morning"
        # What the application has written since is unsent, and behind the lock.
        assert (flow.peek(100), flow.unsent) == (b"good ", len(b"good , late"))
        flow.write(b"evening")
        assert wire.has(outbound=b"")
    wait_until(lambda: wire.has(outbound=b"good evening, late"), "what was written")


def test_nothing_unsent_is_nothing_yanked(kept: tuple[Stage, Kept]) -> None:
    wire, flow = _flow(*kept)
    assert (flow.yank(10), flow.peek(10), flow.yank(0)) == (b"", b"", b"")
    wire.send("outbound", b"gone")
    wait_until(lambda: wire.has(outbound=b"gone"), "the bytes")
    assert (flow.yank(10), flow.unsent) == (b"", 0)


def test_what_one_thread_holds_another_is_refused(kept: tuple[Stage, Kept]) -> None:
    _, flow = _flow(*kept)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with flow.lock():
            held.set()
            done.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    for refused in (
        lambda: flow.yank(1),
        lambda: flow.peek(1),
        lambda: flow.write(b"x"),
        flow.lock().__enter__,
    ):
        with pytest.raises(BlockingIOError, match="another thread holds the lock"):
            refused()
    done.set()
    holder.join()
    assert flow.yank(1) == b""


def test_a_flow_that_is_over_has_nothing_to_take(kept: tuple[Stage, Kept]) -> None:
    wire, flow = _flow(*kept)
    wire.close()
    wait_until(lambda: flow.yank(1) == b"", "the end")
    assert flow.unsent == 0


def test_a_hook_replaces_what_was_not_sent(runtime: Path) -> None:
    with stage(Latest(), runtime) as running:
        wire = running.flow()
        wire.send("outbound", b"first")
        wait_until(lambda: wire.has(outbound=b"first"), "the first bytes")
        # Nobody reads: what the path does not take waits.
        for number in range(400):
            wire.application.setblocking(True)
            wire.application.sendall(bytes([number % 251]) * 65536)
        wire.application.sendall(b"last")
        wire.end("outbound")
        wait_until(lambda: wire.is_over() or "outbound" in wire.ended, "the end")
        assert wire.got["outbound"].endswith(b"last")
        assert 5 < len(wire.got["outbound"]) < 400 * 65536


class Plain(Kept):
    revocable = False


def test_a_module_that_is_not_revocable_says_what_to_do(runtime: Path) -> None:
    module = Plain()
    with stage(module, runtime) as running:
        _, flow = _flow(running, module)
        for call in (lambda: flow.yank(1), lambda: flow.peek(1), lambda: flow.write(b"x"), flow.lock):
            with pytest.raises(OSError, match="revocable = True") as refused:
                call()
            assert refused.value.errno == errno.EOPNOTSUPP
        assert flow.unsent == 0


def test_playback_keeps_to_the_same_rules() -> None:
    playback = Playback(Latest())
    assert playback.outbound(b"one") == b"one"
    assert playback.sent(2) == b"on"
    playback.outbound(b"two")
    assert (bytes(playback.unsent), playback.flow.unsent) == (b"two", 3)
    with playback.flow.lock():
        assert playback.sent(3) == b""
        assert playback.flow.yank(1) == b"o"
        playback.flow.write(b"O")
    assert playback.sent(9) == b"twO"
    with pytest.raises(OSError, match="revocable"):
        Playback(Plain()).flow.yank(1)
