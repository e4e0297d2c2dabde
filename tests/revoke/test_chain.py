"""An application takes back what it has written, through chains that pass, transform, or will not."""

from __future__ import annotations

import errno

import pytest

from tests.lib.modnet import Modnet
from tests.revoke.scene import DONTWAIT, LOCK, NONE, UNLOCK, scene
from tests.revoke.stream import pattern

LATE = "forwarder,revocable=yes"
CHAINS = {
    "forwarder": ["forwarder"],
    "late": [LATE],
    "upper": ["Upper"],
    "base64": ["Base64"],
    "packed": ["Packed"],
    "forwarder-late": ["forwarder", LATE + ",as=late"],
    "forwarder-upper": ["forwarder", "Upper"],
    "upper-late": ["Upper", LATE],
    "base64-forwarder": ["Base64", "forwarder"],
    "forwarder-packed-late": ["forwarder", "Packed", LATE + ",as=late"],
    "upper-base64-packed": ["Upper", "Base64", "Packed"],
}
MUCH = 16 << 20


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_the_last_bytes_come_back_and_never_arrive(modnet: Modnet, chain: list[str]) -> None:
    with scene(modnet, chain) as play:
        written = play.do("fill", MUCH)
        for length in (1, 10_000, 100_000):
            peeked = play.peek(length)
            assert peeked == pattern(written - len(peeked), len(peeked))
            # What a forwarder has given to the kernel it cannot take back.
            assert len(peeked) == length or chain == ["forwarder"]
            yanked = play.yank(length)
            assert yanked == peeked
            written -= len(yanked)
        written = play.do("fill", 50_000)
        everything = play.yank(MUCH)
        assert everything == pattern(written - len(everything), len(everything))
        written -= len(everything)
        assert play.yank(10) == b""
        written = play.do("write", 5000)
        assert play.finish() == pattern(0, written)


@pytest.mark.parametrize("chain", [["forwarder"], ["Upper", LATE]], ids=["forwarder", "upper-late"])
def test_under_a_lock_the_same_bytes_are_seen_and_nothing_goes(modnet: Modnet, chain: list[str]) -> None:
    with scene(modnet, chain) as play:
        play.do("fill", MUCH)
        peeked = play.peek(5000, LOCK)
        play.client.setblocking(False)
        # What is on its way arrives; then nothing does.
        assert play.peek(5000) == peeked
        assert play.yank(5000) == peeked
        play.client.setblocking(True)
        play.client.settimeout(30)
        written = play.do("write", 10)
        assert play.yank(10) == pattern(written - 10, 10)
        assert play.yank(0, UNLOCK) == b""
        assert play.finish() == pattern(0, written - 10)


def test_a_lock_ends_with_the_close(modnet: Modnet) -> None:
    with scene(modnet, [LATE]) as play:
        written = play.do("fill", MUCH)
        play.peek(10, LOCK)
        assert play.finish() == pattern(0, written)


def test_a_module_that_cannot_give_back_says_so_and_the_stream_is_unharmed(modnet: Modnet) -> None:
    for chain in (["Deaf"], ["forwarder,as=first", "Deaf"], ["Upper", "Deaf", LATE]):
        with scene(modnet, chain) as play:
            written = play.do("fill", MUCH)
            with pytest.raises(OSError, match=r"yank_requested|a module behind") as refused:
                play.yank(MUCH)
            assert refused.value.errno == errno.EOPNOTSUPP
            assert play.finish() == pattern(0, written)


def test_without_waiting_the_answer_comes_later(modnet: Modnet) -> None:
    with scene(modnet, ["forwarder", "Upper"]) as play:
        written = play.do("fill", MUCH)
        assert play.do("poll", 0) == []
        with pytest.raises(BlockingIOError):
            play.yank(1000, NONE, DONTWAIT)
        assert play.do("poll", 30) == [1 << 25]
        assert play.yank(1000, NONE, DONTWAIT) == pattern(written - 1000, 1000)
        assert play.do("poll", 0) == []
        assert play.finish() == pattern(0, written - 1000)


def test_a_buffer_smaller_than_the_answer_still_gives_it_whole(modnet: Modnet) -> None:
    with scene(modnet, ["Upper", LATE], {"MODNET_YANK_BUFFER": "100"}) as play:
        written = play.do("fill", MUCH)
        assert play.yank(300_000) == pattern(written - 300_000, 300_000)
        assert play.finish() == pattern(0, written - 300_000)
