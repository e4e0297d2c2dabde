"""`modnet_yield`, in C and in Python: by a module on a flow that has carried bytes, by an application on
its own socket, towards modules of the SDK and towards one in C.
"""

import errno
import gzip
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from modnet import calls

from tests.calls.conftest import ROOT
from tests.lib.process import Program, listening, until

HERE = Path(__file__).parent
SHOUT = f"{ROOT}/examples/shout.py:Shout"
LINE = b"a line\n"
LARGE = bytes(range(256)) * 8192


@pytest.fixture
def serving(modnet) -> Iterator[Callable[..., int]]:
    """Starts the echo under modules, or under none, with those that it yields to itself; its port."""
    started = []

    def start(*modules: str, own: tuple[str, ...] = (), bare: bool = False) -> int:
        command = [sys.executable, str(HERE / "echo.py"), *own]
        if bare:
            environment = modnet.place.environment()
            server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        else:
            chain = [word for module in modules for word in ("-m", module)]
            server = modnet.popen("run", *chain, "--", *command)
        started.append(server)
        return int(server.stdout.readline())

    yield start
    for server in started:
        server.kill()
        server.communicate()


@pytest.fixture
def shout(modnet) -> Iterator[str]:
    """A module that answers in capitals."""
    assert modnet("module", "start", SHOUT).returncode == 0
    yield "shout"
    modnet("module", "stop", "shout", "--drain", "0")


@pytest.fixture(params=["c", "python"])
def yielder(request, modnet, compiled) -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts the module `mine`, which yields every flow."""
    started = []

    def start(operation: int, *modules: str) -> subprocess.Popen:
        command = (
            [str(compiled(HERE / "c/yielder.c"))]
            if request.param == "c"
            else [sys.executable, str(HERE / "yielder.py")]
        )
        module = subprocess.Popen(
            [*command, "mine", str(operation), *modules],
            stdout=subprocess.PIPE,
            text=True,
            env=modnet.place.environment(),
        )
        started.append(module)
        assert module.stdout.readline() == "ready\n"
        return module

    yield start
    for module in started:
        module.kill()
        module.communicate()


def exchange(client: socket.socket, data: bytes) -> bytes:
    """Sends all, then no more; everything that comes back."""

    def send() -> None:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    got = bytearray()
    while part := client.recv(1 << 20):
        got += part
    sender.join()
    return bytes(got)


def connect(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port))
    client.settimeout(20)
    return client


def counted(modnet, name: str) -> dict[str, int]:
    return json.loads(modnet("module", "show", name, "--json").stdout)["counters"]


@pytest.mark.parametrize("operation", [calls.REPLACE, calls.APPLY_LEFT, calls.APPLY_RIGHT])
@pytest.mark.parametrize("chain", [["mine"], ["forwarder", "mine"], ["mine", "forwarder"]], ids="-".join)
def test_a_module_yields_a_flow_that_has_carried_bytes(modnet, serving, shout, yielder, operation, chain):
    module = yielder(operation, shout)
    port = serving(*chain)
    sockets = []
    for number in range(1, 9):
        with connect(port) as client:
            client.sendall(LINE)
            assert client.recv(100) == LINE.upper()
            assert int(module.stdout.readline()) == 0
            sockets.append(int(module.stdout.readline()))
            assert exchange(client, LARGE) == LARGE.upper()
        assert counted(modnet, shout)["stolen"] == number
    if operation == calls.REPLACE:
        # For each core there may be a connection of the server's, and two to other modules; a flow had two.
        assert sockets[-1] - sockets[0] <= 3 * ((os.cpu_count() or 1) - 1), sockets


@pytest.mark.parametrize("operation", [calls.REPLACE, calls.APPLY_LEFT, calls.APPLY_RIGHT])
def test_an_unknown_module_is_enoent_and_the_flow_untouched(serving, shout, yielder, operation):
    module = yielder(operation, shout, "absent")
    with connect(serving("mine")) as client:
        client.sendall(LINE)
        assert client.recv(100) == LINE
        assert int(module.stdout.readline()) == errno.ENOENT
        assert exchange(client, LARGE) == LARGE


def test_what_was_read_comes_to_a_program_with_its_own_loop(modnet, serving, compiled):
    plain = Program(modnet.place, [str(compiled(ROOT / "examples/forwarder.c")), "plain"], "plain")
    plain.wait_for((modnet.runtime / "modules/plain/control").exists, 10, "its name")
    module = modnet.place.write("first_line.py", FIRST_LINE)
    port = serving(f"{module}:FirstLine")
    for _ in range(3):
        with connect(port) as client:
            client.sendall(LINE + b"and ")
            client.sendall(b"more")
            assert exchange(client, LARGE) == LINE + b"and more" + LARGE
    assert counted(modnet, "plain")["stolen"] == counted(modnet, "plain")["relayed"] == 3
    assert counted(modnet, "first-line")["yielded"] == 3
    plain.stop()


FIRST_LINE = '''
import modnet

class FirstLine(modnet.Module):
    """Yields a flow when it has read a line."""

    def opened(self, flow):
        flow.held = b""

    def inbound(self, flow, data):
        flow.held += data
        if b"\\n" not in flow.held:
            return b""
        flow.yield_to("plain")
        return flow.held
'''


def shouts_and_knows_the_client(client: socket.socket) -> None:
    """Calls that are not about data are still the real socket's."""
    client.sendall(LINE)
    assert client.recv(100) == LINE.upper()
    client.sendall(b"who")
    assert client.recv(100) == f"{client.getsockname()[1]} 0".encode()
    assert exchange(client, LARGE) == LARGE.upper()


