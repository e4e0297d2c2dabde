"""A module whose descriptors run out: no connection is lost, the rest pass without it, and later ones come
again."""

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Callable

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
