"""examples/late_news.py: a reader that does not keep up gets whole lines, in order, the newest at the end."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.lib.place import free_port
from tests.revoke.pairs import PATIENCE

EXAMPLE = Path(__file__).parents[2] / "examples/late_news.py"
# More than path and kernel take.
LINES = 20_000
PADDING = "x" * 80


def test_it_is_at_most_forty_lines() -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 40


def test_a_reader_that_does_not_keep_up_gets_the_newest_line() -> None:
    port = free_port()
    argv = [sys.executable, str(EXAMPLE), str(port)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as server:
        assert server.stdin is not None
        try:
            with _slow(port) as slow, slow.makefile("rb") as lines:
                assert lines.readline() == b"welcome\n"
                for number in range(LINES):
                    server.stdin.write(b"%d %s\n" % (number, PADDING.encode()))
                server.stdin.write(b"the newest\n")
                server.stdin.flush()
                heard = []
                while not heard or heard[-1] != b"the newest\n":
                    heard.append(lines.readline())
        finally:
            server.kill()
    numbers = [int(line.split()[0]) for line in heard[:-1]]
    assert all(line == b"%d %s\n" % (n, PADDING.encode()) for n, line in zip(numbers, heard, strict=False))
    assert numbers == sorted(set(numbers))
    assert 3 < len(numbers) < LINES / 2, "most were replaced"


def _slow(port: int) -> socket.socket:
    """A connection that takes little it does not read, to a server that may be just starting."""
    end = time.monotonic() + PATIENCE
    while True:
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(PATIENCE)
        if slow.connect_ex(("127.0.0.1", port)) == 0:
            return slow
        slow.close()
        assert time.monotonic() < end, "the server does not start"
        time.sleep(0.01)