def test_an_application_yields_its_own_socket_instead_of_a_chain(modnet, serving, shout):
    port = serving(own=(shout,))
    with connect(port) as client:
        shouts_and_knows_the_client(client)
    assert counted(modnet, shout)["stolen"] == 1


def test_an_application_yields_its_own_socket_besides_its_chain(modnet, serving, shout):
    port = serving("forwarder", own=(shout,))
    for number in range(1, 4):
        with connect(port) as client:
            shouts_and_knows_the_client(client)
        for module in (shout, "forwarder"):
            assert counted(modnet, module)["stolen"] == number
    (row,) = json.loads(modnet("ps", "--json").stdout)["processes"]
    assert row["counters"]["yielded"] == 3


def test_an_application_that_was_not_started_by_modnet_yields_its_socket(modnet, serving, shout):
    with connect(serving(own=(shout,), bare=True)) as client:
        client.sendall(LINE)
        assert client.recv(100) == LINE.upper()
        assert exchange(client, LARGE) == LARGE.upper()


@pytest.mark.parametrize("bare", [False, True])
def test_an_application_that_yields_to_nobody_has_its_socket_as_before(serving, bare):
    with connect(serving(own=("absent",), bare=bare)) as client:
        client.sendall(LINE)
        assert client.recv(100) == LINE + str(errno.ENOENT).encode()
        assert exchange(client, LARGE) == LARGE


def test_a_client_that_resets_is_seen_by_the_application_that_yielded(modnet, serving, shout):
    port = serving(own=(shout,))
    client = connect(port)
    client.sendall(LINE)
    assert client.recv(100) == LINE.upper()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    until(lambda: counted(modnet, shout)["ended"] == 1, 10, "the flow's end")


def test_errors_are_those_of_the_header(tmp_path):
    with (
        socket.socketpair()[0] as pair,
        socket.socket() as idle,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        wrong = [
            (-1, -1, calls.APPLY_RIGHT, errno.EINVAL),
            (-1, -1, calls.REPLACE, errno.EINVAL),
            (12345, -1, calls.APPLY_LEFT, errno.EBADF),
            (-1, 12345, calls.APPLY_RIGHT, errno.EBADF),
            (pair.fileno(), -1, calls.APPLY_LEFT, errno.EINVAL),
            (pair.fileno(), pair.fileno(), calls.REPLACE, errno.EINVAL),
            (-1, listener.fileno(), calls.APPLY_RIGHT, errno.EINVAL),
            (-1, pair.fileno(), 4, errno.EINVAL),
            (-1, idle.fileno(), calls.APPLY_RIGHT, errno.ENOTCONN),
        ]
        for left, right, operation, number in wrong:
            with pytest.raises(OSError) as caught:
                calls.yield_(left, right, ["shout"], operation)
            assert caught.value.errno == number, (left, right, operation)
        with (tmp_path / "file").open("w") as file, pytest.raises(OSError) as caught:
            calls.yield_(-1, file.fileno(), ["shout"], calls.APPLY_RIGHT)
        assert caught.value.errno == errno.ENOTSOCK
    one, other = socket.socketpair()
    with one, other:
        for names, held, number in (
            ([], {}, errno.EINVAL),
            (["no name"], {}, errno.EINVAL),
            (["m"] * 17, {}, errno.EINVAL),
            (["m"], {"outbound": b"x"}, errno.EINVAL),
        ):
            with pytest.raises(OSError) as caught:
                calls.yield_(-1, one.fileno(), names, calls.APPLY_RIGHT, **held)
            assert caught.value.errno == number, (names, held)


def test_the_example_has_its_connections_compressed(modnet):
    place = modnet.place
    text = b"".join(b"line %d of what shrinks\n" % number for number in range(20_000))
    (place.directory / "all.txt").write_bytes(text)
    assert modnet("module", "start", "gzip").returncode == 0
    command = [sys.executable, str(ROOT / "examples/own_socket/compressed.py"), str(place.port)]
    server = Program(place, place.modnet("run", "--", *command), "server")
    server.wait_for(lambda: listening(place.port), 20, "its port")
    url = f"http://127.0.0.1:{place.port}/all.txt"
    asked = urllib.request.Request(url, headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(asked, timeout=30) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(answer.read()) == text
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert answer.read() == text
    assert counted(modnet, "gzip")["stolen"] == 2
    server.stop()
    modnet("module", "stop", "gzip")


def test_the_example_serves_slowly_what_it_yields(modnet):
    place = modnet.place
    (place.directory / "slow").mkdir()
    for name in ("slow/file", "file"):
        (place.directory / name).write_bytes(LARGE)
    assert modnet("module", "start", "throttle,rate=1MB,burst=1MB").returncode == 0
    command = [sys.executable, str(ROOT / "examples/own_socket/server.py"), str(place.port)]
    server = Program(place, place.modnet("run", "--", *command), "server")
    server.wait_for(lambda: listening(place.port), 20, "its port")
    for name, least in (("file", 0.0), ("slow/file", 0.8)):
        began = time.monotonic()
        with urllib.request.urlopen(f"http://127.0.0.1:{place.port}/{name}", timeout=30) as answer:
            assert answer.read() == LARGE
        # A megabyte passes at once, and the other takes a second.
        assert time.monotonic() - began >= least
    assert counted(modnet, "throttle")["stolen"] == 1
    server.stop()
    modnet("module", "stop", "throttle")
