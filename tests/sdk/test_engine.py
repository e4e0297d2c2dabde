"""The engine calls hooks as `modnet.testing` does: each script is played into both, and compared event by
event.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import modnet
import pytest
from modnet import _native
from modnet.module import Module
from modnet.testing import Playback

from tests.sdk.engine import stage, wait_until

EVENTS = [
    ("outbound", b"one"),
    ("inbound", b"two"),
    ("outbound", b"three"),
    ("inbound", b"four"),
    ("outbound_end", b""),
    ("inbound_end", b""),
]


class Recorded(Module):
    """Notes each call before it answers with what `act` says; None of the hooks is left alone."""

    def __init__(self, act: Callable[..., Any] | None = None) -> None:
        super().__init__()
        self.act = act
        self.calls: list[Any] = []
        self.failures: list[Any] = []

    def _answer(self, hook: str, flow: Any, data: memoryview | None = None) -> Any:
        self.calls.append((hook, None if data is None else bytes(data)))
        return data if self.act is None else self.act(hook, flow, data)

    def _hook_failed(self, hook: str, flow: Any, exception: BaseException) -> None:
        super()._hook_failed(hook, flow, exception)
        self.failures.append((hook, type(exception), str(exception)))

    def opened(self, flow: modnet.Flow) -> None:
        self._answer("opened", flow)

    def outbound(self, flow: modnet.Flow, data: memoryview) -> Any:
        return self._answer("outbound", flow, data)

    def inbound(self, flow: modnet.Flow, data: memoryview) -> Any:
        return self._answer("inbound", flow, data)

    def outbound_end(self, flow: modnet.Flow) -> Any:
        return self._answer("outbound_end", flow)

    def inbound_end(self, flow: modnet.Flow) -> Any:
        return self._answer("inbound_end", flow)

    def closed(self, flow: modnet.Flow) -> None:
        self._answer("closed", flow)


def upper(hook: str, flow: Any, data: memoryview | None) -> Any:
    return None if data is None else bytes(data).upper()


def keep_all(hook: str, flow: Any, data: memoryview | None) -> Any:
    if hook == "opened":
        flow.kept = {"outbound": b"", "inbound": b""}
    elif data is not None:
        flow.kept[hook] += data
        return b""
    elif hook.endswith("_end"):
        return flow.kept[hook.removesuffix("_end")]
    return None


def each_kind_of_bytes(hook: str, flow: Any, data: memoryview | None) -> Any:
    if data is None:
        return bytearray(b"end") if hook.endswith("_end") else None
    return bytearray(data) if hook == "outbound" else data[1:]


def forward_in(event: str, direction: str) -> Callable[..., Any]:
    def act(hook: str, flow: Any, data: memoryview | None) -> Any:
        if hook == event:
            flow.forward(direction)
        return None if data is None else bytes(data).upper()

    return act


def reset_in(event: str) -> Callable[..., Any]:
    def act(hook: str, flow: Any, data: memoryview | None) -> Any:
        if hook == event:
            flow.reset()
        return data

    return act


def fail_in(event: str) -> Callable[..., Any]:
    def act(hook: str, flow: Any, data: memoryview | None) -> Any:
        if hook == event:
            raise KeyError(event)
        return data

    return act


def wrong_from(event: str, result: Any) -> Callable[..., Any]:
    def act(hook: str, flow: Any, data: memoryview | None) -> Any:
        return result if hook == event else data

    return act


HOOKS = ["opened", "outbound", "inbound", "outbound_end", "inbound_end"]
ACTS: dict[str, Callable[..., Any] | None] = {
    "identity": None,
    "upper": upper,
    "keep until the end": keep_all,
    "each kind of bytes": each_kind_of_bytes,
    **{
        f"forward {way} in {hook}": forward_in(hook, way)
        for hook in HOOKS
        for way in ("outbound", "inbound", "both")
    },
    **{f"reset in {hook}": reset_in(hook) for hook in HOOKS},
    **{f"fail in {hook}": fail_in(hook) for hook in [*HOOKS, "closed"]},
    "None from outbound": wrong_from("outbound", None),
    "str from inbound": wrong_from("inbound", "text"),
    "str from outbound_end": wrong_from("outbound_end", "text"),
}


@pytest.mark.parametrize("on_error", ["pass", "reset"])
@pytest.mark.parametrize("name", ACTS)
def test_the_engine_does_what_the_playback_does(name: str, on_error: Any, runtime: Path) -> None:
    played, real = Recorded(ACTS[name]), Recorded(ACTS[name])
    played.on_error = real.on_error = on_error
    playback = Playback(played, strict=False)
    expected = {"outbound": b"", "inbound": b""}
    ended = set()
    with stage(real, runtime) as running:
        wire = running.flow()
        # Not more than a beginning is compared: a flow that was reset may be closed by now.
        wait_until(lambda: real.calls[:1] == played.calls, "opened")
        for event, data in EVENTS:
            way = event.removesuffix("_end")
            if playback.was_reset:
                break
            expected[way] += getattr(playback, event)(*([data] if data else []))
            wire.send(way, data) if data else wire.end(way)
            if playback.was_reset:
                break
            if not data:
                ended.add(way)

            def same() -> bool:
                return wire.has(**expected) and real.calls[: len(played.calls)] == played.calls

            wait_until(same, f"{played.calls} and {expected}, not {real.calls} and {wire.got}")
        playback.closed()
        wait_until(lambda: len(real.calls) >= len(played.calls), f"{played.calls[-1]} after {real.calls}")
        wait_until(wire.is_over, f"the end of both directions, not only {wire.ended}")
    assert real.calls == played.calls
    assert wire.got == expected
    assert wire.ended["outbound"] == ("reset" if playback.was_reset and "outbound" not in ended else "eof")
    assert [failed[:2] for failed in real.failures] == [
        (hook, type(error)) for hook, error in playback.failures
    ]


def test_a_wrong_result_is_told_with_what_to_return(runtime: Path, caplog: pytest.LogCaptureFixture) -> None:
    module = Recorded(wrong_from("outbound", None))
    with stage(module, runtime) as running:
        running.flow().send("outbound", b"x")
        wait_until(lambda: module.failures, "the failure")
    hook, kind, said = module.failures[0]
    assert (hook, kind) == ("outbound", TypeError)
    assert "return" in said
    assert "Recorded.outbound failed on flow" in caplog.text


def test_the_flow_tells_about_itself(runtime: Path) -> None:
    told: list[Any] = []

    def act(hook: str, flow: Any, data: memoryview | None) -> Any:
        if hook == "closed":
            told.append((flow.bytes_outbound, flow.bytes_inbound))
        elif hook == "opened":
            assert isinstance(flow, _native.Flow)
            told.append((flow.peer, flow.local, flow.application, flow.chain, flow.position, flow.opened_at))
        return data

    module = Recorded(act)
    with stage(module, runtime) as running:
        wire = running.flow()
        wire.send("outbound", b"one")
        wire.send("inbound", b"three")
        wait_until(lambda: wire.has(outbound=b"one", inbound=b"three"), "both")
        wire.end("outbound")
        wire.end("inbound")
        wait_until(lambda: len(told) == 2, "closed")
    peer, local, application, chain, position, opened_at = told[0]
    assert peer[0] == local[0] == "127.0.0.1"
    assert peer != local
    assert (application, chain, position) == (os.getpid(), ("m",), 0)
    assert abs(time.time() - opened_at) < 60
    assert told[1] == (3, 5)


def test_hooks_left_alone_are_never_called(runtime: Path) -> None:
    class Opened(Recorded):
        @classmethod
        def hooks(cls) -> frozenset[str]:
            return frozenset({"opened"})

    module = Opened()
    with stage(module, runtime) as running:
        wire = running.flow()
        wire.send("outbound", b"one")
        wait_until(lambda: wire.has(outbound=b"one"), "the bytes")
        wire.end("outbound")
        wire.end("inbound")
        wait_until(lambda: wire.is_over(), "the end")
    assert module.calls == [("opened", None)]


def test_data_cannot_be_read_after_the_call(runtime: Path) -> None:
    kept: list[memoryview] = []

    def act(hook: str, flow: Any, data: memoryview | None) -> Any:
        if data is not None:
            assert data.readonly
            kept.append(data)
        return data

    module = Recorded(act)
    with stage(module, runtime) as running:
        wire = running.flow()
        wire.send("outbound", b"one")
        wait_until(lambda: wire.has(outbound=b"one"), "the bytes")
        with pytest.raises(ValueError):
            bytes(kept[0])


def test_a_limit_takes_its_time(runtime: Path) -> None:
    def act(hook: str, flow: Any, data: memoryview | None) -> Any:
        if hook == "opened":
            flow.limit("outbound", 50_000, 10_000)
        return data

    module = Recorded(act)
    with stage(module, runtime) as running:
        wire = running.flow()
        wait_until(lambda: module.calls, "opened")
        began = time.monotonic()
        wire.send("outbound", bytes(30_000))
        wait_until(lambda: wire.has(outbound=bytes(30_000)), "the bytes")
        # 20,000 bytes after the burst at 50,000 a second; never sooner, and not much later.
        assert 0.35 < time.monotonic() - began < 5


@pytest.mark.parametrize(
    "call",
    [
        lambda flow: flow.forward("up"),
        lambda flow: flow.limit("up", 1, 1),
        lambda flow: flow.limit("both", 0, 1),
        lambda flow: flow.limit("both", float("nan"), 1),
        lambda flow: flow.limit("both", 1, 0),
    ],
)
def test_a_wrong_argument_is_a_value_error(call: Callable[[Any], None], runtime: Path) -> None:
    raised: list[BaseException] = []

    def act(hook: str, flow: Any, data: memoryview | None) -> Any:
        if hook == "opened":
            try:
                call(flow)
            except BaseException as error:
                raised.append(error)
        return data

    module = Recorded(act)
    with stage(module, runtime) as running:
        running.flow()
        wait_until(lambda: module.calls, "opened")
        wait_until(lambda: raised, "the error")
    assert isinstance(raised[0], ValueError)
