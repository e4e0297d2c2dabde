"""kill -9 of the module, of a worker, of the master, of a shared module: what was in it fails, nothing else
does, and a census of processes, files and sockets afterwards equals the one before.
"""

import asyncio
import contextlib
from collections.abc import Iterator

import pytest

from tests.integrity import death
from tests.integrity.matrix import USERS
from tests.integrity.rounds import rounds
from tests.lib import census
from tests.lib.place import Place
from tests.lib.process import Program, reap_orphans
from tests.lib.users import User
from tests.lib.variants import NATIVE, VARIANTS, module_names
from tests.servers.base import Running, start
from tests.servers.static import NGINX_SERVER

BOTH = [pytest.param("root", marks=pytest.mark.root), "user"]
ROUNDS = 3
# Variant and MODNET_PAIRS.
PAIRS = [("forwarder", "fresh"), ("forwarder", "pooled"), ("chain", "pooled")]


@contextlib.contextmanager
def servers(user: User, count: int, variant: str, www) -> Iterator[list[Running]]:
    """`count` nginx in one registry. The block may kill what it likes; all has to be gone afterwards."""
    places = [Place(user) for _ in range(count)]
    for place in places[1:]:
        place.runtime = places[0].runtime
    before = census.take(places[0])
    ups: list[Running] = []
    try:
        for place in places:
            ups.append(start(NGINX_SERVER, place, variant, www))
        yield ups
        for up in ups:
            if up.program.process.poll() is None:
                up.program.stop()
        census.wait_same(places[0], before)
    finally:
        census.sweep(before)
        for up in ups:
            up.program.process.poll()
        Program.running[:] = [p for p in Program.running if p.place not in places]
        reap_orphans()
        for place in reversed(places):
            place.remove()


def rounds_of_module(user: str, tree, rounds: int, sharers: int) -> None:
    with servers(USERS[user](), sharers, "forwarder", tree[0]) as ups:
        for _ in range(rounds):
            asyncio.run(death.module(ups, tree[1]))
        # What `module start` started stays until it is told to stop.
        death.modnet(ups[0], "module", "stop", "forwarder")


def rounds_of_worker(user: str, variant: str, tree, rounds: int) -> None:
    with servers(USERS[user](), 1, variant, tree[0]) as (up,):
        for _ in range(rounds):
            asyncio.run(death.worker(up, tree[1]))


@pytest.mark.parametrize("user", BOTH)
def test_of_the_module(user: str, tree) -> None:
    rounds_of_module(user, tree, ROUNDS, sharers=1)


@pytest.mark.parametrize("user", BOTH)
def test_a_module_that_is_told_to_stop_loses_nothing(user: str, tree) -> None:
    with servers(USERS[user](), 1, "forwarder", tree[0]) as (up,):
        for _ in range(ROUNDS):
            asyncio.run(death.graceful_stop(up, tree[1]))
        death.modnet(up, "module", "stop", "forwarder")


@pytest.mark.parametrize("user", BOTH)
def test_of_each_link_of_a_chain(user: str, tree) -> None:
    with servers(USERS[user](), 1, "chain", tree[0]) as (up,):
        for name, spec in zip(module_names("chain"), VARIANTS["chain"], strict=True):
            asyncio.run(death.link(up, tree[1], name, spec))
        death.modnet(up, "module", "stop", "--all")


@pytest.mark.parametrize("user", BOTH)
def test_of_a_module_that_others_share(user: str, tree) -> None:
    rounds_of_module(user, tree, ROUNDS, sharers=2)


@pytest.mark.parametrize("user", BOTH)
@pytest.mark.parametrize("variant", [NATIVE, "forwarder", "chain"])
def test_of_a_worker(variant: str, user: str, tree) -> None:
    rounds_of_worker(user, variant, tree, ROUNDS)


@pytest.mark.parametrize("user", BOTH)
@pytest.mark.parametrize("variant", [NATIVE, "forwarder", "chain"])
@pytest.mark.parametrize("kill", [death.master, death.everything_at_once])
def test_of_the_command(kill, variant: str, user: str, tree) -> None:
    for _ in range(ROUNDS):
        with servers(USERS[user](), 1, variant, tree[0]) as (up,):
            asyncio.run(kill(up, tree[1]))


@pytest.mark.parametrize(("variant", "pairs"), PAIRS)
def test_at_random_moments(variant: str, pairs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a module, a worker, the whole application, while flows with patterns of their own are under way."""
    monkeypatch.setenv("MODNET_PAIRS", pairs)
    rounds(USERS["user"](), variant, "any", 2 * ROUNDS, seed=1)
