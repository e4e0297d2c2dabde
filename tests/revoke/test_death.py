"""kill -9 of the application, or of a module, while bytes are being taken back."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time

import pytest

from tests.lib.modnet import Modnet
from tests.revoke.scene import LOCK, NONE, Scene, scene
from tests.revoke.stream import pattern

CHAIN = ["Upper", "forwarder,revocable=yes"]
MUCH = 8 << 20
ROUNDS = 4


def _pid(modnet: Modnet, victim: str, play: Scene) -> int:
    if victim == "application":
        return play.running.pid
    modules = json.loads(modnet("ps", "--json").stdout)["modules"]
    return next(module["pid"] for module in modules if module["name"] == victim)


def _drain(play: Scene) -> bytes:
    """What arrives until the end, in order or not."""
    with contextlib.suppress(ConnectionResetError):
        play.read(1 << 40)
    return play.decoded()


def strike(modnet: Modnet, victim: str, chance: random.Random) -> None:
    """One round: two flows of the same modules; one of them is being taken back when the blow falls."""
    with scene(modnet, CHAIN) as play, scene(modnet, CHAIN) as other:
        play.do("fill", MUCH)
        written = other.do("fill", MUCH)
        pid = _pid(modnet, victim, play)
        play.ask(chance.choice(["yank", "peek"]), chance.choice([100, MUCH]), chance.choice([NONE, LOCK]), 0)
        time.sleep(chance.uniform(0, 0.02))
        os.kill(pid, signal.SIGKILL)
        if victim != "application":
            # It has its answer, whatever that is, and closes as a server does that hears of an end.
            play.answer()
            play.do("close")
            other.do("close")
        got = _drain(play)
        assert got == pattern(0, len(got)), "bytes that were never there"
        if victim == "application":
            assert other.finish() == pattern(0, written)
        else:
            got = _drain(other)
            assert got == pattern(0, len(got))


@pytest.mark.parametrize("victim", ["application", "upper", "forwarder"])
def test_nothing_hangs_and_no_byte_is_wrong(modnet: Modnet, victim: str) -> None:
    chance = random.Random(victim)
    for _ in range(ROUNDS):
        strike(modnet, victim, chance)
    # And what comes after it finds everything in order.
    with scene(modnet, CHAIN) as play:
        written = play.do("fill", MUCH)
        yanked = play.yank(5000)
        assert yanked == pattern(written - 5000, 5000)
        assert play.finish() == pattern(0, written - 5000)
