"""`modnet.testing` itself: it has the engine's rules, and it sees what is wrong."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import modnet
import pytest
from modnet._playback import PlayedFlow
from modnet.errors import UsageError
from modnet.module import Module
from modnet.testing import Playback, check_chunking, play, running

PACKAGE = Path(modnet.__file__).parent


class Trace(Module):
    """Records every call; what a hook returns or raises is given."""

    def __init__(self, **results: Any) -> None:
        super().__init__()
        self.results = results
        self.calls: list[Any] = []

    def _answer(self, hook: str, data: memoryview | None = None) -> Any:
        self.calls.append((hook, bytes(data)) if data is not None else hook)
        result = self.results.get(hook, data)
        if isinstance(result, Exception):
            raise result
        return result

    def opened(self, flow: modnet.Flow) -> None:
        self._answer("opened")

    def outbound(self, flow: modnet.Flow, data: memoryview) -> Any:
        return self._answer("outbound", data)

    def inbound(self, flow: modnet.Flow, data: memoryview) -> Any:
        return self._answer("inbound", data)

    def outbound_end(self, flow: modnet.Flow) -> Any:
        return self._answer("outbound_end")

    def inbound_end(self, flow: modnet.Flow) -> Any:
        return self._answer("inbound_end")

    def closed(self, flow: modnet.Flow) -> None:
        self._answer("closed")


def whole_flow(playback: Playback) -> list[bytes]:
    out = [playback.outbound(b"one"), playback.inbound(b"two"), playback.outbound(b"three")]
    out += [playback.outbound_end(), playback.inbound_end()]
    playback.closed()
    return out


def test_every_hook_is_called_in_order_with_a_read_only_memoryview() -> None:
    seen: list[memoryview] = []

    class Look(Trace):
        def outbound(self, flow: modnet.Flow, data: memoryview) -> Any:
            assert isinstance(data, memoryview)
            assert data.readonly
            seen.append(data)
            return super().outbound(flow, data)

    module = Look()
    assert whole_flow(Playback(module)) == [b"one", b"two", b"three", b"", b""]
    assert module.calls == [
        "opened",
        ("outbound", b"one"),
        ("inbound", b"two"),
        ("outbound", b"three"),
        "outbound_end",
        "inbound_end",
        "closed",
    ]
    with pytest.raises(ValueError, match="released"):
        bytes(seen[0])


def test_hooks_left_alone_pass_everything() -> None:
    assert whole_flow(Playback(Module())) == [b"one", b"two", b"three", b"", b""]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_bytes_may_be_returned_and_none_holds_back(kind: Any) -> None:
    results = {
        "outbound": kind(b"x"),
        "inbound": kind(b""),
        "outbound_end": kind(b"end"),
        "inbound_end": None,
    }
    assert whole_flow(Playback(Trace(**results))) == [b"x", b"", b"x", b"end", b""]


@pytest.mark.parametrize(
    ("hook", "result", "said"),
    [
        (
            "outbound",
            None,
            r"Trace\.outbound returned NoneType.*return data to pass it on, b'' to hold it back",
        ),
        ("inbound", "text", r"Trace\.inbound returned str.*return data"),
        ("outbound_end", "text", r"Trace\.outbound_end returned str.*return the last bytes, or None"),
    ],
)
def test_anything_else_is_a_type_error_that_says_what_to_return(hook: str, result: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        whole_flow(Playback(Trace(**{hook: result})))


def test_an_exception_passes_the_bytes_and_makes_the_flow_native(caplog: pytest.LogCaptureFixture) -> None:
    module = Trace(outbound=KeyError("x"))
    playback = Playback(module, strict=False)
    assert whole_flow(playback) == [b"one", b"two", b"three", b"", b""]
    assert module.calls == ["opened", ("outbound", b"one"), "closed"]
    assert [(hook, type(error)) for hook, error in playback.failures] == [("outbound", KeyError)]
    assert f"Trace.outbound failed on flow {playback.flow.id} from 192.0.2.1:40000" in caplog.text


def test_an_exception_resets_where_the_module_says_so() -> None:
    module = Trace(inbound=None)
    module.on_error = "reset"
    playback = Playback(module, strict=False)
    assert whole_flow(playback) == [b"one", b"", b"", b"", b""]
    assert playback.was_reset
    assert module.calls == ["opened", ("outbound", b"one"), ("inbound", b"two"), "closed"]


@pytest.mark.parametrize("hook", ["opened", "outbound_end", "closed"])
def test_exceptions_in_other_hooks_follow_the_same_rule(hook: str) -> None:
    playback = Playback(Trace(**{hook: KeyError()}), strict=False)
    assert whole_flow(playback) == [b"one", b"two", b"three", b"", b""]
    assert [failed for failed, _ in playback.failures] == [hook]


def test_a_failure_in_closed_resets_nothing() -> None:
    module = Trace(closed=KeyError())
    module.on_error = "reset"
    playback = Playback(module, strict=False)
    whole_flow(playback)
    assert not playback.was_reset
    assert len(playback.failures) == 1


def test_a_strict_playback_raises_what_the_hook_has_raised() -> None:
    with pytest.raises(KeyError):
        Playback(Trace(opened=KeyError()))
    playback = Playback(Trace(outbound=KeyError()))
    with pytest.raises(KeyError):
        playback.outbound(b"x")


def test_forward_takes_effect_after_what_the_hook_returns() -> None:
    class Once(Trace):
        def outbound(self, flow: modnet.Flow, data: memoryview) -> bytes:
            super().outbound(flow, data)
            flow.forward("outbound")
            return b"last"

    module = Once()
    playback = Playback(module)
    assert whole_flow(playback) == [b"last", b"two", b"three", b"", b""]
    assert playback.forwarded == {"outbound"}
    assert module.calls == ["opened", ("outbound", b"one"), ("inbound", b"two"), "inbound_end", "closed"]


def test_reset_discards_what_the_hook_returns() -> None:
    class Cut(Trace):
        def inbound(self, flow: modnet.Flow, data: memoryview) -> memoryview:
            flow.reset()
            return data

    module = Cut()
    assert whole_flow(Playback(module)) == [b"one", b"", b"", b"", b""]
    assert module.calls == ["opened", ("outbound", b"one"), "closed"]


def test_the_flow_counts_and_keeps_what_is_set_on_it() -> None:
    class Keep(Module):
        def opened(self, flow: modnet.Flow) -> None:
            flow.seen = [flow.bytes_outbound, flow.bytes_inbound]

        def inbound(self, flow: modnet.Flow, data: memoryview) -> memoryview:
            flow.seen.append(flow.bytes_inbound)
            return data

    playback = Playback(Keep(), peer=("2001:db8::1", 7), local=None)
    playback.outbound(b"one")
    playback.inbound(b"four")
    flow: Any = playback.flow
    assert flow.seen == [0, 0, 4]
    assert (flow.bytes_outbound, flow.peer, flow.local, flow.chain, flow.position) == (
        3,
        ("2001:db8::1", 7),
        None,
        ("keep",),
        0,
    )
    assert flow.id != Playback(Keep()).flow.id
    with pytest.raises(AttributeError):
        flow.peer = None


def test_limits_are_recorded_and_wrong_ones_refused() -> None:
    flow = (playback := Playback(Module())).flow
    flow.limit("both", 10, 5)
    flow.limit("inbound", None)
    assert playback.limits == {"outbound": (10, 5)}
    for arguments in [
        ("up", 1, 1),
        ("both", 0, 1),
        ("both", -1.0, 1),
        ("both", float("nan"), 1),
        ("both", 1, 0),
    ]:
        with pytest.raises(ValueError):
            flow.limit(*arguments)
    with pytest.raises(ValueError, match='direction must be "outbound", "inbound" or "both", not \'up\''):
        flow.forward("up")


def test_events_after_the_end_are_the_tests_mistake() -> None:
    playback = Playback(Module())
    playback.outbound_end()
    with pytest.raises(UsageError, match="outbound is over"):
        playback.outbound(b"x")
    playback.closed()
    with pytest.raises(UsageError, match="inbound is over"):
        playback.inbound(b"x")
    with pytest.raises(UsageError, match="closed already"):
        playback.closed()


def test_a_difference_is_shown_as_a_diff() -> None:
    class Both(Module):
        def opened(self, flow: modnet.Flow) -> None:
            flow.limit("outbound", 5, 6)

        def outbound(self, flow: modnet.Flow, data: memoryview) -> bytes:
            flow.forward()
            return b"came"

    right = [
        ("opened",),
        ("limit", "outbound", 5, 6),
        ("outbound", b"x", b"came"),
        ("forward", "both"),
        ("closed",),
    ]
    assert play(Both(), right).limits == {"outbound": (5, 6)}
    with pytest.raises(AssertionError) as caught:
        play(Both(), [("outbound", b"x", b"wanted"), ("outbound_end", b"y"), ("closed",)])
    assert str(caught.value).splitlines()[1:] == [
        "--- expected",
        "+++ came",
        "@@ -1,4 +1,6 @@",
        " opened",
        "-outbound b'x' -> b'wanted'",
        "-outbound_end -> b'y'",
        "+    limit outbound 5 6",
        "+outbound b'x' -> b'came'",
        "+    forward both",
        "+outbound_end -> b''",
        " closed",
    ]


@pytest.mark.parametrize(
    "step", [("outbound", b"x"), ("outbound", "x", "y"), ("close",), ("closed", 1), ("forward",)]
)
def test_a_step_that_is_none_is_refused(step: tuple[Any, ...]) -> None:
    with pytest.raises(UsageError, match="is no step of a script"):
        play(Module(), [step])


def test_running_stops_even_if_the_test_fails() -> None:
    class Life(Trace):
        def start(self) -> None:
            self.calls.append("start")

        def stop(self) -> None:
            self.calls.append("stop")

    module = Life()
    with pytest.raises(KeyError), running(module):
        raise KeyError
    assert module.calls == ["start", "stop"]


class Replace(Module):
    """Replaces ab by X; right only if `holding`."""

    def __init__(self, holding: bool) -> None:
        super().__init__()
        self.holding = holding

    def opened(self, flow: modnet.Flow) -> None:
        flow.held = b""

    def outbound(self, flow: modnet.Flow, data: memoryview) -> bytes:
        text = flow.held + bytes(data)
        flow.held = b"a" if self.holding and text.endswith(b"a") else b""
        return text[: len(text) - len(flow.held)].replace(b"ab", b"X")

    def outbound_end(self, flow: modnet.Flow) -> bytes:
        return flow.held


def test_chunking_is_checked_and_the_smallest_cut_shown() -> None:
    assert check_chunking(lambda: Replace(True), b"cabacaba") == b"cXacXa"
    with pytest.raises(AssertionError) as caught:
        check_chunking(lambda: Replace(False), b"cab" + b"c" * 500)
    assert "cut as b'ca', b'b" in str(caught.value)


def test_chunking_needs_no_cuts_in_short_data() -> None:
    for data in (b"", b"a", b"ab"):
        assert check_chunking(lambda: Replace(True), data) == data.replace(b"ab", b"X")
    assert check_chunking(Module, b"abc", "inbound") == b"abc"


def test_the_played_flow_has_the_members_of_the_real_one() -> None:
    tree = ast.parse((PACKAGE / "_native.pyi").read_text())
    stub = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Flow")
    wanted = {
        node.name: [argument.arg for argument in node.args.args + node.args.kwonlyargs]
        for node in stub.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }
    played = {
        name: ["self"] if isinstance(member, property) else list(inspect.signature(member).parameters)
        for name, member in vars(PlayedFlow).items()
        if not name.startswith("_")
    }
    assert played == wanted
