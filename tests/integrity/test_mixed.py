"""Every way in which a server may keep, share and end a connection, at random and many at once: no byte and
no state of one flow is ever met in another.

The short form; tests/soak runs the same with a million connections.
"""

import asyncio
import itertools
from collections.abc import Callable

import pytest

from tests.integrity.matrix import USERS
from tests.integrity.raw import mixed
from tests.integrity.raw.build import HERE, mixed_server
from tests.lib import census
from tests.lib.variants import NATIVE
from tests.servers.base import idle, running

MODES = ("threads", "epoll", "prefork")
# Variant and MODNET_PAIRS, which natively nobody reads.
UNDER = ((NATIVE, "fresh"), ("forwarder", "fresh"), ("forwarder", "pooled"), ("chain", "pooled"))
CELLS = [
    pytest.param(mode, variant, pairs, id="-".join((mode, variant, pairs)[: 2 if variant == NATIVE else 3]))
    for (variant, pairs), mode in itertools.product(UNDER, MODES)
]


def drive(
    mode: str, variant: str, connections: int, seed: int = 1, say: Callable[[int], None] = lambda done: None
) -> None:
    with running(mixed_server(mode), USERS["user"](), variant, HERE) as up:
        first = seed * 100_000_000
        # Some first, so that what is opened once and kept is open when descriptors are counted.
        asyncio.run(mixed.load(up.place.port, range(first, first + 100)))
        mixed.counted(up.place.port)
        level = {pid: census.descriptors(pid) for pid in up.family()}
        numbers = range(first + 100, first + 100 + connections)
        try:
            counts = asyncio.run(mixed.load(up.place.port, numbers, say=say))
        except Exception as error:
            error.add_note(up.place.logged())
            raise
        print(f"mixed {mode} {variant}: {dict(counts)}")
        wrong, cut = mixed.counted(up.place.port)
        assert (wrong, cut) == (0, 0), up.place.logged()
        if variant != NATIVE:
            # On a busy machine a burst of accepts may fill the steal queue: those pass without it, counted.
            assert census.handled(up.place, up.pid) >= connections
            assert up.stolen() >= 0.8 * connections, census.counters(up.place, up.pid)
        # A connection to each core's queue may have come, and a pool's pairs.
        idle({pid: n + 200 for pid, n in level.items()}, 20)


@pytest.mark.parametrize(("mode", "variant", "pairs"), CELLS)
def test_no_flow_meets_another(mode: str, variant: str, pairs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODNET_PAIRS", pairs)
    drive(mode, variant, connections=1000)
