"""An application takes back what it has written to a flow that a filter has yielded, to a module that the
chain which was applied does not name.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lib.modnet import Modnet
from tests.revoke.scene import scene
from tests.revoke.stream import pattern

MUCH = 16 << 20


@pytest.fixture
def filtering(modnet: Modnet) -> Iterator[str]:
    """The filter, which leaves every flow to a forwarder whose bytes can be taken back."""
    assert modnet("module", "start", "forwarder,revocable=yes,as=late").returncode == 0
    rules = modnet.place.write("rules.toml", "[[rule]]\nmodules = ['late']\n")
    yield f"filter,rules={rules}"
    modnet("module", "stop", "late", "--drain", "0")


@pytest.mark.parametrize("before", [[], ["forwarder"], ["Upper"]], ids=["alone", "forwarder", "upper"])
def test_the_last_bytes_come_back_and_never_arrive(modnet: Modnet, filtering: str, before: list[str]) -> None:
    with scene(modnet, [*before, filtering]) as play:
        written = play.do("fill", MUCH)
        for length in (1, 10_000, 100_000):
            yanked = play.yank(length)
            assert yanked == pattern(written - length, length)
            written -= length
        written = play.do("write", 5000)
        assert play.finish() == pattern(0, written)
