"""Item by item of what HTTP allows, through module gzip: node, prepared answers, curl.

The rest of the list: test_servers.py (HEAD, lengths, pipelining, 100-continue, ranges, events, trailers),
test_browser.py (WebSocket), test_tunnels.py (CONNECT, HTTP/2), test_doubtful.py.
"""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator

import pytest

from tests.http.curl import asked, curl
from tests.http.prepared import ANSWERS, TEXT
from tests.http.scripted import ITEMS, PREPARED
from tests.http.wire import exchange
from tests.lib.users import ordinary
from tests.servers.base import Running, running


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(ITEMS, ordinary(), "gzip", tmp_path_factory.mktemp("www")) as up:
        yield up


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(PREPARED, ordinary(), "gzip", tmp_path_factory.mktemp("www")) as up:
        yield up


@pytest.fixture(scope="module")
def codings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """With all three codings, zstd first."""
    with running(ITEMS, ordinary(), "codings", tmp_path_factory.mktemp("www")) as up:
        yield up


def fields(lines: list[str]) -> dict[str, str]:
    return {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}


def test_hints_come_before_the_response_that_is_compressed(node: Running) -> None:
    before, lines, body, came = asked(node, "/hints", "--compressed")
    assert [line.split()[1] for line in before] == ["103", "102"]
    assert lines[0].startswith("HTTP/1.1 200") and fields(lines)["content-encoding"] == "gzip"
    assert body == TEXT and came < len(TEXT) / 3


@pytest.mark.parametrize(("path", "status"), [("/empty", 204), ("/same", 304)])
def test_what_has_no_body_gets_none(node: Running, path: str, status: int) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", node.place.port, timeout=30)) as client:
        client.request("GET", path, headers={"Accept-Encoding": "gzip"})
        response = client.getresponse()
        assert (response.status, response.headers["ETag"], response.read()) == (status, '"1"', b"")
        assert not {"Content-Encoding", "Transfer-Encoding", "Content-Length"} & set(response.headers)
        # What follows on the connection shows that nothing was left on it.
        client.request("GET", "/text")
        assert client.getresponse().read() == TEXT


def test_fields_keep_order_and_case_and_cookies_their_number(node: Running) -> None:
    _, lines, body, _ = asked(node, "/fields", "--compressed")
    assert body == TEXT
    ours = ("Vary", "Content-Encoding", "Transfer-Encoding", "Date", "Connection", "Keep-Alive")
    kept = [line for line in lines[1:] if line.split(":")[0] not in ours]
    assert kept == [
        "X-First: 1",
        "sEt-CookIe: a=1",
        'ETag: W/"1"',
        "Set-Cookie: b=2; Path=/",
        "Content-Type: text/html",
        "x-LAST: z",
    ]


def test_what_is_not_to_be_transformed_or_is_coded_stays(node: Running) -> None:
    headers, body, came = curl(node, "/untransformed", "--compressed")
    assert body == TEXT and came >= len(TEXT) and "content-encoding" not in headers
    headers, body, came = curl(node, "/coded", "--compressed")
    assert body == TEXT and headers["content-length"] == str(came) and "vary" not in headers


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip;q=0", None),
        ("identity, gzip;q=0.5", None),
        ("br", "br"),
        ("gzip", "gzip"),
        ("gzip, br, zstd", "zstd"),
        ("gzip, br, zstd;q=0.9", "br"),
        ("gzip;q=0.001", "gzip"),
        ("*, zstd;q=0", "br"),
    ],
)
def test_the_clients_weights_are_honoured(codings: Running, accept: str, coding: str | None) -> None:
    headers, body, came = curl(codings, "/text", "--compressed", "-H", f"Accept-Encoding: {accept}")
    assert body == TEXT and headers.get("content-encoding") == coding
    assert headers["vary"] == "Accept-Encoding" and (came < len(TEXT) / 3) is (coding is not None)


@pytest.mark.parametrize("path", ["/extensions", "/folded", "/close", "/1.0"])
def test_every_framing_is_compressed(prepared: Running, path: str) -> None:
    _, lines, body, came = asked(prepared, path, "--compressed")
    assert body == TEXT and came < len(TEXT) / 3
    head = "\n".join(lines)
    assert "Content-Encoding: gzip" in head
    assert ("Transfer-Encoding: chunked" in head) is (path in ("/extensions", "/folded"))
    if path == "/folded":
        # Folded as it was.
        assert "X-Long: one\n\ttwo\n   three\n" in head


def test_what_is_not_touched_comes_byte_for_byte(prepared: Running) -> None:
    request = b"GET /picture HTTP/1.1\r\nhOST:a\r\nAccept-Encoding: gzip\r\n\r\n"
    assert exchange(prepared.place.port, request) == ANSWERS["/picture"][0]
