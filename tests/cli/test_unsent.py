"""What has not been sent, and what was taken back, as `modnet ps` and `modnet top` show it."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.lib.modnet import Modnet
from tests.lib.process import until

# Writes 2 MB to its client, and takes as many bytes back as each line of its input says.
SERVER = """
import socket, sys
from modnet import calls
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
connection, _ = listener.accept()
connection.sendall(bytes(2_000_000))
for line in sys.stdin:
    print(len(calls.yank(connection.fileno(), int(line))), flush=True)
"""
# More than a client takes that does not read: some megabytes of windows and buffers.
WRITTEN = 2_000_000


class Scene:
    """A server behind two modules, and a client that reads nothing."""

    def __init__(self, modnet: Modnet, process, client: socket.socket) -> None:
        self.modnet, self.process, self.client = modnet, process, client

    def yank(self, length: int) -> None:
        self.process.stdin.write(f"{length}\n")
        self.process.stdin.flush()
        assert int(self.process.stdout.readline()) == length

    def flows(self) -> dict[str, dict]:
        """What `top` shows, by module."""
        shown = json.loads(self.modnet("top", "--json", "--interval", "0.1").stdout)["flows"]
        return {flow["module"]: flow for flow in shown}

    def modules(self) -> dict[str, dict[str, str]]:
        """The lines of `ps`, by module."""
        lines = [line.split() for line in self.modnet("ps").stdout.split("\n\n")[1].splitlines()]
        return {line[0]: dict(zip(lines[0], line, strict=True)) for line in lines[1:]}


@pytest.fixture
def scene(modnet: Modnet) -> Iterator[Scene]:
    words = ("run", "-m", "forwarder", "-m", "forwarder,as=late,revocable=yes", "--")
    with (
        modnet.popen(*words, sys.executable, "-c", SERVER, stdin=subprocess.PIPE) as process,
        socket.socket() as client,
    ):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        client.connect(("127.0.0.1", int(process.stdout.readline())))
        yield Scene(modnet, process, client)
        process.terminate()


def test_what_waits_and_what_was_taken_back_is_shown_of_each_flow_and_module(scene: Scene) -> None:
    until(lambda: scene.flows()["late"]["unsent"] > 1_000_000, 20, "unsent bytes in the last module")
    before = scene.flows()
    assert before["forwarder"]["unsent"] is None, "another module has the real socket"
    assert before["late"]["yanked"] == before["forwarder"]["yanked"] == 0
    shown = scene.modules()
    assert int(shown["late"]["UNSENT"]) > 1_000_000 and shown["late"]["YANKED"] == "0"
    assert shown["forwarder"]["UNSENT"] == "-", "it is not revocable"

    # Each module on the way has given them back.
    scene.yank(300_000)
    after = scene.flows()
    assert after["late"]["yanked"] == 300_000
    assert after["late"]["unsent"] == before["late"]["unsent"] - 300_000
    assert after["forwarder"]["yanked"] == 300_000, "it passed them on"
    assert scene.modules()["late"]["YANKED"] == "300000"


def test_ps_lists_each_flow_with_what_it_has_unsent(scene: Scene) -> None:
    until(lambda: scene.flows()["late"]["unsent"] > 1_000_000, 20, "unsent bytes in the last module")
    scene.yank(1000)
    table = scene.modnet("ps", "--flows").stdout.split("\n\n")[-1]
    heads = table.splitlines()[0].split()
    assert {"UNSENT", "BYTES_YANKED"} <= set(heads) and "TCP" not in heads
