"""`modnet.calls`: batches, masks, EPOLL_STEAL, apply.

The server stays on one core, so that all it accepts is in one queue.
"""

import errno
import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from modnet import calls

from tests.lib.process import until

COMMANDED = Path(__file__).parent / "commanded.py"
CORE = min(os.sched_getaffinity(0))
HERE, ELSEWHERE = 1 << CORE, 2 << CORE
SERVER = """
import os, socket, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
held = []
while True:
    held.append(listener.accept())
    print(len(held), flush=True)
"""


@pytest.fixture
def module(modnet) -> Iterator[Callable[[str], object]]:
    """A module named `mine`; called with a command, it gives the answer."""
    with subprocess.Popen(
        [sys.executable, str(COMMANDED), "mine"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=modnet.place.environment(),
    ) as running:

        def command(line: str) -> object:
            running.stdin.write(line + "\n")
            running.stdin.flush()
            return json.loads(running.stdout.readline())

        assert json.loads(running.stdout.readline()) == "ready"
        command.end = running.stdin.close
        yield command
        running.stdin.close()


@pytest.fixture
def crowd(modnet, module) -> Iterator[Callable[[int], subprocess.Popen]]:
    """A server under that module; called with a number, so many connect and are accepted."""
    server = modnet.popen("run", "-m", "mine", "--", sys.executable, "-c", SERVER, str(CORE))
    port = int(server.stdout.readline())
    clients = []

    def connect(count: int) -> subprocess.Popen:
        for _ in range(count):
            clients.append(socket.create_connection(("127.0.0.1", port)))
            server.stdout.readline()
        return server

    yield connect
    for client in clients:
        client.close()
    server.kill()
    server.communicate()


def test_batches_come_from_the_cores_of_the_mask(module, crowd):
    assert module(f"poll {HERE}") == []
    crowd(10)
    if os.cpu_count() > CORE + 1:
        assert module(f"take 64 {ELSEWHERE}") == {"errno": errno.EAGAIN}
        assert module(f"poll {ELSEWHERE}") == []
    assert module(f"poll {HERE}") == [[-HERE, calls.EPOLL_STEAL]]
    assert module(f"take 4 {HERE}") == 4
    assert module(f"poll {HERE}") == [[-HERE, calls.EPOLL_STEAL]], "level-triggered"
    assert module(f"poll {calls.ALL_CPUS}") == [[-calls.ALL_CPUS, calls.EPOLL_STEAL]]
    assert module(f"take 64 {calls.ALL_CPUS}") == 6
    assert module(f"poll {HERE}") == []
    assert module(f"take 64 {HERE}") == {"errno": errno.EAGAIN}


def test_what_was_sent_before_a_stop_is_still_taken(modnet, module, crowd):
    crowd(3)
    asked = modnet.popen("module", "stop", "mine", "--drain", "20")
    end = modnet.runtime / "modules/mine"
    while end.exists():
        assert asked.poll() is None
    assert module(f"take 64 {calls.ALL_CPUS}") == 3
    assert module(f"take 64 {calls.ALL_CPUS}") == {"errno": errno.ESHUTDOWN}
    assert module(f"poll {HERE}") == [[-HERE, calls.EPOLL_STEAL]]
    module.end()
    assert asked.communicate(timeout=30) == ("", "")
    assert asked.returncode == 0


def test_apply_to_another_process(modnet, module, crowd):
    server = crowd(1)
    assert module(f"take 64 {calls.ALL_CPUS}") == 1
    assert module(f"apply {server.pid}") is None
    crowd(1)
    assert module(f"take 64 {calls.ALL_CPUS}") == {"errno": errno.EAGAIN}
    state = Path(f"/proc/{server.pid}/stat")
    until(lambda: state.read_text().rsplit(") ")[-1][0] == "S", 30, "the server's next accept")
    assert module(f"apply {server.pid} mine absent") == {"errno": errno.ENOENT}
    assert module(f"apply {server.pid} mine") is None
    # The server waits in an accept that began without a chain; the one after it has the new one.
    crowd(2)
    assert module(f"take 64 {calls.ALL_CPUS}") == 1


@pytest.mark.parametrize("mask", [0, -1, 1 << 63])
def test_a_mask_that_is_none(mask):
    with pytest.raises(OSError) as caught:
        calls.getsockets(mask)
    assert caught.value.errno == errno.EINVAL


def test_events_that_do_not_fit():
    with calls.epoll() as events:
        for fd, mask in (
            (0, calls.EPOLL_STEAL),
            (-1, select.EPOLLIN),
            (-1, calls.EPOLL_STEAL | select.EPOLLIN),
        ):
            with pytest.raises(OSError) as caught:
                events.register(fd, mask)
            assert caught.value.errno == errno.EINVAL


def test_without_a_name():
    with pytest.raises(OSError) as caught:
        calls.getsockets()
    assert caught.value.errno == errno.ENOTCONN
