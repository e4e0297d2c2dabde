"""Programs stand at their places while somebody reads, whoever dies, and at no other time."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.inspect.conftest import Enabled, run_python
from tests.lib.process import until
from tests.lib.users import ordinary

pytestmark = pytest.mark.root
PLACED = {"probed", "calmed", "resent", "changed", "called"}

# Takes orders by lines: `open` a connection and read its state, `send` on it and say how much is seen,
# `close` it; `fork`, and let the child do so with a connection of its own.
READER = """
import json, os, socket, sys
from modnet import calls
listener = socket.create_server(("127.0.0.1", 0))

def opened():
    client = socket.create_connection(listener.getsockname())
    server = listener.accept()[0]
    return client, server, calls.map_state(server.fileno())

def sent():
    before = tcp.write_seq
    server.sendall(b"x" * 1000)
    client.recv(1000, socket.MSG_WAITALL)
    return [tcp.source, tcp.reason, (tcp.write_seq - before) & 0xffffffff]

for order in sys.stdin:
    told = None
    match order.strip():
        case "open":
            client, server, tcp = opened()
            told = [tcp.source, tcp.reason]
        case "send":
            told = sent()
        case "close":
            tcp = None
            client.close()
            server.close()
        case "fork":
            ours, its = os.pipe()
            if os.fork() == 0:
                client, server, tcp = opened()
                os.write(its, json.dumps(sent()).encode())
                os._exit(0)
            told = json.loads(os.read(ours, 1000))
            os.wait()
    print(json.dumps(told), flush=True)
"""


class Reader:
    """A process that reads when it is told to."""

    def __init__(self, place: Enabled) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", READER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=place.environment | {"MODNET_INSPECT": "auto"},
        )

    def __call__(self, order: str) -> object:
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def links(self) -> int:
        """Programs that this process keeps at their places."""
        found = 0
        for entry in Path(f"/proc/{self.process.pid}/fd").iterdir():
            # It closes others meanwhile.
            with suppress(FileNotFoundError):
                target = str(entry.readlink())
                found += "bpf_link" in target or "bpf-link" in target
        return found


@contextmanager
def readers(place: Enabled, count: int) -> Iterator[list[Reader]]:
    all_of_them = [Reader(place) for _ in range(count)]
    try:
        yield all_of_them
    finally:
        for one in all_of_them:
            one.process.kill()
            one.process.communicate()


def attended(place: Enabled) -> bool:
    return bool(place.counters()["attended"])


def test_programs_stand_there_while_somebody_reads(enabled):
    assert not attended(enabled)
    with readers(enabled, 1) as [reader]:
        assert reader("open") == ["bpf", None]
        assert attended(enabled) and reader.links() == len(PLACED)
        assert reader("send") == ["bpf", None, 1000]
        reader("close")
        until(lambda: not attended(enabled), 10, "the programs leave")
        assert reader.links() == 0
        # And once more.
        assert reader("open") == ["bpf", None]
        assert reader("send") == ["bpf", None, 1000]
    assert not attended(enabled)


def test_one_process_places_them_and_another_when_it_is_killed(enabled):
    with readers(enabled, 4) as all_of_them:
        for reader in all_of_them:
            assert reader("open") == ["bpf", None]
        living = list(all_of_them)
        while living:
            (keeper,) = [reader for reader in living if reader.links()]
            assert keeper.links() == len(PLACED)
            for reader in living:
                assert reader("send") == ["bpf", None, 1000]
            living.remove(keeper)
            keeper.process.kill()
            keeper.process.wait()
            if living:
                until(
                    lambda: any(reader.links() == len(PLACED) for reader in living), 10, "another places them"
                )
    counters = enabled.counters()
    assert not counters["attended"] and counters["in_use"] == counters["lost"] == 0


def test_a_socket_that_is_read_again_after_a_rest_is_not_as_it_was_then(enabled):
    """Its slot is there still, written by nobody in between."""
    script = (
        READER.partition("for order")[0]
        + """
import time
def attended():
    from modnet import inspection
    return inspection.status().counters["attended"]
client, server, tcp = opened()
first = sent()
tcp = None
while attended():
    time.sleep(0.02)
server.sendall(b"y" * 5000)
client.recv(5000, socket.MSG_WAITALL)
tcp = calls.map_state(server.fileno())
info = server.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)
acked = int.from_bytes(info[120:128], "little")
print(json.dumps([first, tcp.source, tcp.bytes_acked, acked, sent()]))
"""
    )
    first, source, acked, truth, then = run_python(
        script, MODNET_INSPECT="bpf", MODNET_BPF_DIR=str(enabled.directory)
    )
    assert (first, source) == (["bpf", None, 1000], "bpf")
    assert acked == truth > 5000
    assert then == ["bpf", None, 1000]


def test_a_child_reads_as_its_parent_does(enabled):
    with readers(enabled, 2) as [keeper, other]:
        assert keeper("open") == other("open") == ["bpf", None]
        for reader in (keeper, other):
            assert reader("fork") == ["bpf", None, 1000]
        keeper.process.kill()
        keeper.process.wait()
        until(lambda: other.links() == len(PLACED), 10, "the other places them")
        assert other("fork") == other("send") == ["bpf", None, 1000]


def test_a_user_of_the_group_places_them_too(place):
    user = ordinary()
    place.enable("--group", str(user.gid))
    script = READER.partition("for order")[0] + "client, server, tcp = opened()\nprint(json.dumps(sent()))\n"
    assert run_python(script, user=user, MODNET_BPF_DIR=str(place.directory)) == ["bpf", None, 1000]


def test_disable_takes_them_away_from_whoever_has_placed_them(enabled):
    with readers(enabled, 2) as both:
        for reader in both:
            assert reader("open") == ["bpf", None]
        enabled.disable()
        until(lambda: not any(reader.links() for reader in both), 10, "they let go")
        for reader in both:
            source, reason, _ = reader("send")
            assert (source, reason) == ("sampled", "it is not enabled on this machine")
        enabled.enable("--check")
        for reader in both:
            reader("close")
            until(lambda: reader("open") == ["bpf", None], 10, "the new ones")  # noqa: B023 - called here
            assert reader("send") == ["bpf", None, 1000]
