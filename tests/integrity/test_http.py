"""HTTP servers under every variant of modules: each byte as it was sent, each end as natively.

The short form; `tests/soak` runs the same with 10,000 connections.
"""

import asyncio
import os
from pathlib import Path

import pytest

from tests.integrity.client.load import load
from tests.integrity.client.scenarios import Target
from tests.integrity.matrix import USERS, pairs
from tests.lib.census import descriptors
from tests.lib.variants import NATIVE, VARIANTS
from tests.servers.base import idle, running
from tests.servers.catalogue import HTTP


def drive(
    server: str, variant: str, user: str, tree, connections: int, seed: int = 1, host: str = "127.0.0.1"
) -> None:
    """Loads a server and compares what is left afterwards with what was there before."""
    directory, files = tree
    with running(HTTP[server], USERS[user](), variant, directory) as up:
        target = Target(host, up.place.port, files, up.server.traits)
        modules, family = up.modules(), up.family()
        # A few first, so that what is opened once and kept is open when descriptors are counted.
        asyncio.run(load(target, 50, 16, seed + 1))
        level = {pid: descriptors(pid) for pid in [*modules.values(), *family]}
        result = asyncio.run(load(target, connections, 48, seed))
        print(f"{server} {variant} {user}: {result}")
        if result.failures:
            pytest.fail(f"{result}\n{up.place.logged()}")
        assert up.modules() == modules, f"a module died: {up.place.logged()}"
        if variant != NATIVE:
            # Apache asks the kernel to keep connections back until they bring data, so those that bring none
            # may never be accepted.
            least = connections - result.counts["reset_early", "gone"]
            assert up.stolen() >= least, f"{up.stolen()} of {connections} connections were stolen"
        # Once the clients have gone so have the descriptors, in the server and in its modules. For each
        # process that steals and each module and core may stay: its connection, the one onwards through the
        # chain, a bell for each where pairs are pooled; and what libraries open late.
        each = 2 if os.environ.get("MODNET_PAIRS") == "fresh" else 4
        more = (len(up.family()) + len(modules)) * (os.cpu_count() or 1) * each + 6
        watched = [*modules.values(), *(family if up.server.traits.tidy else [])]
        idle({pid: level[pid] + more for pid in watched if Path(f"/proc/{pid}").exists()}, 30)


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("server", "variant", "user"), pairs(HTTP))
def test_every_stream_is_intact(server: str, variant: str, user: str, tree) -> None:
    drive(server, variant, user, tree, connections=300)


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_over_ipv6(variant: str, tree) -> None:
    drive("nginx", variant, "user", tree, connections=300, host="::1")
