"""examples/forwarder.c: nginx through it, alone and in a chain with a module of the SDK, in both orders."""

import hashlib
import http.client
import json
import os
import random
import socket
import threading
from pathlib import Path

import pytest

from tests.calls.conftest import ROOT
from tests.lib import census
from tests.lib.process import Program, listening, until
from tests.servers.static import NGINX

SIZES = (0, 1, 100, 70_000, 3_000_000)


@pytest.fixture
def www(modnet) -> dict[str, str]:
    """Files of all sizes in the place; their hashes by name."""
    directory = modnet.place.directory / "www"
    directory.mkdir()
    dice = random.Random(7)
    hashes = {}
    for size in SIZES:
        data = dice.randbytes(size)
        (directory / str(size)).write_bytes(data)
        hashes[str(size)] = hashlib.sha256(data).hexdigest()
    return hashes


@pytest.fixture
def forwarder(modnet, compiled):
    running = Program(modnet.place, [str(compiled(ROOT / "examples/forwarder.c")), "cfwd"], "forwarder")
    control = modnet.runtime / "modules/cfwd/control"
    running.wait_for(control.exists, 10, "its name")
    yield running
    if running.process.poll() is None:
        running.stop()


@pytest.fixture
def nginx(modnet, www):
    """Starts nginx behind a chain."""
    started = []

    def start(*modules: str) -> int:
        place = modnet.place
        config = place.write(
            "nginx.conf",
            NGINX.format(
                user="user www-data;" if os.geteuid() == 0 else "",
                here=place.directory,
                port=place.port,
                www=place.directory / "www",
                descriptors=1024,
                connections=512,
            ),
        )
        chain = [word for module in modules for word in ("-m", module)]
        command = place.modnet("run", *chain, "--", "nginx", "-p", str(place.directory), "-c", str(config))
        program = Program(place, command, "nginx")
        started.append(program)
        program.wait_for(lambda: listening(place.port), 20, "its port")
        return place.port

    yield start
    for program in started:
        program.stop()


def fetch(port: int, hashes: dict[str, str], rounds: int, wrong: list[str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    for number in range(rounds):
        for name, expected in hashes.items():
            # New connections and kept ones in turn.
            connection.request("GET", f"/{name}", headers={"Connection": "close"} if number % 2 else {})
            if hashlib.sha256(connection.getresponse().read()).hexdigest() != expected:
                wrong.append(name)
    connection.close()


def fetch_all(port: int, hashes: dict[str, str]) -> None:
    """Four clients at once; every body is whole."""
    wrong: list[str] = []
    threads = [threading.Thread(target=fetch, args=(port, hashes, 6, wrong)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def stolen(modnet, name: str) -> int:
    done = modnet("module", "show", name, "--json")
    return json.loads(done.stdout)["counters"]["stolen"]


@pytest.mark.parametrize("chain", [["cfwd"], ["cfwd", "forwarder"], ["forwarder", "cfwd"]], ids="-".join)
def test_bodies_are_whole(modnet, forwarder, nginx, www, chain):
    port = nginx(*chain)
    fetch_all(port, www)
    for name in chain:
        assert stolen(modnet, name) >= 4 * 6 // 2


def test_a_slow_client_stops_the_server_and_memory_stays(modnet, forwarder, nginx, www):
    big = modnet.place.directory / "www/big"
    with big.open("wb") as file:
        file.truncate(1 << 30)
    port = nginx("cfwd")
    slow = socket.create_connection(("127.0.0.1", port))
    slow.sendall(b"GET /big HTTP/1.0\r\n\r\n")
    assert slow.recv(1000).startswith(b"HTTP/1.1 200")
    fetch_all(port, www)
    status = Path(f"/proc/{forwarder.pid}/status").read_text()
    kilobytes = int(status.split("VmHWM:")[1].split()[0])
    assert kilobytes < 32 * 1024
    slow.close()


def test_sockets_go_back_to_where_they_were(modnet, forwarder, nginx, www):
    idle = census.sockets(forwarder.pid)
    fetch_all(nginx("cfwd"), www)
    # Each of nginx's two workers keeps a connection to each core's queue; 60 flows had two sockets each.
    most = idle + 2 * (os.cpu_count() or 1)
    until(lambda: census.sockets(forwarder.pid) <= most, 10, f"at most {most} sockets")


def test_a_stop_lets_connections_end(modnet, forwarder, nginx, www):
    port = nginx("cfwd")
    kept = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    kept.request("GET", "/100")
    assert hashlib.sha256(kept.getresponse().read()).hexdigest() == www["100"]
    stopping = modnet.popen("module", "stop", "cfwd", "--drain", "30")
    until(lambda: not (modnet.runtime / "modules/cfwd").exists(), 10, "the name to be free")
    kept.request("GET", "/3000000")
    assert hashlib.sha256(kept.getresponse().read()).hexdigest() == www["3000000"]
    assert forwarder.process.poll() is None
    kept.close()
    out, err = stopping.communicate(timeout=40)
    assert (stopping.returncode, out, err) == (0, "", "")
    assert forwarder.process.wait(10) == 0
    Program.running.remove(forwarder)
