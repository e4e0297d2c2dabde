"""The framer against h11: whatever it looks into, h11 reads in the same way.

Two kinds of bytes: exchanges that are right, in every form of framing; and the same with some bytes changed,
where the framer may step aside, but must not read anything that h11 reads otherwise or refuses.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import h11
import modnet
from hypothesis import event, given, settings
from hypothesis import strategies as st
from modnet import http
from modnet.testing import Playback

TOKEN = st.text("abcXYZ-09", min_size=1, max_size=8).map(lambda text: "X-" + text)
VALUE = st.text('abc ,;="09/', max_size=12).map(str.strip)
BODY = st.binary(max_size=300)
INTERIM = [b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 X\r\nLink: a\r\n\r\n"]


@dataclass
class Message:
    """What was read of one message."""

    start: tuple[Any, ...] = ()
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def plain(self) -> tuple[Any, ...]:
        # h11 makes one blank of a folded line's beginning, we keep as many as there were.
        # A length that is said twice and is the same (RFC 9110, 8.6) it shows once, we as it came.
        fields: list[tuple[str, str]] = []
        for name, value in self.headers:
            one = name.lower(), " ".join(value.split())
            if one[0] != "content-length" or one not in fields:
                fields.append(one)
        return self.start, fields, self.body


class Recorder(http.Module):
    """Writes down every message, and changes all bodies into themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Message] = []
        self.responses: list[Message] = []

    def request(self, flow: modnet.Flow, request: http.Request) -> None:
        start = (request.method, request.target, request.version)
        self.requests.append(Message(start, request.headers.items()))
        request.body(self.keep(self.requests[-1]))

    def response(self, flow: modnet.Flow, request: http.Request, response: http.Response) -> None:
        self.responses.append(Message((response.status, response.version), response.headers.items()))
        response.body(self.keep(self.responses[-1]))

    @staticmethod
    def keep(message: Message) -> Any:
        def data(piece: bytes) -> bytes:
            message.body += piece
            return piece

        return data


@dataclass(frozen=True)
class Exchange:
    """A request, its response, as bytes, and what the method is."""

    method: str
    request: bytes
    response: bytes
    closes: bool


@st.composite
def framed(draw: st.DrawFn, body: bytes, may_close: bool) -> tuple[list[str], bytes]:
    """Fields and bytes of a body."""
    how = draw(st.sampled_from(["length", "chunks", *(["close"] if may_close else [])]))
    if how == "close":
        return [], body
    if how == "length":
        return [f"content-length: {len(body)}"], body
    out, rest = b"", body
    while rest:
        count = draw(st.integers(1, len(rest)))
        extension = draw(st.sampled_from([b"", b";a=b", b';q="x;y"', b" "]))
        size = f"{count:{draw(st.sampled_from(['x', 'X', '03x']))}}".encode()
        out += size + extension + b"\r\n" + rest[:count] + b"\r\n"
        rest = rest[count:]
    trailer = draw(st.sampled_from([b"", b"X-Sum: 1\r\n"]))
    return ["Transfer-Encoding: chunked"], out + b"0\r\n" + trailer + b"\r\n"


def head(start: str, fields: list[str]) -> bytes:
    return "\r\n".join([start, *fields, "", ""]).encode("latin-1")


@st.composite
def exchanges(draw: st.DrawFn) -> list[Exchange]:
    """Some exchanges on one connection; only the last response may end with it."""
    made = []
    count = draw(st.integers(1, 4))
    for number in range(count):
        method = draw(st.sampled_from(["GET", "HEAD", "POST", "PUT", "OPTIONS"]))
        extra = [f"{n}: {v}" for n, v in draw(st.lists(st.tuples(TOKEN, VALUE), max_size=3))]
        request = head(f"{method} /{number}?q HTTP/1.1", ["Host: a", *extra])
        if method in ("POST", "PUT"):
            fields, data = draw(framed(draw(BODY), False))
            request = head(f"{method} /{number} HTTP/1.1", ["Host: a", *fields, *extra]) + data
        status = draw(st.sampled_from([200, 200, 200, 204, 304, 404, 500]))
        extra = [f"{n}: {v}" for n, v in draw(st.lists(st.tuples(TOKEN, VALUE), max_size=3))]
        fields, data = draw(framed(draw(BODY), number == count - 1))
        if status in (204, 304):
            fields, data = [], b""
        closes = not fields and status not in (204, 304) and method != "HEAD"
        if method == "HEAD":
            data = b""
        interim = draw(
            st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 X\r\nLink: a\r\n\r\n"])
        )
        response = interim + head(f"HTTP/1.1 {status} OK", [*extra, *fields]) + data
        made.append(Exchange(method, request, response, closes))
    return made


