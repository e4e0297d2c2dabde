"""`modnet top` and `modnet watch` on a real server's flows: as text, as files, on a real terminal (tmux)."""

import contextlib
import csv
import json
import re
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.common.terminal import Terminal
from tests.lib.modnet import Modnet
from tests.lib.process import until

# Sends as long as its client takes anything.
SERVER = """
import socket, sys, threading
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
def serve(conn):
    try:
        while True: conn.sendall(bytes(10000))
    except OSError: conn.close()
while True: threading.Thread(target=serve, args=[listener.accept()[0]], daemon=True).start()
"""


@pytest.fixture
def port(modnet: Modnet) -> Iterator[int]:
    """A server behind two modules."""
    words = ("run", "-m", "forwarder", "-m", "forwarder,as=second", "--", sys.executable, "-c", SERVER)
    with modnet.popen(*words) as running:
        yield int(running.stdout.readline())
        running.terminate()


@pytest.fixture
def clients(port: int) -> Iterator[list[socket.socket]]:
    """Two that read as fast as they can, in the background."""
    with contextlib.ExitStack() as stack:
        all_of = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(2)]

        def read(client: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while client.recv(1 << 20):
                    pass

        for client in all_of:
            threading.Thread(target=read, args=[client], daemon=True).start()
        yield all_of
        for client in all_of:
            client.shutdown(socket.SHUT_RDWR)


def name(client: socket.socket) -> str:
    return "{}:{}".format(*client.getsockname())


def test_one_look_at_every_flow(modnet: Modnet, port: int, clients: list[socket.socket]) -> None:
    # Between two looks at which the kernel has the same rate no bandwidth is known.
    for _ in range(5):
        done = modnet("top", "--json", "--interval", "0.3")
        assert done.returncode == 0, done.stderr
        flows = json.loads(done.stdout)["flows"]
        last = [flow for flow in flows if flow["module"] == "second"]
        if all(flow["bandwidth"] for flow in last):
            break
    assert {flow["module"] for flow in flows} == {"forwarder", "second"}
    assert {flow["peer"] for flow in last} == {name(client) for client in clients}
    for flow in last:
        assert flow["local"] == f"127.0.0.1:{port}" and flow["chain"] == ["forwarder", "second"]
        assert flow["rate_outbound"] > 1e6 and flow["bytes_outbound"] > 1e5 and flow["bytes_inbound"] == 0
        assert flow["source"] in ("bpf", "sampled") and flow["cwnd"] > 0 and flow["unsent"] >= 0
        assert 0 < flow["srtt_us"] < 1e6 and flow["bandwidth"] > 1e5


def test_filters_orders_and_a_plain_table(modnet: Modnet, port: int, clients: list[socket.socket]) -> None:
    one = name(clients[0])
    lines = modnet("top", "--once", "--interval", "0.1", "--module", "second").stdout.splitlines()
    assert len(lines) == 3 and lines[0].split()[:4] == ["MODULE", "PEER", "PORT", "APP"]
    assert len(modnet("top", "--once", "--interval", "0.1", "--peer", one).stdout.splitlines()) == 2
    assert modnet("top", "--once", "--interval", "0.1", "--peer", "10.9.8.7").stdout == ""
    ascending = modnet("top", "--once", "--interval", "0.1", "--sort", "peer", "--module", "second").stdout
    peers = re.findall(r"127\.0\.0\.1:\d+", ascending)
    assert peers == sorted(peers) and len(peers) == 2


def test_mistakes(modnet: Modnet) -> None:
    assert "no column 'speed' to sort by" in modnet.refused("top", "--sort", "speed")
    assert "nobody" in modnet.refused("top", "--once", "--module", "nobody")
    assert "MODULE/NUMBER" in modnet.refused("watch", "a/b", "--seconds", "0.1")
    assert "no flow of 10.0.0.9 came" in modnet.refused("watch", "10.0.0.9", "--seconds", "0.2")
    assert "no directory /nowhere" in modnet.refused("watch", "80", "--plot", "/nowhere/x.png")


def test_a_flow_over_time_as_files(modnet: Modnet, clients: list[socket.socket], tmp_path: Path) -> None:
    png, values = modnet.place.directory / "x.png", modnet.place.directory / "x.csv"
    done = modnet(
        *("watch", name(clients[1]), "--interval", "0.05", "--seconds", "3"),
        *("--plot", str(png), "--record", str(values)),
    )
    assert done.returncode == 0, done.stderr
    assert re.match(rf"(forwarder|second)/\d+  {re.escape(name(clients[1]))} - ", done.stderr)
    assert png.read_bytes().startswith(b"\x89PNG") and len(png.read_bytes()) > 10_000
    lines = list(csv.DictReader(values.open()))
    times = [float(line["seconds"]) for line in lines]
    assert times == sorted(times) and times[0] == 0.0
    rates = [float(line["rate_bytes_per_s"]) for line in lines if line["rate_bytes_per_s"]]
    assert len(rates) == len(lines) - 1 >= 2 and max(rates) > 1e6


def terminal(modnet: Modnet, *arguments: str) -> Terminal:
    """A terminal that `modnet ARGUMENTS` runs in."""
    return Terminal(modnet.place.directory, modnet.argv(*arguments), modnet.place.environment())


def test_the_screen_of_top(modnet: Modnet, clients: list[socket.socket]) -> None:
    with terminal(modnet, "top", "--interval", "0.2") as seen:
        until(
            lambda: all(name(client) in seen.screen() for client in clients), 20, "both clients on the screen"
        )
        until(lambda: "/s out" in seen.screen() and "M/s" in seen.screen(), 20, "rates")
        assert "4 flows" in seen.screen() and "q quit" in seen.screen()
        seen.press("Space")
        until(lambda: "paused" in seen.screen(), 20, "the pause")
        seen.press("q")
        until(lambda: not seen.lives(), 20, "the end")


def test_the_screen_of_watch(modnet: Modnet, clients: list[socket.socket]) -> None:
    with terminal(modnet, "watch", name(clients[0]), "--interval", "0.05") as seen:
        until(lambda: "rate" in seen.screen() and "bytes/s" in seen.screen(), 20, "the charts")
        until(lambda: re.search("[\u2801-\u28ff]{3}", seen.screen()) is not None, 20, "a line in one of them")
        assert name(clients[0]) in seen.screen()
        seen.press("C-c")
        until(lambda: not seen.lives(), 20, "the end")
