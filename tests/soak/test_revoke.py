"""Bytes taken back through chains, long: 100,000 steps by chance over all of them."""

from __future__ import annotations

import random

import pytest

from tests.lib.modnet import Modnet
from tests.revoke.scene import scene
from tests.revoke.test_chain import CHAINS
from tests.revoke.test_conservation import wander
from tests.revoke.test_death import strike

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

STEPS, SCENES = 100_000, 20
ROUNDS = 67
"""Three victims: 200 in all."""


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_each_byte_arrives_once_or_is_taken_back_once(modnet: Modnet, chain: list[str]) -> None:
    for seed in range(SCENES):
        with scene(modnet, chain) as play:
            wander(play, random.Random(f"{chain} {seed}"), STEPS // SCENES // len(CHAINS))


@pytest.mark.parametrize("victim", ["application", "upper", "forwarder"])
def test_death_while_bytes_are_taken_back(modnet: Modnet, victim: str) -> None:
    chance = random.Random(victim)
    for _ in range(ROUNDS):
        strike(modnet, victim, chance)
