"""Module gzip in front of real servers, with curl and with a client that speaks byte by byte."""

from __future__ import annotations

import hashlib
import http.client
import io
import random
import socket
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http.curl import curl
from tests.http.scripted import LIVE
from tests.http.test_module import chunks
from tests.lib.users import ordinary
from tests.servers.base import Running, running
from tests.servers.catalogue import HTTP

SERVERS = ("nginx", "apache-php", "http.server", "node")
PAGE = "".join(f"<li>{n % 97} of {n % 13}, {n * n % 1009}</li>\n" for n in range(8000)).encode()
PHOTO = random.Random(1).randbytes(300_000)
SMALL = b"hello\n"


@pytest.fixture(scope="module")
def www() -> Iterator[Path]:
    """Files that everybody can read."""
    with tempfile.TemporaryDirectory(prefix="mn-www-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for file, data in (("page.html", PAGE), ("photo.jpg", PHOTO), ("small.txt", SMALL)):
            (folder / file).write_bytes(data)
        yield folder


@pytest.fixture(scope="module", params=SERVERS)
def up(request: pytest.FixtureRequest, www: Path) -> Iterator[Running]:
    """A server behind the module."""
    with running(HTTP[request.param], ordinary(), "gzip", www) as one:
        yield one


def test_a_page_comes_compressed_and_whole(up: Running) -> None:
    headers, body, came = curl(up, "/page.html", "--compressed")
    assert hashlib.sha256(body).digest() == hashlib.sha256(PAGE).digest()
    assert headers["content-encoding"] == "gzip" and headers["vary"] == "Accept-Encoding"
    assert came < len(PAGE) / 3 and "content-length" not in headers
    assert not headers.get("etag", "W/").startswith('"')


def test_who_does_not_ask_gets_it_as_it_is(up: Running) -> None:
    headers, body, came = curl(up, "/page.html")
    assert body == PAGE and came == len(PAGE) and headers["content-length"] == str(len(PAGE))
    assert "content-encoding" not in headers and headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize(("path", "data"), [("/photo.jpg", PHOTO), ("/small.txt", SMALL)])
def test_what_does_not_shrink_stays_as_it_is(up: Running, path: str, data: bytes) -> None:
    headers, body, came = curl(up, path, "--compressed")
    assert body == data and came == len(data)
    assert "content-encoding" not in headers and "vary" not in headers


def test_head_speaks_as_get(up: Running) -> None:
    head, _, _ = curl(up, "/page.html", "--compressed", "-I")
    get, _, _ = curl(up, "/page.html", "--compressed")
    for same in ("content-encoding", "vary", "etag", "content-type", "content-length"):
        assert head.get(same) == get.get(same), same


def test_http_1_0_ends_with_the_connection(up: Running) -> None:
    headers, body, came = curl(up, "/page.html", "--compressed", "-0")
    assert body == PAGE and came < len(PAGE) / 3
    assert "transfer-encoding" not in headers and "content-length" not in headers


class Stream(io.BytesIO):
    """What came, from which one response after the other is read."""

    def makefile(self, mode: str) -> Stream:
        return self

    def close(self) -> None:
        """A response that is over closes its file."""


def test_pipelined_requests_are_answered_in_order(up: Running) -> None:
    paths = ["/page.html", "/small.txt", "/photo.jpg", "/page.html"]
    with socket.create_connection(("127.0.0.1", up.place.port), timeout=30) as client:
        for number, path in enumerate(paths):
            close = "Connection: close\r\n" if number == 3 else ""
            accept = "Accept-Encoding: gzip\r\n" if number != 3 else ""
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n{accept}{close}\r\n".encode())
        stream = Stream(client.makefile("rb").read())
        bodies = []
        for _ in paths:
            response = http.client.HTTPResponse(stream)  # type: ignore[arg-type]  # all that it asks of a socket
            response.begin()
            body = response.read()
            bodies.append(zlib.decompress(body, 31) if response.getheader("content-encoding") else body)
    assert bodies == [PAGE, SMALL, PHOTO, PAGE]


def test_an_upload_that_waits_for_100_is_taken(up: Running) -> None:
    sent = up.place.directory / "sent"
    sent.write_bytes(PHOTO)
    waits = ("--compressed", "-H", "Expect: 100-continue")
    if up.server.traits.upload == "put":
        headers, _, _ = curl(up, "/uploads/photo", *waits, "-T", str(sent))
        assert headers["status"] == "201" and (up.place.directory / "uploads/photo").read_bytes() == PHOTO
        return
    path = f"{up.server.traits.scripts}/hash{up.server.traits.suffix}"
    plain = ("-H", "Content-Type: application/octet-stream", "--data-binary", f"@{sent}")
    # The other scripts read as many bytes as are announced.
    chunked = ("-H", "Transfer-Encoding: chunked") if up.server.traits.scripts else ()
    _, body, _ = curl(up, path, *waits, *plain, *chunked)
    assert body.decode() == hashlib.sha256(PHOTO).hexdigest()


def test_ranges_and_validators_of_nginx_stay_right(www: Path) -> None:
    with running(HTTP["nginx"], ordinary(), "gzip", www) as up:
        headers, body, _ = curl(up, "/page.html", "--compressed", "-r", "100-199")
        assert headers["status"] == "206" and body == PAGE[100:200] and "content-encoding" not in headers
        tag = curl(up, "/page.html", "--compressed")[0]["etag"]
        assert tag.startswith('W/"')
        headers, _, _ = curl(up, "/page.html", "--compressed", "-H", f"If-None-Match: {tag}")
        assert headers["status"] == "304" and headers["etag"] == tag


# --- what goes on for a while ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def live(www: Path) -> Iterator[Running]:
    """node with streams."""
    with running(LIVE, ordinary(), "gzip", www) as one:
        yield one


def ask(up: Running, text: str) -> socket.socket:
    """A connection on which this was sent."""
    client = socket.create_connection(("127.0.0.1", up.place.port), timeout=30)
    client.sendall(text.replace("\n", "\r\n").encode())
    return client


def until(client: socket.socket, stream: zlib._Decompress, wanted: bytes) -> bytes:
    """Reads a response in chunks until its text ends with this; everything that came."""
    came = b""
    while True:
        piece = client.recv(65536)
        assert piece, f"ended before {wanted!r}: {came!r}"
        came += piece
        head, _, rest = came.partition(b"\r\n\r\n")
        if rest and b"gzip" in head:
            body, at = b"", rest
            while at and not at.startswith(b"0\r\n"):
                size, _, at = at.partition(b"\r\n")
                body, at = body + at[: int(size, 16)], at[int(size, 16) + 2 :]
            if stream.copy().decompress(body).endswith(wanted):
                return came


@pytest.mark.parametrize(
    ("path", "first", "last"),
    [("/events", b"data: one\n\n", b"data: two\n\n"), ("/page", b"<p>one", b"<p>two")],
)
def test_what_comes_slowly_is_not_held_back(live: Running, path: str, first: bytes, last: bytes) -> None:
    with ask(live, f"GET {path} HTTP/1.1\nHost: a\nAccept-Encoding: gzip\n\n") as client:
        came = until(client, zlib.decompressobj(31), first)
        # The server goes on only when it is told that the first part has come.
        ask(live, "GET /release HTTP/1.0\n\n").close()
        while not came.endswith(b"\r\n\r\n") or b"\r\n0\r\n" not in came:
            piece = client.recv(65536)
            assert piece
            came += piece
        assert zlib.decompress(chunks(came), 31).endswith(last)
        assert (b"\r\n0\r\nX-Sum: 600\r\n\r\n" in came) is (path == "/page")


def test_another_protocol_takes_over(live: Running) -> None:
    with ask(live, "GET / HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: capitals\n\n") as client:
        answer = client.recv(65536)
        while b"\r\n\r\n" not in answer:
            answer += client.recv(65536)
        for word in (b"GET / HTTP/1.1\r\n\r\n", b"hello"):
            client.sendall(word)
            assert client.recv(65536) == word.upper()
