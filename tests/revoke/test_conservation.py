"""Writes, yanks, peeks, locks and reads in any order: each byte arrives once or is taken back once."""

from __future__ import annotations

import contextlib
import random

import pytest

from tests.lib.modnet import Modnet
from tests.revoke.scene import LOCK, NONE, UNLOCK, Scene, scene
from tests.revoke.stream import pattern
from tests.revoke.test_chain import CHAINS

STEPS = 40


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_each_byte_arrives_once_or_is_taken_back_once(modnet: Modnet, chain: list[str]) -> None:
    with scene(modnet, chain) as play:
        wander(play, random.Random(str(chain)), STEPS)


def wander(play: Scene, chance: random.Random, steps: int) -> None:
    """So many steps by chance, then the end."""
    written, locked, peeked = 0, False, b""
    for _ in range(steps):
        match chance.randrange(8):
            case 0 | 1:
                written = play.do("fill", chance.choice([1, 5000, 300_000, 3_000_000]))
                peeked = b""
            case 2 | 3:
                length = chance.choice([0, 1, 2999, 70_000, 2_000_000])
                lock = chance.choice([NONE, NONE, LOCK, UNLOCK])
                got = play.yank(length, lock)
                assert len(got) <= length and got == pattern(written - len(got), len(got))
                if locked and peeked:
                    assert got[-len(peeked) :] == peeked[-len(got) :] if got else length == 0
                written -= len(got)
                locked = lock == LOCK or (locked and lock == NONE)
                peeked = b""
            case 4:
                lock = chance.choice([NONE, LOCK])
                peeked = play.peek(chance.choice([1, 4000, 400_000]), lock)
                assert peeked == pattern(written - len(peeked), len(peeked))
                locked = locked or lock == LOCK
            case 5 if locked:
                assert play.yank(0, UNLOCK) == b""
                locked, peeked = False, b""
            case _ if not locked:
                # No more than is there for certain: what is unsent may be taken back yet.
                play.client.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    play.read(chance.choice([100, 10_000, 1_000_000]))
                play.client.setblocking(True)
                play.client.settimeout(60)
    assert play.finish() == pattern(0, written)
