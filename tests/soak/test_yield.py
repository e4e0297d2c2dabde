"""The long form of tests/integrity/test_yield.py: 10,000 connections through the filter to other modules,
and deaths at random moments.
"""

import os

import pytest

from tests.integrity import test_yield, test_yield_gzip
from tests.integrity.test_yield_gzip import pages  # noqa: F401  # a fixture

CONNECTIONS = int(os.environ.get("MODNET_SOAK_CONNECTIONS", "10000"))

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("targets", [("forwarder",), ("identity",), ("one", "two")], ids="-".join)
@pytest.mark.parametrize("server", test_yield.SERVERS)
def test_every_stream_is_intact(server: str, targets: tuple[str, ...], tree) -> None:
    test_yield.drive(server, targets, tree, CONNECTIONS)


@pytest.mark.parametrize("server", test_yield.SERVERS)
def test_every_stream_is_intact_when_the_answer_decides(server: str, tree) -> None:
    test_yield.drive(server, ("identity",), tree, CONNECTIONS, rules="type")


@pytest.mark.parametrize("pairs", ["fresh", "pooled"])
def test_deaths_at_random_moments(pairs: str, tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODNET_PAIRS", pairs)
    test_yield.rounds_of_deaths(tree, 30, seed=2)


@pytest.mark.parametrize("rules", ["path", "type"])
def test_every_body_that_gzip_got_is_the_files(rules: str, pages) -> None:  # noqa: F811
    test_yield_gzip.drive(pages, rules, CONNECTIONS)
