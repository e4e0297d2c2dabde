"""A module whose descriptors run out: no connection is lost, the rest pass without it, and later ones come
again."""

import contextlib
import json
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.lib import census
from tests.lib.modnet import Modnet, ended
from tests.lib.process import until

# Echoes, every connection in one thread.
ECHO = """
import asyncio, sys
async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()
async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", 0, backlog=2000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
asyncio.run(main())
"""
LIMIT = 400
CLIENTS = 600


def echoed(number: int, clients: int, half: Callable[[], None] = lambda: None) -> None:
    """So many connections at once; each gets its own bytes back. `half` is called when half of them stand."""
    with contextlib.ExitStack() as stack:
        people = []
        for index in range(clients):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", number), timeout=30))
            one.sendall(b"%07d!" % index)
            people.append(one)
            if index == clients // 2:
                half()
        # Those in the module's queue wait for earlier ones to end.
        for index, one in enumerate(people):
            assert one.recv(8, socket.MSG_WAITALL) == b"%07d!" % index
            one.close()


def test_no_connection_is_lost_when_descriptors_run_out(modnet: Modnet) -> None:
    start = ["prlimit", f"--nofile={LIMIT}:{LIMIT}", *modnet.argv("module", "start", "forwarder")]
    subprocess.run(start, env=modnet.place.environment(), check=True, timeout=30)
    server = modnet.popen(
        *("run", "-m", "forwarder", "--", "taskset", "-c", "0", sys.executable, "-c", ECHO),
        stdin=subprocess.PIPE,
    )
    directory = modnet.runtime / "modules" / "forwarder"
    try:
        number = int(server.stdout.readline())
        echoed(
            number,
            CLIENTS,
            lambda: until(lambda: list(directory.glob("full.*")) != [], 10, "the entrance to close"),
        )

        def shown() -> dict:
            return json.loads(modnet("module", "show", "forwarder", "--json").stdout)

        until(lambda: shown()["flows"] == 0, 20, "the flows' end")
        counters = shown()["counters"]
        assert counters["full"] > 0
        assert counters["lost"] == counters["not_understood"] == counters["no_descriptor"] == 0
        processes = json.loads(modnet("ps", "--json").stdout)["processes"]
        (application,) = [one["counters"] for one in processes if one["pid"] == server.pid]
        assert application["module_full"] > 0
        assert application["stolen"] + application["module_full"] == CLIENTS
        assert application["stolen"] == counters["stolen"]
        # Descriptors are there again, and so are shims.
        until(lambda: not list(directory.glob("full.*")), 10, "the entrance to open")
        before = census.stolen(modnet.place, server.pid)
        echoed(number, 20)
        assert census.stolen(modnet.place, server.pid) == before + 20
    finally:
        ended(server)
        modnet("module", "stop", "forwarder")


def test_who_cannot_be_let_in_waits_for_a_descriptor_and_is_asked_for_now_and_then(modnet: Modnet) -> None:
    modnet("module", "start", "forwarder")
    directory = modnet.runtime / "modules" / "forwarder"
    module = json.loads(modnet("module", "show", "forwarder", "--json").stdout)["pid"]
    servers, people = [], contextlib.ExitStack()

    def serve() -> int:
        servers.append(
            modnet.popen(
                *("run", "-m", "forwarder", "--", "taskset", "-c", "0", sys.executable, "-c", ECHO),
                stdin=subprocess.PIPE,
            )
        )
        return int(servers[-1].stdout.readline())

    limit = resource.prlimit(module, resource.RLIMIT_NOFILE)
    proc = Path(f"/proc/{module}")

    def used() -> set[int]:
        return {int(one.name) for one in (proc / "fd").iterdir()}

    def settled() -> set[int]:
        """What is open when many looks in a row show the same: a census opens some files for a moment."""
        looks: list[set[int]] = []

        def still() -> bool:
            looks.append(used())
            return len(looks) > 30 and all(one == looks[-1] for one in looks[-30:])

        until(still, 20, "the module to open and close nothing")
        return looks[-1]

    def clients() -> int:
        """Those whom the module answers; a janitor is one for a moment now and then."""
        names = []
        for one in proc.glob("task/*/comm"):
            with contextlib.suppress(OSError):
                names.append(one.read_text().strip())
        return names.count("modnet-client")

    try:
        waits, passes = serve(), serve()
        here = 0
        while True:
            until(lambda here=here: clients() == here, 10, "the module to close what others have asked by")
            before = settled()
            if len(before) > max(before) and clients() == here:
                break
            # Whoever is connected to the control socket has the lowest number that is free.
            people.enter_context(one := socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            one.connect(str(directory / "control"))
            here += 1
        # Nobody has told the worker that its limit is another than when it began.
        resource.prlimit(module, resource.RLIMIT_NOFILE, (len(before), limit[1]))
        with socket.create_connection(("127.0.0.1", waits), timeout=30) as one:
            one.sendall(b"patience")
            until(lambda: list(directory.glob("full.*")) != [], 10, "the entrance to close")
            echoed(passes, 20)
            resource.prlimit(module, resource.RLIMIT_NOFILE, limit)
            assert one.recv(8, socket.MSG_WAITALL) == b"patience"
        until(lambda: not list(directory.glob("full.*")), 10, "the entrance to open")
        echoed(passes, 20)
        counters = json.loads(modnet("module", "show", "forwarder", "--json").stdout)["counters"]
        assert (counters["no_descriptor"], counters["full"], counters["lost"]) == (1, 1, 0)
        stolen = [census.stolen(modnet.place, server.pid) for server in servers]
        assert stolen == [1, 20], [census.counters(modnet.place, server.pid) for server in servers]
    finally:
        resource.prlimit(module, resource.RLIMIT_NOFILE, limit)
        people.close()
        for server in servers:
            ended(server)
        modnet("module", "stop", "forwarder")
