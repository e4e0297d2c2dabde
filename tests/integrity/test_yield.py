"""Servers behind the module `filter`, which gives each connection to another module at its first request and
is gone: every stream is intact, the filter holds nothing of it, and a death takes only what was in the dead.

The short form; tests/soak runs the same with 10,000 connections.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integrity import death
from tests.integrity.client.load import load
from tests.integrity.client.scenarios import Target
from tests.integrity.matrix import USERS
from tests.integrity.traffic import traffic
from tests.lib import census
from tests.lib.folder import served
from tests.lib.place import Place
from tests.lib.process import Program, listening, reap_orphans, until
from tests.lib.variants import IDENTITY
from tests.servers.base import Running, Server, idle, require
from tests.servers.catalogue import HTTP

SERVERS = ("nginx", "node", "http.server")
TICK = 1 / os.sysconf("SC_CLK_TCK")
LARGE = 400 << 20
# The request of the connection decides, or its answer does.
RULES = {
    "path": '[[rule]]\npath = "*"\nmodules = {modules}\n',
    "type": '[[rule]]\ntype = "*"\nmodules = {modules}\n',
}


def counters(place: Place, name: str) -> dict[str, int]:
    """What a module counts, its own among them."""
    told = json.loads(death.command(place, "module", "show", name, "--json"))
    return told["counters"] | {f"own_{key}": value for key, value in told["own_counters"].items()}


@contextlib.contextmanager
def filtered(server: Server, targets: tuple[str, ...], www: Path, rules: str = "path") -> Iterator[Running]:
    """A server under the filter, and the modules that it yields to; nothing is left of them afterwards."""
    require(*server.needs)
    place = Place(USERS["user"]())
    before = census.take(place)
    try:
        for name in targets:
            spec = {"identity": f"{place.copy(IDENTITY)}:Identity", "gzip": "gzip"}
            death.command(place, "module", "start", spec.get(name, f"forwarder,as={name}"))
        file = place.write("rules.toml", RULES[rules].format(modules=json.dumps(targets)))
        command = place.modnet("run", "-m", f"filter,rules={file}", "--", *server.command(place, www))
        program = Program(place, command, server.name)
        program.wait_for(lambda: listening(place.port), 30, f"a listener on port {place.port}")
        yield Running(server, place, program, "forwarder")
        if program in Program.running:
            program.stop(server.stop_signal)
        for name in targets:
            death.command(place, "module", "stop", name, "--drain", "0")
        census.wait_same(place, before)
    finally:
        census.sweep(before)
        Program.running[:] = [p for p in Program.running if p.place is not place]
        reap_orphans()
        place.remove()


def pid_of(place: Place, name: str) -> int:
    pid = census.module_pid(place, name)
    assert pid is not None, f"{name} does not run: {place.logged()}"
    return pid


def drive(server: str, targets: tuple[str, ...], tree, connections: int, rules: str = "path") -> None:
    directory, files = tree
    with filtered(HTTP[server], targets, directory, rules) as up:
        target = Target("127.0.0.1", up.place.port, files, up.server.traits)
        pids = {name: pid_of(up.place, name) for name in ("filter", *targets)}
        asyncio.run(load(target, 50, 16, seed=2))
        level = {pid: census.descriptors(pid) for pid in pids.values()}
        result = asyncio.run(load(target, connections, 48, seed=1))
        print(f"{server} filter {targets} {rules}: {result}")
        if result.failures:
            pytest.fail(f"{result}\n{up.place.logged()}")
        more = 8 * (os.cpu_count() or 1) * len(pids) + 6
        idle({pid: n + more for pid, n in level.items()}, 30)
        seen = counters(up.place, "filter")
        print(seen)
        assert seen["yields_lost"] == 0, seen
        # Some have been reset by their clients before their request was looked at.
        assert seen["yielded"] + seen["yields_late"] == seen["own_rule_1"]
        assert seen["yielded"] == counters(up.place, targets[0])["stolen"]
        # Connections that bring no whole request stay, and those that end before their answer.
        assert seen["yielded"] >= 0.5 * connections, seen
        assert {name: pid_of(up.place, name) for name in pids} == pids, "a module died"


@pytest.mark.timeout(180)
@pytest.mark.parametrize("targets", [("forwarder",), ("identity",), ("one", "two")], ids="-".join)
@pytest.mark.parametrize("server", SERVERS)
def test_every_stream_is_intact(server: str, targets: tuple[str, ...], tree) -> None:
    drive(server, targets, tree, connections=300)


@pytest.mark.timeout(180)
def test_every_stream_is_intact_when_the_answer_decides(tree) -> None:
    drive("nginx", ("identity",), tree, connections=300, rules="type")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("pairs", ["fresh", "pooled"])
def test_every_stream_is_intact_with_either_kind_of_pairs(
    pairs: str, tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODNET_PAIRS", pairs)
    drive("nginx", ("forwarder",), tree, connections=300)


class Download:
    """One connection that asks for a large file, and reads when it is told to."""

    def __init__(self, port: int, path: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.settimeout(60)
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        self.digest = hashlib.sha256()
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.socket.recv(1)
        assert head.startswith(b"HTTP/1.1 200"), head

    def read(self, most: int) -> int:
        """So many bytes of the body, or up to its end."""
        count = 0
        while count < most and (part := self.socket.recv(min(1 << 20, most - count))):
            self.digest.update(part)
            count += len(part)
        return count


def cpu(pid: int) -> float:
    """Seconds that a process has worked."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK


