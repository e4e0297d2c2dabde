"""Inspection for long: a hundred million snapshots of a busy connection, a hundred thousand short flows."""

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.inspect.conftest import enabled, place, reads  # noqa: F401 - fixtures
from tests.inspect.test_states import torn
from tests.lib.process import until

pytestmark = [pytest.mark.soak, pytest.mark.root, pytest.mark.timeout(900)]


NAMESPACE = "mn-inspect"
HERE, THERE = "10.211.7.1", "10.211.7.2"


@pytest.fixture
def veth() -> Iterator[None]:
    """Another host: a network namespace at the end of a veth pair."""

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    ip("netns", "add", NAMESPACE)
    try:
        ip("link", "add", "mn-here", "type", "veth", "peer", "name", "mn-there", "netns", NAMESPACE)
        ip("addr", "add", f"{HERE}/24", "dev", "mn-here")
        ip("link", "set", "mn-here", "up")
        ip("-n", NAMESPACE, "addr", "add", f"{THERE}/24", "dev", "mn-there")
        ip("-n", NAMESPACE, "link", "set", "mn-there", "up")
        yield
    finally:
        ip("netns", "del", NAMESPACE)


def test_of_a_hundred_million_snapshots_over_loopback_none_is_torn(enabled, reads):  # noqa: F811
    torn(enabled, reads, 100_000_000)


def test_of_a_hundred_million_snapshots_over_veth_none_is_torn(enabled, reads, veth):  # noqa: F811
    torn(enabled, reads, 100_000_000, THERE, "ip", "netns", "exec", NAMESPACE)


def test_a_hundred_thousand_short_flows_lose_no_slot(enabled, reads):  # noqa: F811
    done = subprocess.run(
        reads("churn", 100_000), env=enabled.environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == {"connections": 100_000, "inspected": 100_000}
    until(lambda: enabled.counters()["in_use"] == 0, 30, "the slots")
    counters = enabled.counters()
    assert (counters["taken"], counters["lost"], counters["refused"]) == (100_000, 0, 0)
