"""Whose sockets a module takes: its owner's and root's, and those of whoever holds the token of a chain that
names it.

Here the sender is a process that has become www-data, as an Apache worker that root has started.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lib.modnet import Modnet, ended

pytestmark = pytest.mark.root
SENDER = Path(__file__).with_name("sender.py")
WWW_DATA = 33


class Applied:
    """An application of root's with a chain, and what a process of another user could say to its module."""

    def __init__(self, modnet: Modnet) -> None:
        self.modnet = modnet
        self.running = modnet.server("forwarder")
        self.record = self.running.pid
        self.token = (modnet.runtime / "processes" / str(self.record)).read_bytes()[40:56].hex()

    def sent(
        self,
        *,
        user: int = WWW_DATA,
        record: int | None = None,
        token: str | None = None,
        chain: tuple[str, ...] = ("forwarder",),
        name: str = "forwarder",
    ) -> str:
        queue = next((self.modnet.runtime / "modules" / name).glob("steal.*"))
        script = self.modnet.place.copy(SENDER)
        done = subprocess.run(
            [
                "/usr/bin/python3",
                str(script),
                str(queue),
                str(self.record if record is None else record),
                self.token if token is None else token,
                *chain,
            ],
            user=user,
            group=user,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture
def applied(modnet: Modnet) -> Iterator[Applied]:
    found = Applied(modnet)
    yield found
    ended(found.running)


def test_with_the_token_sockets_are_taken(applied: Applied) -> None:
    assert applied.sent() == "through"


@pytest.mark.parametrize("token", ["00" * 16, "ff" * 16])
def test_without_it_they_are_not(applied: Applied, token: str) -> None:
    assert applied.sent(token=token) == "closed"


def test_a_record_that_does_not_exist_proves_nothing(applied: Applied) -> None:
    assert applied.sent(record=4194303) == "closed"


def test_another_processes_token_is_not_this_ones(applied: Applied, modnet: Modnet) -> None:
    other = modnet.server("forwarder")
    assert applied.sent(record=other.pid) == "closed"
    ended(other)


def test_a_token_is_good_for_the_modules_of_its_chain_only(applied: Applied, modnet: Modnet) -> None:
    other = modnet.server("forwarder,as=second")
    assert applied.sent(name="second", chain=("second",)) == "closed"
    ended(other)


def test_it_is_good_after_the_module_has_been_restarted(applied: Applied, modnet: Modnet) -> None:
    assert modnet("module", "stop", "forwarder").returncode == 0
    assert modnet("module", "start", "forwarder").returncode == 0
    assert applied.sent() == "through"
    assert modnet("module", "stop", "forwarder").returncode == 0


def test_root_needs_none(applied: Applied) -> None:
    assert applied.sent(user=0, token="00" * 16) == "through"