@pytest.fixture
def large() -> Iterator[Path]:
    """A directory with a file that every byte of travels."""
    with served({}) as directory:
        with (directory / "large").open("wb") as file:
            file.truncate(LARGE)
            file.write(b"begins")
        yield directory


def expected(directory: Path) -> str:
    with (directory / "large").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("server", SERVERS)
def test_the_filter_spends_no_time_and_holds_nothing_after_it_has_left(server: str, large: Path) -> None:
    with filtered(HTTP[server], ("forwarder",), large) as up:
        pid, target = pid_of(up.place, "filter"), pid_of(up.place, "forwarder")
        Download(up.place.port, "/large").socket.close()
        until(lambda: census.flows(up.place, "filter") == 0, 20, "the first to be over")
        held = census.sockets(pid)
        download = Download(up.place.port, "/large")
        until(lambda: census.sockets(pid) <= held + 2 * (os.cpu_count() or 1), 20, "the filter to let go")
        assert census.flows(up.place, "filter") == 0
        before, working = cpu(pid), cpu(target)
        assert 1 + download.read(LARGE) == 1 + LARGE
        assert cpu(pid) - before <= 2 * TICK, "the filter's time grew with the bytes"
        assert cpu(target) > working
        assert download.digest.hexdigest() == expected(large)


@pytest.mark.timeout(180)
def test_the_death_of_the_filter_takes_nothing_that_it_has_yielded(large: Path) -> None:
    with filtered(HTTP["nginx"], ("forwarder",), large) as up:
        downloads = [Download(up.place.port, "/large") for _ in range(3)]
        until(lambda: counters(up.place, "filter")["yielded"] >= 3, 20, "three yields")
        death.kill_and_wait(pid_of(up.place, "filter"))
        threads = [threading.Thread(target=download.read, args=(LARGE,)) for download in downloads]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {download.digest.hexdigest() for download in downloads} == {expected(large)}
        # New ones pass without it.
        last = Download(up.place.port, "/large")
        assert last.read(LARGE) == LARGE


async def dies_and_comes_back(up: Running, tree, draw: random.Random) -> None:
    """A round: a moment that nobody can foresee, the death of the module that flows are yielded to."""
    async with traffic(up.place, tree[1]) as flowing:
        await flowing.more(100)
        await asyncio.sleep(draw.random() * 0.1)
        died = await asyncio.to_thread(death.kill_and_wait, pid_of(up.place, "forwarder"))
        await flowing.more(100)
        absent = (await asyncio.to_thread(counters, up.place, "filter"))["own_absent"]
        assert absent > 0
        await asyncio.to_thread(death.command, up.place, "module", "start", "forwarder")
        yielded = (await asyncio.to_thread(counters, up.place, "filter"))["yielded"]
        await flowing.more(100)
        assert (await asyncio.to_thread(counters, up.place, "filter"))["yielded"] > yielded
    assert not flowing.worse_than_cut(), flowing.worse_than_cut()[:5]
    assert not flowing.failed(died), f"opened after the death at {died}: {flowing.failed(died)[:5]}"


def rounds_of_deaths(tree, rounds: int, seed: int = 1) -> None:
    draw = random.Random(seed)
    with filtered(HTTP["nginx"], ("forwarder",), tree[0]) as up:
        for number in range(rounds):
            asyncio.run(dies_and_comes_back(up, tree, draw))
            print(f"death {number + 1}: {counters(up.place, 'filter')}")


@pytest.mark.timeout(180)
def test_the_death_of_the_other_module_takes_what_was_in_it_and_nothing_else(tree) -> None:
    rounds_of_deaths(tree, 3)
