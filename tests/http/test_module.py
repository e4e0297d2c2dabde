"""Modules of messages, played without sockets: what hooks are given, what they may do, what follows."""

from __future__ import annotations

import time
import zlib
from typing import Any

import modnet
import pytest
from modnet import http
from modnet._check import check_module
from modnet.errors import UsageError
from modnet.testing import Playback, play

ASKED = b"GET /x HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n"


def answer(body: bytes = b"hello", *fields: str) -> bytes:
    """A response of HTTP/1.1 with this body and these fields."""
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunks(data: bytes) -> bytes:
    """The body of a response in chunks."""
    body, rest = b"", data.partition(b"\r\n\r\n")[2]
    while True:
        size, _, rest = rest.partition(b"\r\n")
        count = int(size, 16)
        if count == 0:
            return body
        body += rest[:count]
        rest = rest[count + 2 :]


class Act(http.Module):
    """Does what the test says."""

    def __init__(self, act: Any) -> None:
        super().__init__()
        self.act = act

    def response(self, flow: modnet.Flow, request: http.Request, response: http.Response) -> None:
        self.act(request, response)


def played(act: Any, response: bytes, request: bytes = ASKED) -> bytes:
    """What the client gets."""
    playback = Playback(Act(act))
    assert playback.inbound(request) == request
    return playback.outbound(response)


def test_a_hook_sees_the_request_and_its_response() -> None:
    seen: list[Any] = []

    def look(request: http.Request, response: http.Response) -> None:
        seen.extend((request.method, request.target, request.version, request.headers["HOST"]))
        seen.extend((response.status, response.type, response.length, response.room, response.version))

    response = answer(b"hello", "Content-Type: Text/HTML; charset=x")
    assert played(look, response) == response
    assert seen == ["GET", "/x", "HTTP/1.1", "a", 200, "text/html", 5, "body", "HTTP/1.1"]


def test_headers_are_edited_in_place_and_the_rest_stays_as_it_was_sent() -> None:
    def edit(request: http.Request, response: http.Response) -> None:
        headers = response.headers
        assert headers.all("set-cookie") == ["a=1", "b=2"]
        assert "SERVER" in headers and len(headers) == 5
        headers["server"] = "none"
        headers.add("X-Extra", "é")
        headers.discard("x-gone")
        del headers["Via"]
        assert headers.get("via") is None and headers.get("via", "x") == "x"
        with pytest.raises(KeyError):
            headers["via"]

    out = played(edit, answer(b"", "Server:  x", "set-cookie: a=1", "Set-Cookie:b=2", "Via: y"))
    assert out == (
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nServer: none\r\nset-cookie: a=1\r\nSet-Cookie:b=2\r\n"
        b"X-Extra: \xe9\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("X", "a\r\nb"), ("X y", "a"), ("", "a"), ("X", "\u20ac"), ("Content-Length", "5"), ("X", "a\0")],
)
def test_what_would_break_the_framing_is_refused(name: str, value: str) -> None:
    def edit(request: http.Request, response: http.Response) -> None:
        response.headers[name] = value

    with pytest.raises(ValueError, match=r"frames the message|no field name|one line of ISO"):
        played(edit, answer())


def test_a_body_is_changed_by_a_function() -> None:
    out = played(lambda _, response: response.body(bytes.upper), answer(b"hello", "Content-MD5: x"))
    assert out == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHELLO\r\n0\r\n\r\n"


class Doubling:
    """Holds each piece back until a flush or the end."""

    def __init__(self) -> None:
        self.held = b""

    def data(self, piece: bytes) -> bytes:
        self.held += piece
        return b""

    def flush(self) -> bytes:
        held, self.held = self.held, b""
        return held + held

    def end(self) -> bytes:
        return self.flush() + b"."


def test_a_body_is_changed_by_an_object_with_flush_and_end() -> None:
    playback = Playback(Act(lambda _, response: response.body(Doubling())))
    playback.inbound(ASKED)
    head = playback.outbound(answer(b"hello")[:-3])
    assert head.endswith(b"\r\n\r\n")
    assert playback.outbound_silence() == b"4\r\nhehe\r\n"
    assert playback.outbound_silence() == b""
    assert playback.outbound(b"llo") == b"7\r\nllollo.\r\n0\r\n\r\n"


def test_a_coding_says_what_it_did_and_decodes() -> None:
    text = b"hello " * 1000
    out = played(lambda _, response: response.encode("gzip", 6), answer(text, 'ETag: "1"'))
    head = out.partition(b"\r\n\r\n")[0]
    assert b'ETag: W/"1"' in head and b"Content-Encoding: gzip" in head and b"Content-Length" not in head
    assert zlib.decompress(chunks(out), 31) == text


