"""A policy whose answer stays while the link is idle (`until_busy`): real engine, real connection."""

from __future__ import annotations

import random
import select
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from modnet import http

from tests.http.test_limits import ASKED, shown
from tests.http.test_module import chunks
from tests.sdk.engine import Wire, stage, wait_until

EVERY = 0.002
BODY = random.Random(5).randbytes(2_000_000).hex().encode()


class Asked(http.Module):
    """Counts how often its policy is asked."""

    name = "asked"

    def __init__(self, rests: bool) -> None:
        super().__init__(None)
        self.rests = rests
        self.asked = 0

    def response(self, flow: Any, request: http.Request, response: http.Response) -> None:
        response.encode("gzip", self._level, every=EVERY)

    def _level(self, flow: Any, encoding: http.Encoding) -> int:
        self.asked += 1
        if self.rests:
            encoding.until_busy()
        return 6


def carry(wire: Wire, reads: bool) -> float:
    """The whole body through the flow; seconds. A network that does not read does so when all was taken."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
    left, begun = memoryview(head % len(BODY) + BODY), time.monotonic()
    while left:
        ends = [wire.network] if reads else []
        readable, writable, _ = select.select(ends, [wire.application], [], 20)
        assert readable or writable
        if writable:
            left = left[wire.application.send(left) :]
        if readable:
            wire.read()
    took = time.monotonic() - begun
    wait_until(lambda: wire.read() or wire.got["outbound"].endswith(b"\r\n0\r\n\r\n"), "the end of the body")
    assert zlib.decompress(chunks(wire.got["outbound"]), 31) == BODY
    return took


def asked(rests: bool, reads: bool) -> tuple[int, float]:
    module = Asked(rests)
    with tempfile.TemporaryDirectory() as name, stage(module, shown(Path(name))) as running:
        wire = running.flow()
        wire.send("inbound", ASKED)
        wait_until(lambda: wire.has(inbound=ASKED), "the request")
        took = carry(wire, reads)
    return module.asked, took


@pytest.mark.parametrize("reads", [True, False])
def test_while_the_link_is_idle_its_answer_stays(reads: bool) -> None:
    always, _ = asked(False, reads)
    seldom, took = asked(True, reads)
    if reads:
        # At the begin, twenty times as long after each other, and when this reader is late and bytes wait.
        assert took / EVERY > 10, took
        assert always > 2 * seldom, (always, seldom)
    else:
        # What waits for the link is asked about as if the answer had not been for good.
        assert seldom > always / 3, (always, seldom)
