"""A module that writes rubbish into the words it shares hurts its own flows, and neither the application nor
anybody else's."""

import socket
import sys

import pytest

from tests.lib.process import until
from tests.shim.host import PRELUDE, Host, killing_after
from tests.shim.record import Record
from tests.shim.rubbish import Rubbish

FLOWS = 200

SERVER = """
listener = listen(backlog=64)
print(listener.getsockname()[1], flush=True)
numbers = lambda: len(os.listdir("/proc/self/fd"))
patience = 0.02
while True:
    conn, _ = listener.accept()
    conn.settimeout(patience)
    try:
        asked = conn.recv(100)
        conn.sendall(asked.upper())
        conn.close()
        if asked == b"patience": patience = 20
        if asked == b"count": print(numbers(), flush=True)
        if asked == b"stop": break
    except OSError:
        conn.close()
"""


def ask(port: int, said: bytes, seconds: float) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as client:
        client.sendall(said)
        got = b""
        while part := client.recv(100):
            got += part
        return got


@pytest.mark.parametrize("seed", range(2))
def test_rubbish_in_the_shared_words(host: Host, seed: int, request: pytest.FixtureRequest) -> None:
    host.peer("good")
    rubbish = Rubbish(host.runtime, "rubbish", seed)
    request.addfinalizer(rubbish.stop)
    host.record = record = Record(host.runtime, ("rubbish",), flags=0)
    with host.start([sys.executable, "-c", PRELUDE + SERVER]) as server, killing_after(server, 100) as hung:
        port = int(server.stdout.readline())
        for number in range(FLOWS):
            try:
                got = ask(port, b"%d" % number, 0.01)
            except OSError:
                continue
            # Whom nobody forwards, nobody answers.
            assert got == b"", got
        pairs = record.pairs()
        assert rubbish.written > 1000 and rubbish.flows > FLOWS / 2, (rubbish.written, rubbish.flows)
        assert pairs["new"] > 50 and {"dirty", "killed", "unread"} & pairs.keys(), pairs
        rubbish.stop()
        # Now a module that does its work, and asks for fresh pairs.
        record.apply(("good",))
        until(lambda: ask(port, b"patience", 20) == b"PATIENCE", 20, "a flow in time")
        for number in range(50):
            assert ask(port, b"x%d" % number, 20) == b"X%d" % number

        def count() -> int:
            assert ask(port, b"count", 20) == b"COUNT"
            return int(server.stdout.readline())

        # Nothing is kept of the other: standard streams, listener, this flow, a connection a core. (What
        # hangs is found when somebody comes by.)
        until(lambda: count() < 20, 20, "all to be closed")
        assert ask(port, b"stop", 20) == b"STOP"
        assert server.wait(timeout=20) == 0 and not hung
