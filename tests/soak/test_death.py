"""Thirty rounds of kill -9 of each part, as tests/integrity/test_death.py does three, and two hundred at
random moments with each setting of the pairs.
"""

import asyncio

import pytest

from tests.integrity import death
from tests.integrity.matrix import USERS
from tests.integrity.rounds import VICTIMS, rounds
from tests.integrity.test_death import BOTH, PAIRS, rounds_of_module, rounds_of_worker, servers

ROUNDS = 30
RANDOM_ROUNDS = 200

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("user", BOTH)
@pytest.mark.parametrize("sharers", [1, 2])
def test_of_the_module(sharers: int, user: str, tree) -> None:
    rounds_of_module(user, tree, ROUNDS, sharers)


@pytest.mark.parametrize("user", BOTH)
def test_of_a_worker(user: str, tree) -> None:
    rounds_of_worker(user, "forwarder", tree, ROUNDS)


@pytest.mark.parametrize("user", BOTH)
@pytest.mark.parametrize("kill", [death.master, death.everything_at_once])
def test_of_the_command(kill, user: str, tree) -> None:
    for number in range(ROUNDS):
        with servers(USERS[user](), 1, "forwarder", tree[0]) as (up,):
            asyncio.run(kill(up, tree[1]))
        print(f"{kill.__name__} {user}: round {number + 1}")


@pytest.mark.parametrize("victims", VICTIMS)
@pytest.mark.parametrize(("variant", "pairs"), PAIRS)
def test_at_random_moments(variant: str, pairs: str, victims: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODNET_PAIRS", pairs)
    rounds(USERS["user"](), variant, victims, RANDOM_ROUNDS // len(VICTIMS), seed=2)
