"""Load on a page: wrk for the speed, http.client for the content.

Only 127.0.0.1 is ever asked, for a bounded time.
"""

from __future__ import annotations

import http.client
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 32

# wrk prints text meant for people; this prints the same numbers as one line of JSON at the end.
REPORT = """\
done = function(summary, latency, requests)
    local e = summary.errors
    io.write(string.format('\\n{"requests": %d, "microseconds": %d, "bytes": %d, "errors": %d}\\n',
        summary.requests, summary.duration, summary.bytes,
        e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True)
class Load:
    """One kind of load: which page, and whether connections are kept."""

    title: str
    page: str
    keep: bool


@dataclass(frozen=True)
class Result:
    """What wrk counted in one round."""

    requests: int
    seconds: float
    received: int
    errors: int

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


def drive(load: Load, port: int, seconds: float, place: Path, core: int | None) -> Result:
    """Drives one round; `core` is the client's, or None for any."""
    script = place / "report.lua"
    script.write_text(REPORT)
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "-s", str(script)]
    if core is not None:
        command = ["taskset", "--cpu-list", str(core), *command]
    if not load.keep:
        command += ["-H", "Connection: close"]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/{load.page}"],
        check=True,
        capture_output=True,
        text=True,
        timeout=seconds + 30,
    )
    counted = json.loads(done.stdout.splitlines()[-1])
    return Result(counted["requests"], counted["microseconds"] / 1e6, counted["bytes"], counted["errors"])


def fetch(page: str, port: int) -> bytes:
    """The body of one page, over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", f"/{page}", headers={"Connection": "close"})
        return connection.getresponse().read()
    finally:
        connection.close()
