"""`modnet_yank` and its like in C: a module that gives back, an application, a plain socket."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from modnet import calls

from tests.calls.conftest import ROOT, compiled
from tests.lib.modnet import Modnet
from tests.lib.process import Program
from tests.revoke.scene import WINDOW, scene
from tests.revoke.stream import pattern

__all__ = ["compiled"]

MUCH = 16 << 20
LATE = "forwarder,revocable=yes"


@pytest.fixture
def shout(modnet: Modnet, compiled: Callable[..., Path]) -> Iterator[str]:
    """The name of a module in C that passes in capitals."""
    running = Program(modnet.place, [str(compiled(ROOT / "tests/revoke/c/shout.c")), "shout"], "shout")
    running.wait_for((modnet.runtime / "modules/shout/control").exists, 10, "its name")
    yield "shout"
    running.stop()


@pytest.mark.parametrize("chain", [["shout"], ["forwarder", "shout"], ["shout", LATE]])
def test_a_module_in_c_gives_back(modnet: Modnet, shout: str, chain: list[str]) -> None:
    with scene(modnet, chain) as play:
        written = play.do("fill", MUCH)
        for length in (1, 5000, 1_000_000):
            yanked = play.yank(length)
            assert yanked == pattern(written - len(yanked), len(yanked)) and len(yanked) == length
            written -= length
        assert play.finish().lower() == pattern(0, written)


def test_a_line_that_was_not_sent_is_replaced_by_a_newer_one(
    modnet: Modnet, compiled: Callable[..., Path]
) -> None:
    program = compiled(ROOT / "examples/yank.c")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    running = modnet.popen("run", "-m", LATE, "--", str(program), str(port), stdin=subprocess.PIPE)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
    client.settimeout(30)
    end = time.monotonic() + 30
    while client.connect_ex(("127.0.0.1", port)):
        assert time.monotonic() < end and running.poll() is None
        time.sleep(0.01)
    lines = [f"{number} ".ljust(4000, ".") + "\n" for number in range(2000)]
    _, errors = running.communicate("".join(lines), timeout=60)
    assert (running.returncode, errors) == (0, "")
    got = b""
    while data := client.recv(1 << 20):
        got += data
    client.close()
    news = [
        int(line.split()[0])
        for line in got.decode().splitlines(keepends=True)
        if line in lines[int(line.split()[0])]
    ]
    assert len(news) == got.count(b"\n") and news == sorted(set(news)) and news[-1] == 1999
    # The path takes a window's worth or two; of all the others only the newest was kept.
    assert len(news) < 1000


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection that no module has; the far end's window is small."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.socket()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
        far.connect(listener.getsockname())
        near, _ = listener.accept()
    with near, far:
        yield near, far


@pytest.mark.root
def test_a_plain_socket_gives_back_what_the_kernel_has_not_sent(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    near, far = pair
    near.setblocking(False)
    written = 0
    while True:
        try:
            written += near.send(pattern(written, 65536))
        except BlockingIOError:
            break
    yanked = calls.yank(near.fileno(), 100_000)
    assert yanked == pattern(written - 100_000, 100_000)
    assert calls.yank(near.fileno(), 10, calls.PEEK) == pattern(written - 100_010, 10)
    near.close()
    got = bytearray()
    while data := far.recv(1 << 20):
        got += data
    assert got == pattern(0, written - 100_000)


def test_a_plain_socket_has_no_lock(pair: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(OSError, match="RevocableSocket") as refused:
        calls.yank(pair[0].fileno(), 1, calls.PEEK, calls.YANK_LOCK)
    assert refused.value.errno == errno.EOPNOTSUPP


def test_what_is_no_socket_or_nonsense_is_refused(pair: tuple[socket.socket, socket.socket]) -> None:
    near, _ = pair
    with Path("/dev/null").open() as file, pytest.raises(OSError, match="not a socket") as refused:
        calls.yank(file.fileno(), 1)
    assert refused.value.errno == errno.ENOTSOCK
    for arguments in ((-1,), (1, 2), (1, 0, 3), (1, 0, 0, 2)):
        with pytest.raises(OSError) as refused:
            calls.yank(near.fileno(), *arguments)
        assert refused.value.errno == errno.EINVAL
    closed = os.dup(0)
    os.close(closed)
    with pytest.raises(OSError) as refused:
        calls.yank(closed, 1)
    assert refused.value.errno == errno.EBADF
    with pytest.raises(BlockingIOError):
        calls.yank_request(near.fileno())
