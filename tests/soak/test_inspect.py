"""Inspection for long: a hundred million snapshots of a busy connection, a hundred thousand short flows."""

import json
import subprocess

import pytest

from tests.inspect.conftest import NAMESPACE, THERE, enabled, place, reads, veth  # noqa: F401 - fixtures
from tests.inspect.test_states import torn
from tests.lib.process import until

pytestmark = [pytest.mark.soak, pytest.mark.root, pytest.mark.timeout(900)]


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
