"""Messages that two parsers might read in two ways: they pass as they are, are counted by their reason, and
get from every server the answer that they get natively. So the module helps nobody to smuggle a request.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http.prepared import ANSWERS
from tests.http.scripted import PREPARED
from tests.http.wire import counted, exchange
from tests.lib.users import ordinary
from tests.lib.variants import NATIVE
from tests.servers.base import Running, running
from tests.servers.catalogue import HTTP

GET = b"GET /small.txt HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nConnection: close\r\n"
POST = GET.replace(b"GET", b"POST")
EVIL = b"GET /page.html HTTP/1.1\r\nHost: evil\r\nAccept-Encoding: gzip\r\n\r\n"
# Reason, request; a server may read EVIL as a body, as a request, or not at all.
REQUESTS = {
    "both_lengths": POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + EVIL,
    "bad_length": POST + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(EVIL) + EVIL,
    "transfer_encoding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + EVIL,
    "bare_line_end": GET + b"X: y\nContent-Length: %d\r\n\r\n" % len(EVIL) + EVIL,
    "folded": GET + b"X: y\r\n Content-Length: 5\r\n\r\n" + EVIL,
    "bad_head": GET + b"Content-Length : %d\r\n\r\n" % len(EVIL) + EVIL,
    "bad_chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n" + EVIL,
    "not_http": b"GET /small.txt\r\n\r\n",
}


@pytest.fixture(scope="module")
def www(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that everybody can read."""
    folder = tmp_path_factory.mktemp("www")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)
    (folder / "small.txt").write_bytes(b"hello\n")
    (folder / "page.html").write_bytes(b"<p>evil\n" * 500)
    return folder


def answered(up: Running, request: bytes) -> bytes:
    """The answer, without what differs from one second, and one port, to the next."""
    return re.sub(rb"Date: [^\r]*|Port %d" % up.place.port, b"", exchange(up.place.port, request))


@pytest.fixture(scope="module", params=["nginx", "apache-php", "http.server", "node"])
def both(request: pytest.FixtureRequest, www: Path) -> Iterator[tuple[dict[str, bytes], Running]]:
    """What a server answers natively, and the same server behind the module."""
    server = HTTP[request.param]
    with running(server, ordinary(), NATIVE, www) as up:
        natively = {reason: answered(up, data) for reason, data in REQUESTS.items()}
    with running(server, ordinary(), "gzip", www) as up:
        yield natively, up


@pytest.mark.parametrize("reason", REQUESTS)
def test_a_doubtful_request_is_answered_as_natively(
    both: tuple[dict[str, bytes], Running], reason: str
) -> None:
    natively, through = both
    before = counted(through, f"http_opaque_{reason}")
    assert answered(through, REQUESTS[reason]) == natively[reason]
    assert counted(through, f"http_opaque_{reason}") == before + 1


@pytest.fixture(scope="module")
def prepared(www: Path) -> Iterator[Running]:
    with running(PREPARED, ordinary(), "gzip", www) as up:
        yield up


DOUBTFUL = (
    "both_lengths",
    "bad_length",
    "bare_line_end",
    "oversize",
    "transfer_encoding",
    "not_http",
    "bad_head",
    "unasked",
)


@pytest.mark.parametrize("reason", DOUBTFUL)
def test_a_doubtful_response_comes_byte_for_byte_and_is_counted(prepared: Running, reason: str) -> None:
    before = counted(prepared, f"http_opaque_{reason}")
    request = f"GET /{reason} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n".encode()
    assert exchange(prepared.place.port, request) == ANSWERS[f"/{reason}"][0]
    assert counted(prepared, f"http_opaque_{reason}") == before + 1
