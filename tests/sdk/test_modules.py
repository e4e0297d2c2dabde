"""`forwarder` and `throttle`: what they ask of the engine, and that no byte of theirs enters Python."""

from __future__ import annotations

import pytest
from modnet.errors import UsageError
from modnet.loader import BUILT_IN, load, parse
from modnet.modules.forwarder import Forwarder
from modnet.modules.throttle import Throttle
from modnet.settings import describe
from modnet.testing import play


def test_the_forwarder_has_no_hook() -> None:
    assert Forwarder.hooks() == frozenset()
    play(Forwarder(), [("outbound", b"a", b"a"), ("inbound", b"b", b"b"), ("outbound_end",), ("closed",)])


def test_the_throttle_sets_a_limit_and_leaves_the_bytes_alone() -> None:
    assert Throttle.hooks() == {"opened"}
    play(
        load(parse("throttle,rate=8Mbit/s,burst=256KiB")),
        [
            ("opened",),
            ("limit", "outbound", 1_000_000, 262144),
            ("limit", "inbound", 1_000_000, 262144),
            ("outbound", b"a", b"a"),
        ],
    )


@pytest.mark.parametrize("direction", ["outbound", "inbound"])
def test_the_throttle_may_have_one_direction(direction: str) -> None:
    module = load(parse(f"throttle,rate=5,direction={direction}"))
    play(module, [("opened",), ("limit", direction, 5, 65536), ("closed",)])


@pytest.mark.parametrize("bad", ["rate=0", "rate=1,burst=0", "rate=-1", "rate=fast", "rate=1,direction=up"])
def test_the_throttle_refuses_what_would_stop_or_confuse(bad: str) -> None:
    with pytest.raises(UsageError, match=r"^throttle: "):
        load(parse(f"throttle,{bad}"))


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_setting_of_a_built_in_module_has_a_help_text(name: str) -> None:
    extra = {"throttle": ",rate=1MB", "tap": ",file=/x", "filter": ",rules=/dev/null"}.get(name, "")
    assert all(info.help for info in describe(type(load(parse(name + extra))).Settings))
