"""The control socket of a real module's process, spoken to as by anybody who may connect."""

import json
import os
import socket
import subprocess
import time

import pytest

from tests.lib.modnet import Modnet, ended


def connect(modnet: Modnet, name: str = "forwarder") -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.settimeout(10)
    client.connect(str(modnet.runtime / "modules" / name / "control"))
    return client


def say(client: socket.socket, message: object) -> dict:
    client.send(message if isinstance(message, bytes) else json.dumps(message).encode())
    return json.loads(client.recv(1 << 20))


def test_garbage_is_answered_by_an_error_and_the_module_lives(modnet: Modnet) -> None:
    running = modnet.server("forwarder")
    with connect(modnet) as client:
        for garbage in (
            b"\0",
            b"{",
            b"[]",
            b"null",
            os.urandom(1000),
            b'{"op": "dance"}',
            b'{"op": ["status"]}',
            b'{"op": "stop", "drain": "soon"}',
            b'{"op": "stop", "drain": 1e300}',
            b"[" * 5000,
            b"x" * 150_000,
        ):
            answer = say(client, garbage)
            assert answer["done"] and answer["errno"] and answer["error"], garbage[:20]
        assert say(client, {"op": "status"})["name"] == "forwarder"
    ended(running)


def test_the_mute_the_slow_and_the_many_delay_nobody(modnet: Modnet) -> None:
    running = modnet.server("forwarder")
    crowd = [connect(modnet) for _ in range(100)]
    for client in crowd[:50]:
        for _ in range(50):
            client.send(b'{"op": "status"}')
    before = time.monotonic()
    assert modnet("module", "list").returncode == 0
    assert time.monotonic() - before < 5
    for client in crowd:
        client.close()
    ended(running)


@pytest.mark.root
def test_strangers_are_not_heard(modnet: Modnet) -> None:
    """Even where somebody has opened the way: the directory's modes are one fence, the peer's user
    another.
    """
    running = modnet.server("forwarder")
    control = modnet.runtime / "modules" / "forwarder" / "control"
    control.chmod(0o666)
    ask = f"""
import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect({str(control)!r})
try: s.send(b'{{"op": "stop"}}')
except OSError: pass
print(s.recv(1000).decode())
"""
    done = subprocess.run(
        ["/usr/bin/python3", "-c", ask],
        user=33,
        group=33,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["error"] == "this module belongs to another user"
    with connect(modnet) as client:
        assert say(client, {"op": "status"})["name"] == "forwarder"
    ended(running)
