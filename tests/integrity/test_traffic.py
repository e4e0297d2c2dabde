"""The traffic of the tests that kill: a connection that does not end shows where everybody stands."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from tests.integrity import traffic
from tests.lib.place import Place
from tests.lib.users import ordinary


@pytest.fixture
def place() -> Iterator[Place]:
    place = Place(ordinary())
    try:
        yield place
    finally:
        place.remove()


def test_a_connection_that_does_not_end(place: Place, tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is seen while it hangs, with its two ends, and then it is an outcome with its name."""
    monkeypatch.setattr(traffic, "LONG", 0.0)

    async def hang() -> traffic.Traffic:
        async with traffic.traffic(place, tree[1], clients=1) as flowing:
            while not flowing.seen:
                await asyncio.sleep(0.01)
            flowing.stopped = True
            silent.close()
        return flowing

    with socket.create_server(("127.0.0.1", place.port)) as silent:
        flowing = asyncio.run(hang())
    assert f"127.0.0.1:{place.port}" in flowing.seen
    assert "=== modnet ps" in flowing.seen
    assert [e.outcome for e in flowing.ended] == ["reset"]
    assert "seed 0, number 0, ended" in flowing.ended[0].what