def read(connection: h11.Connection, data: bytes, closes: bool) -> Message:
    """What h11 reads of the first message, as far as it goes; raises what h11 raises."""
    connection.receive_data(data)
    if closes:
        connection.receive_data(b"")
    message = Message()
    while True:
        got = connection.next_event()
        if got is h11.NEED_DATA or isinstance(got, h11.ConnectionClosed):
            # As far as it goes.
            return message
        if isinstance(got, h11.Request):
            version = f"HTTP/{got.http_version.decode()}"
            message.start = (got.method.decode(), got.target.decode("latin-1"), version)
        elif isinstance(got, h11.Response):
            message.start = (got.status_code, f"HTTP/{got.http_version.decode()}")
        if isinstance(got, h11.Request | h11.Response):
            message.headers = [(n.decode(), v.decode("latin-1")) for n, v in got.headers.raw_items()]
        elif isinstance(got, h11.Data):
            message.body += bytes(got.data)
        elif isinstance(got, h11.EndOfMessage):
            return message


def read_request(data: bytes) -> Message:
    return read(h11.Connection(h11.SERVER), data, False)


def read_response(method: str, data: bytes, closes: bool) -> Message:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    return read(connection, data, closes)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(c % (len(data) + 1) for c in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


CUTS = st.lists(st.integers(0, 4000), max_size=6)


@settings(max_examples=100)
@given(exchanges(), CUTS)
def test_what_is_right_is_read_as_h11_reads_it_and_still_is_behind_the_module(
    made: list[Exchange], cuts: list[int]
) -> None:
    module = Recorder()
    playback = Playback(module)
    for one in made:
        sent = b"".join(map(playback.inbound, cut(one.request, cuts)))
        came = b"".join(map(playback.outbound, cut(one.response, cuts)))
        if one is made[-1]:
            sent += playback.inbound_end()
            came += playback.outbound_end()
        request = read_request(one.request)
        response = read_response(one.method, one.response, one.closes)
        assert module.requests[-1].plain() == request.plain()
        assert module.responses[-1].plain() == response.plain()
        assert read_request(sent).body == request.body
        assert read_response(one.method, came, one.closes).body == response.body
        assert not [name for name in playback.counters if "opaque" in name]
    event(f"{len(made)} exchanges")


WORDS = [
    b"\r",
    b"\n",
    b"\r\n",
    b" ",
    b":",
    b"\0",
    b"\t",
    b",",
    b"0",
    b"7",
    b"\r\n ",
    b"Content-Length: 3\r\n",
]


@st.composite
def broken(draw: st.DrawFn, data: bytes) -> bytes:
    """The same with one or two changes."""
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(data)))
        word = draw(st.sampled_from(WORDS))
        data = data[:at] + word + data[at + draw(st.integers(0, 2)) :]
    return data


def looked_into(playback: Playback) -> bool:
    """Whether the framer has not stepped aside."""
    return not playback.was_reset and not any("opaque" in name for name in playback.counters)


def leniently(reads: Callable[[bytes], Message], data: bytes) -> Message:
    """What h11 reads, also where it refuses white space before an extension (allowed: RFC 9112, 7.1.1)."""
    try:
        return reads(data)
    except h11.RemoteProtocolError:
        return reads(re.sub(rb"(?<=\r\n)([0-9A-Fa-f]+)[ \t]+(?=;)", rb"\1", data))


def test_white_space_before_a_chunks_extension_is_read() -> None:
    response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1 ;a=b\r\nx\r\n0\r\n\r\n"
    assert leniently(lambda data: read_response("GET", data, True), response).body == b"x"
    module = Recorder()
    playback = Playback(module)
    playback.inbound(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    playback.outbound(response)
    assert module.responses[0].body == b"x" and looked_into(playback)


@settings(max_examples=250)
@given(st.data())
def test_no_request_is_read_otherwise_than_h11_reads_it(data: st.DataObject) -> None:
    request = data.draw(broken(data.draw(exchanges())[0].request))
    module = Recorder()
    playback = Playback(module, strict=False)
    playback.inbound(request)
    if not looked_into(playback) or not module.requests:
        event("stepped aside")
        return
    # Two things that RFC 9112 lets a recipient decide: an empty line before, and what to say to no Host.
    try:
        theirs = leniently(read_request, request.lstrip(b"\r\n"))
    except h11.RemoteProtocolError as error:
        assert "Host: header" in str(error)
        return
    assert module.requests[0].plain() == theirs.plain()
    event("read by both")


@settings(max_examples=250)
@given(st.data())
def test_no_response_is_read_otherwise_than_h11_reads_it(data: st.DataObject) -> None:
    one = data.draw(exchanges())[-1]
    response = data.draw(broken(one.response))
    module = Recorder()
    playback = Playback(module, strict=False)
    playback.inbound(one.request)
    playback.outbound(response)
    if not looked_into(playback) or not module.responses:
        event("stepped aside")
        return
    playback.outbound_end()
    if playback.counters["http_truncated"]:
        event("cut short")
        return
    theirs = leniently(lambda data: read_response(one.method, data, True), response)
    assert module.responses[0].plain() == theirs.plain()
    event("read by both")
