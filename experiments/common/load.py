"""The client: one round of load by wrk, and a single request that shows whether a server answers rightly.

Rules: an error that wrk counted stands in the sample; nobody drops it. It must not start servers.
wrk's latency runs from the first byte of a request to the last of its response; the time to connect is in the
throughput.
"""

from __future__ import annotations

import hashlib
import json
import math
import signal
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.common.errors import ExperimentError
from experiments.net import Host

CONNECTIONS = 64
_SCRIPT = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True)
class Load:
    """What wrk saw in one round."""

    duration_s: float
    requests: int
    received: int
    p50_us: float
    p99_us: float
    errors: dict[str, int]


def run(
    client: Host,
    url: str,
    keep_alive: bool,
    duration_s: float,
    connections: int = CONNECTIONS,
    fields: Sequence[str] = (),
) -> Load:
    """Loads `url` from the client's core by so many connections, for `duration_s` seconds."""
    argv = ["wrk", "-t1", f"-c{connections}", "--timeout", "10s", "-s", str(_SCRIPT)]
    # wrk takes whole seconds and stops early, in good order, at SIGINT; the limit is for the case that we are
    # killed.
    fields = (*fields, *(() if keep_alive else ("Connection: close",)))
    argv += ["-d", f"{math.ceil(duration_s) + 5}s", *(part for one in fields for part in ("-H", one)), url]
    wrk = client.popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        wrk.wait(duration_s)
    except subprocess.TimeoutExpired:
        wrk.send_signal(signal.SIGINT)
    out, error = wrk.communicate()
    return parse(out, error)


def parse(out: str, error: str) -> Load:
    """Reads the line that wrk.lua printed."""
    lines = [line for line in out.splitlines() if line.startswith("{")]
    if len(lines) != 1:
        raise ExperimentError(f"wrk gave no result: {(error or out).strip()[:200]}")
    result = json.loads(lines[0])
    return Load(
        duration_s=result["duration_us"] / 1e6,
        requests=result["requests"],
        received=result["bytes"],
        p50_us=result["p50_us"],
        p99_us=result["p99_us"],
        errors={kind: count for kind, count in result["errors"].items() if count},
    )


def probe(client: Host, port: int, address: str, path: str, keep_alive: bool) -> tuple[int, str]:
    """Makes one request as wrk does; answers the length, header included, and the body's SHA-256."""
    wish = "" if keep_alive else "Connection: close\r\n"
    request = f"GET {path} HTTP/1.1\r\nHost: {address}:{port}\r\n{wish}\r\n"
    with client.entered():
        connection = socket.create_connection((address, port), timeout=10)
    with connection:
        connection.sendall(request.encode())
        data = b""
        while True:
            head, end, body = data.partition(b"\r\n\r\n")
            if end and len(body) >= _length(head):
                break
            piece = connection.recv(1 << 20)
            if not piece:
                raise ExperimentError(f"port {port} closed after {len(data)} bytes of {path}")
            data += piece
    if not head.startswith(b"HTTP/1.1 200"):
        raise ExperimentError(
            f"port {port} answered {head.splitlines()[0].decode(errors='replace')} for {path}"
        )
    return len(data), hashlib.sha256(body).hexdigest()


def _length(head: bytes) -> int:
    for line in head.lower().splitlines():
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    raise ExperimentError("the server's answer has no Content-Length: this client needs one")