def test_a_level_may_be_asked_for() -> None:
    asked: list[Any] = []

    def level(flow: Any, encoding: http.Encoding) -> int:
        asked.append((encoding.name, encoding.level, encoding.bytes_in, encoding.bytes_out, encoding.seconds))
        return 9 if encoding.bytes_in else 1

    text = bytes(range(256)) * 14000
    response = answer(text)
    out = played(lambda _, response: response.encode("gzip", level, every=0), response)
    assert zlib.decompress(chunks(out), 31) == text
    # Before the first piece twice: for the stream that is to be made, and since no time has to pass. Of the
    # last there is less than a piece.
    assert [one[2] for one in asked] == [0, *range(0, len(text) - (1 << 16), 1 << 16)]
    assert [one[1] for one in asked[:4]] == [1, 1, 1, 9]
    assert asked[-1][3] > 0 and asked[-1][4] > 0


def test_a_policy_that_takes_long_is_asked_less_often() -> None:
    asked: list[float] = []
    cost, every = 0.002, 0.001

    def level(flow: Any, encoding: http.Encoding) -> int:
        asked.append(encoding.seconds)
        begun = time.thread_time()
        while time.thread_time() - begun < cost:
            pass
        return 1

    begun = time.monotonic()
    played(lambda _, response: response.encode("gzip", level, every=every), answer(bytes(range(256)) * 14000))
    took = time.monotonic() - begun
    # At once, ten times `every` apart, and when the coding has taken 60 times as long.
    assert len(asked) <= 1 + (took - len(asked) * cost) / (10 * every) + asked[-1] / (60 * cost)


def test_a_level_that_fails_is_told_once_and_the_body_goes_on() -> None:
    def level(flow: Any, encoding: http.Encoding) -> int:
        if encoding.bytes_in:
            raise RuntimeError("no")
        return 1

    playback = Playback(Act(lambda _, response: response.encode("gzip", level, every=0.0)), strict=False)
    playback.inbound(ASKED)
    text = b"hello " * 50000
    assert zlib.decompress(chunks(playback.outbound(answer(text))), 31) == text
    assert [(hook, str(error)) for hook, error in playback.failures] == [("level", "no")]


@pytest.mark.parametrize("level", [10, -1, "6", None])
def test_a_level_is_a_number_from_0_to_9(level: Any) -> None:
    with pytest.raises(ValueError, match="level is from 0 to 9"):
        played(lambda _, response: response.encode("gzip", level), answer())


def test_a_body_that_is_coded_is_not_coded_again() -> None:
    with pytest.raises(ValueError, match="coded already"):
        played(lambda _, response: response.encode("gzip", 6), answer(b"x", "Content-Encoding: br"))


def test_head_is_answered_as_get_would_be() -> None:
    request = ASKED.replace(b"GET", b"HEAD")
    out = played(lambda _, response: response.encode("gzip", 6), answer(b"", "ETag: x"), request)
    assert out == b"HTTP/1.1 200 OK\r\nETag: x\r\nContent-Encoding: gzip\r\n\r\n"


def test_a_hook_that_fails_lets_everything_pass_from_there() -> None:
    def fail(request: http.Request, response: http.Response) -> None:
        response.headers["X"] = "half done"
        raise RuntimeError("no")

    playback = Playback(Act(fail), strict=False)
    playback.inbound(ASKED * 2)
    assert playback.outbound(answer() * 2) == answer() * 2
    assert [hook for hook, _ in playback.failures] == ["response"]
    assert playback.counters["http_opaque_given_up"] == 1


def test_a_hook_that_fails_resets_if_the_module_says_so() -> None:
    def fail(request: http.Request, response: http.Response) -> None:
        raise RuntimeError("no")

    module = Act(fail)
    module.on_error = "reset"
    playback = Playback(module, strict=False)
    playback.inbound(ASKED)
    assert playback.outbound(answer()) == b"" and playback.was_reset


def test_a_transform_that_fails_resets_since_half_of_the_message_has_gone() -> None:
    playback = Playback(Act(lambda _, response: response.body(lambda data: data.decode())), strict=False)
    playback.inbound(ASKED)
    playback.outbound(answer())
    assert playback.was_reset and playback.counters["http_broken"] == 1


