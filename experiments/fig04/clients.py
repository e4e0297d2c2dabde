"""The clients: each downloads the report over and over, over a new connection from its own address.

Rules: a body is counted as it comes and thrown away, so that no client decodes on the core that is measured
beside; one download a variant is decoded and compared beforehand. It must not start servers.
"""

from __future__ import annotations

import asyncio
import socket
import time
import zlib
from dataclasses import dataclass

from experiments.common.errors import ExperimentError
from experiments.fig04 import links
from experiments.net import Host

_PATH = "/report.php"
_PATIENCE_S = 120.0


@dataclass(frozen=True)
class Download:
    """One report."""

    seconds: float
    received: int
    """Bytes, head included."""


async def _download(address: str, server: str, port: int, accept: str) -> tuple[Download, bytes]:
    loop = asyncio.get_running_loop()
    begun = time.monotonic()
    with socket.socket() as connection:
        connection.setblocking(False)
        connection.bind((address, 0))
        await loop.sock_connect(connection, (server, port))
        request = (
            f"GET {_PATH} HTTP/1.1\r\nHost: report\r\nAccept-Encoding: {accept}\r\nConnection: close\r\n\r\n"
        )
        await loop.sock_sendall(connection, request.encode())
        received, begin, end = 0, b"", b""
        while piece := await loop.sock_recv(connection, 1 << 18):
            received += len(piece)
            begin = begin if len(begin) > 4096 else begin + piece[:4097]
            end = (end + piece)[-16:]
    if not begin.startswith(b"HTTP/1.1 200") or not end.endswith(b"0\r\n\r\n"):
        raise ExperimentError(f"port {port} gave no whole report: {begin[:60]!r} … {end!r}")
    return Download(time.monotonic() - begun, received), begin


async def _client(number: int, server: str, port: int, accept: str, count: int) -> list[Download]:
    return [(await _download(links.address(number), server, port, accept))[0] for _ in range(count)]


def run(host: Host, server: str, port: int, accept: str, clients: int, count: int) -> list[Download]:
    """All clients at once, `count` downloads each."""

    async def all_of_them() -> list[Download]:
        tasks = (_client(number, server, port, accept, count) for number in range(clients))
        found = await asyncio.wait_for(asyncio.gather(*tasks), _PATIENCE_S)
        return [download for downloads in found for download in downloads]

    with host.entered():
        return asyncio.run(all_of_them())


def fetch(host: Host, server: str, port: int, accept: str) -> tuple[str, bytes]:
    """One report: its coding, and what it decodes to; zstd's is not decoded (Python 3.11 cannot)."""
    with host.entered(), socket.create_connection((server, port), timeout=60) as connection:
        request = (
            f"GET {_PATH} HTTP/1.1\r\nHost: report\r\nAccept-Encoding: {accept}\r\nConnection: close\r\n\r\n"
        )
        connection.sendall(request.encode())
        came = b"".join(iter(lambda: connection.recv(1 << 18), b""))
    head, _, rest = came.partition(b"\r\n\r\n")
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        count = int(size, 16)
        body, rest = body + rest[:count], rest[count + 2 :]
        if not count:
            break
    fields = [line.partition(b": ") for line in head.lower().split(b"\r\n")]
    coding = next((value.decode() for name, _, value in fields if name == b"content-encoding"), "identity")
    return coding, zlib.decompress(body, 31) if coding == "gzip" else body
