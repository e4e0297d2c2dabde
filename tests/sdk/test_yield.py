"""`flow.yield_to`: in the engine and in `modnet.testing` alike, what goes to whom, and what is refused."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import modnet
import pytest
from modnet.errors import UsageError
from modnet.module import Module
from modnet.testing import Playback, play

from tests.sdk.engine import Stage, stage, wait_until


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A runtime directory; pytest's own is too long for a socket's path."""
    with tempfile.TemporaryDirectory(prefix="mn-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


class Chooser(Module):
    """Holds what comes in until a line is whole, then yields as the line says: `WHERE NAME…`."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: list[int | None] = []
        self.over: list[Any] = []
        self.placed: list[Any] = []

    def opened(self, flow: modnet.Flow) -> None:
        flow.held = b""
        flow.chosen = False

    def inbound(self, flow: modnet.Flow, data: memoryview) -> bytes:
        if flow.chosen:
            return bytes(data)
        flow.held += data
        line, found, _ = flow.held.partition(b"\n")
        if not found:
            return b""
        flow.chosen = True
        where, *names = line.decode().split()
        try:
            if where == "right":
                flow.yield_to(names, "right", inbound=flow.held)
                return b""
            flow.yield_to(names, where)
        except OSError as error:
            self.refused.append(error.errno)
        return flow.held

    def outbound(self, flow: modnet.Flow, data: memoryview) -> memoryview:
        self.placed.append((flow.chain, flow.position))
        return data

    def closed(self, flow: modnet.Flow) -> None:
        self.over.append((flow.bytes_outbound, flow.bytes_inbound))


class Upper(Module):
    """Capitals both ways."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def opened(self, flow: modnet.Flow) -> None:
        self.seen.append((flow.chain, flow.position, flow.peer, flow.tcp.cwnd > 0))

    def outbound(self, flow: modnet.Flow, data: memoryview) -> bytes:
        return bytes(data).upper()

    def inbound(self, flow: modnet.Flow, data: memoryview) -> bytes:
        self.seen.append(bytes(data))
        return bytes(data).upper()


class Joins(Module):
    """Lets the question pass, and yields at the answer."""

    def opened(self, flow: modnet.Flow) -> None:
        flow.question = b""

    def inbound(self, flow: modnet.Flow, data: memoryview) -> memoryview:
        flow.question += data
        return data

    def outbound(self, flow: modnet.Flow, data: memoryview) -> memoryview:
        flow.yield_to("upper", passed=flow.question)
        return data


@pytest.fixture
def two(runtime: Path) -> Iterator[tuple[Stage, Stage]]:
    with stage(Chooser(), runtime) as chooser, stage(Upper(), runtime, "upper") as upper:
        yield chooser, upper


def test_what_was_held_and_what_the_hook_returns_go_to_the_module_that_replaces_this_one(
    two: tuple[Stage, Stage],
) -> None:
    chooser, upper = (one.module for one in two)
    wire = two[0].flow()
    for piece in (b"repl", b"ace upper\nand ", b"more"):
        wire.send("inbound", piece)
    wait_until(lambda: wire.has(inbound=b"REPLACE UPPER\nAND MORE"), "the line in capitals")
    wire.send("outbound", b"answer")
    wait_until(lambda: wire.has(outbound=b"ANSWER"), "the answer in capitals")
    # The module that has left hears the flow's end, and nothing after it.
    wait_until(lambda: chooser.over, "closed")
    assert chooser.placed == []
    assert chooser.over[0][0] == 0
    assert upper.seen[0] == (("upper",), 0, wire.network.getsockname(), True)
    wire.end("outbound")
    wire.end("inbound")
    wait_until(wire.is_over, "the end of both")
    assert wire.ended == {"outbound": "eof", "inbound": "eof"}


def test_what_has_passed_is_shown_and_does_not_pass_again(runtime: Path) -> None:
    with stage(Joins(), runtime) as joins, stage(Upper(), runtime, "upper") as upper:
        wire = joins.flow()
        wire.send("inbound", b"question")
        wait_until(lambda: wire.has(inbound=b"question"), "the question")
        wire.send("outbound", b"answer")
        wait_until(lambda: wire.has(outbound=b"ANSWER"), "the answer")
        wait_until(lambda: upper.module.seen[1:] == [b"question"], "what has passed")
        wire.send("inbound", b" and another")
        wait_until(lambda: wire.has(inbound=b"question AND ANOTHER"), "the next")


@pytest.mark.parametrize("where", ["left", "right"])
def test_a_module_that_stays_has_a_new_neighbour(where: str, two: tuple[Stage, Stage]) -> None:
    chooser, upper = (one.module for one in two)
    wire = two[0].flow()
    wire.send("inbound", f"{where} upper\n".encode())
    wait_until(lambda: wire.has(inbound=f"{where} upper\n".upper().encode()), "the line in capitals")
    wire.send("outbound", b"answer")
    wait_until(lambda: wire.has(outbound=b"ANSWER"), "the answer in capitals")
    chain = ("upper", "m") if where == "left" else ("m", "upper")
    assert chooser.placed[-1] == (chain, chain.index("m"))
    assert upper.seen[0][:2] == (chain, chain.index("upper"))
    assert upper.seen[0][3], "the TCP state, wherever it is"
    wire.end("inbound")
    wire.end("outbound")
    wait_until(wire.is_over, "the end of both")
    wait_until(lambda: chooser.over, "closed")


def test_an_unknown_module_is_enoent_and_the_flow_untouched(two: tuple[Stage, Stage]) -> None:
    for line in (b"replace absent\n", b"left upper absent\n", b"right absent\n"):
        wire = two[0].flow()
        wire.send("inbound", line)
        wait_until(lambda wire=wire, line=line: wire.has(inbound=line), "the line as it was")
        wire.send("outbound", b"answer")
        wait_until(lambda wire=wire: wire.has(outbound=b"answer"), "the answer as it was")
    assert two[0].module.refused == [errno.ENOENT] * 3
    assert two[1].module.seen == []


def test_a_module_that_has_ended_is_enoent(runtime: Path) -> None:
    with stage(Chooser(), runtime) as chooser:
        with stage(Upper(), runtime, "upper"):
            wire = chooser.flow()
            wire.send("inbound", b"replace upper\n")
            wait_until(lambda: wire.has(inbound=b"REPLACE UPPER\n"), "the module")
            wire.close()
        wire = chooser.flow()
        wire.send("inbound", b"replace upper\n")
        wait_until(lambda: wire.has(inbound=b"replace upper\n"), "the line as it was")
        assert chooser.module.refused == [errno.ENOENT]


WRONG: list[tuple[Callable[[Any], None], type[Exception], int | None]] = [
    (lambda flow: flow.yield_to("upper", "up"), ValueError, None),
    (lambda flow: flow.yield_to("upper", "left", inbound=b"x"), ValueError, None),
    (lambda flow: flow.yield_to("upper", "right", outbound=b"x"), ValueError, None),
    (lambda flow: flow.yield_to([]), OSError, errno.EINVAL),
    (lambda flow: flow.yield_to(["upper", "absent"]), OSError, errno.ENOENT),
    (lambda flow: (flow.yield_to("upper"), flow.yield_to("upper")), ValueError, None),
]
# What only the engine knows.
WRONG_NAMES: list[tuple[Callable[[Any], None], type[Exception], int | None]] = [
    (lambda flow: flow.yield_to(["upper"] * 17), OSError, errno.EINVAL),
    (lambda flow: flow.yield_to("no name"), OSError, errno.EINVAL),
]


class Wrong(Module):
    """Yields as it should not; the flow goes on."""

    def __init__(self, call: Callable[[Any], None]) -> None:
        super().__init__()
        self.call = call
        self.raised: list[BaseException] = []

    def opened(self, flow: modnet.Flow) -> None:
        try:
            self.call(flow)
        except (OSError, ValueError) as error:
            self.raised.append(error)


@pytest.mark.parametrize("call, kind, number", WRONG + WRONG_NAMES)
def test_wrong_arguments_are_told_at_once(
    call: Callable[[Any], None], kind: type[Exception], number: int | None, runtime: Path
) -> None:
    with stage(Upper(), runtime, "upper"), stage(Wrong(call), runtime) as wrong:
        wrong.flow()
        wait_until(lambda: wrong.module.raised, "the error")
    raised = wrong.module.raised[0]
    assert isinstance(raised, kind)
    assert number is None or raised.errno == number


@pytest.mark.parametrize("call, kind, number", WRONG)
def test_the_playback_refuses_the_same(
    call: Callable[[Any], None], kind: type[Exception], number: int | None
) -> None:
    module = Wrong(call)
    Playback(module, living=["upper"])
    raised = module.raised[0]
    assert isinstance(raised, kind)
    assert number is None or raised.errno == number


def test_the_playback_tells_what_goes_along() -> None:
    playback = play(
        Chooser(),
        [
            ("inbound", b"replace ", b""),
            ("inbound", b"upper\nmore", b""),
            ("yield_to", ("upper",), "replace"),
        ],
    )
    assert playback.has_left
    assert playback.carried == {"outbound": b"", "inbound": b"replace upper\nmore", "passed": b""}
    assert playback.module.over == [(0, 18)]
    with pytest.raises(UsageError):
        playback.inbound(b"x")


def test_the_playback_lets_a_module_stay() -> None:
    playback = play(
        Chooser(),
        [
            ("inbound", b"right upper\n", b""),
            ("yield_to", ("upper",), "right"),
            ("inbound", b"x", b"x"),
            ("closed",),
        ],
    )
    assert playback.carried["inbound"] == b"right upper\n"
    playback = Playback(Chooser(), living=["upper"])
    assert playback.inbound(b"left absent\n") == b"left absent\n"
    assert playback.module.refused == [errno.ENOENT]