def test_forward_lets_a_body_under_way_end_and_then_everything_pass() -> None:
    class Once(http.Module):
        def response(self, flow: modnet.Flow, request: http.Request, response: http.Response) -> None:
            response.body(bytes.upper)
            flow.forward()

    playback = Playback(Once())
    playback.inbound(ASKED * 2)
    first = playback.outbound(answer()[:-1])
    assert playback.outbound(b"o" + answer()) == b"1\r\nO\r\n0\r\n\r\n" + answer()
    assert first.endswith(b"4\r\nHELL\r\n")


def test_a_request_is_edited_and_its_body_changed() -> None:
    class Asking(http.Module):
        def request(self, flow: modnet.Flow, request: http.Request) -> None:
            request.headers["X-Peer"] = flow.peer[0] if flow.peer else "?"
            request.body(bytes.upper)

    playback = Playback(Asking())
    assert playback.inbound(b"POST / HTTP/1.1\r\nContent-") == b""
    assert playback.inbound(b"Length: 2\r\n\r\nhi") == (
        b"POST / HTTP/1.1\r\nX-Peer: 192.0.2.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nHI\r\n0\r\n\r\n"
    )


def test_only_what_is_wanted_enters_python() -> None:
    seen: list[int | None] = []

    class Picky(http.Module):
        def wanted(self) -> http.Wanted:
            return http.Wanted(types=("text/*",), least=10, plain=True)

        def response(self, flow: modnet.Flow, request: http.Request, response: http.Response) -> None:
            seen.append(response.length)

    playback = Playback(Picky())
    playback.inbound(ASKED * 4)
    for fields in (["Content-Type: image/png"], ["Content-Type: text/html"], ["Content-Encoding: gzip"]):
        assert playback.outbound(answer(bytes(20), *fields)) == answer(bytes(20), *fields)
    playback.outbound(answer(b"short", "Content-Type: text/html"))
    assert seen == [20]
    assert playback.counters == {
        "http_requests": 4,
        "http_responses": 4,
        "http_changed": 0,
        "http_truncated": 0,
        "http_broken": 0,
    }


def test_a_script_knows_silence() -> None:
    changed = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    play(
        Act(lambda _, response: response.body(Doubling())),
        [
            ("inbound", ASKED, ASKED),
            ("outbound", answer()[:-3], changed),
            ("outbound_silence", b"4\r\nhehe\r\n"),
            ("outbound_end",),
            ("closed",),
        ],
    )


def test_a_hook_for_bytes_is_refused_in_a_module_of_messages() -> None:
    class Wrong(http.Module):
        def outbound(self, flow: modnet.Flow, data: memoryview) -> bytes:
            return b""

    with pytest.raises(UsageError, match="outbound is never called in a module of messages: use request or"):
        check_module(Wrong, "wrong.py")


def test_a_hook_for_messages_has_its_arguments_checked() -> None:
    class Wrong(http.Module):
        def response(self, flow: modnet.Flow, response: http.Response) -> None:  # type: ignore[override]
            pass

    with pytest.raises(UsageError, match=r"write 'def response\(self, flow, request, response\)'"):
        check_module(Wrong, "wrong.py")


@pytest.mark.parametrize(
    ("field", "weights"),
    [
        (None, {}),
        ("", {}),
        ("gzip", {"gzip": 1.0}),
        ("GZIP;q=0.5, br;Q=0", {"gzip": 0.5}),
        ("x-gzip", {"gzip": 1.0}),
        ("*", {"gzip": 1.0, "zstd": 1.0, "br": 1.0}),
        ("*;q=0.2, br;q=0", {"gzip": 0.2, "zstd": 0.2}),
        ("gzip;q=what", {}),
        ("identity;q=1, *;q=0", {"identity": 1.0}),
    ],
)
def test_accept_encoding_is_read_with_its_weights(field: str | None, weights: dict[str, float]) -> None:
    assert http.accepted(field) == weights


def test_a_flow_is_yielded_before_its_first_byte_or_not_at_all() -> None:
    class Leaves(http.Module):
        def opened(self, flow: modnet.Flow) -> None:
            if flow.peer == ("192.0.2.9", 1):
                flow.yield_to("other")

        def response(self, flow: modnet.Flow, request: http.Request, response: http.Response) -> None:
            flow.yield_to("other")

    leaving = Playback(Leaves(), peer=("192.0.2.9", 1))
    assert leaving.commands == [("yield_to", ("other",), "replace")]
    playback = Playback(Leaves())
    playback.inbound(ASKED)
    with pytest.raises(OSError, match="in `opened` only"):
        playback.outbound(answer())
