"""What hostile or slow ends can make the module hold: endless heads, unread bodies, thin bombs."""

from __future__ import annotations

import gc
import os
import select
import tempfile
import zlib
from pathlib import Path

from modnet.modules.gzip import Gzip
from modnet.testing import Playback

from tests.http.test_module import chunks
from tests.sdk.engine import Wire, stage, wait_until

ASKED = b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n"
MB = 1 << 20


def resident() -> int:
    """Bytes of memory of this process, which holds module and engine."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def gzip() -> Gzip:
    return Gzip(Gzip.Settings(level=6))


def test_a_head_of_100_mb_is_passed_and_not_kept() -> None:
    for way in ("inbound", "outbound"):
        playback = Playback(gzip())
        if way == "outbound":
            playback.inbound(ASKED)
        begin = b"GET / HTTP/1.1\r\nX: " if way == "inbound" else b"HTTP/1.1 200 OK\r\nX: "
        send = playback.inbound if way == "inbound" else playback.outbound
        passed, before = len(send(begin)), resident()
        for _ in range(100):
            passed += len(send(bytes(MB)))
        assert passed == len(begin) + 100 * MB
        assert resident() - before < 16 * MB
        assert playback.counters["http_opaque_oversize"] == 1


def test_a_head_that_comes_byte_by_byte_goes_on_as_it_comes() -> None:
    playback = Playback(gzip())
    assert b"".join(playback.inbound(bytes([byte])) for byte in ASKED) == ASKED


def test_a_body_that_expands_a_thousandfold_is_not_held() -> None:
    playback = Playback(gzip())
    playback.inbound(ASKED)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {200 * MB}\r\n\r\n"
    out, before = len(playback.outbound(head.encode())), resident()
    for _ in range(200):
        out += len(playback.outbound(bytes(MB)))
    assert out < MB and resident() - before < 16 * MB


def shown(runtime: Path) -> Path:
    """As a runtime directory has to be."""
    runtime.chmod(0o711)
    return runtime


def fill(wire: Wire, piece: bytes, most: int) -> int:
    """Sends until there has been no room for half a second, or so much."""
    sent = 0
    while sent < most and select.select([], [wire.application], [], 0.5)[1]:
        sent += wire.application.send(piece)
    return sent


def test_a_client_that_never_reads_holds_its_own_server_up_and_nobody_else() -> None:
    noise = os.urandom(MB)
    with tempfile.TemporaryDirectory() as name, stage(gzip(), shown(Path(name))) as running:
        stuck, other = running.flow(), running.flow()
        for wire in (stuck, other):
            wire.send("inbound", ASKED)
            wait_until(lambda wire=wire: wire.has(inbound=ASKED), "the request")
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n"
        stuck.send("outbound", head % (1000 * MB))
        before = resident()
        taken = fill(stuck, noise, 100 * MB)
        # The kernel's buffers, one read and what became of it; not what the server would like to send.
        assert taken < 50 * MB and resident() - before < 16 * MB
        text = b"hello " * 1000
        other.send("outbound", head % len(text) + text)
        wait_until(
            lambda: other.read() or other.got["outbound"].endswith(b"0\r\n\r\n"), "the other's response"
        )
        assert zlib.decompress(chunks(other.got["outbound"]), 31) == text
