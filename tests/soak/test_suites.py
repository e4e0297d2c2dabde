"""Other projects' own network tests, the whole lists, under the forwarder."""

from collections.abc import Callable

import pytest

from tests.integrity import cpython, curl_suite, node_suite, redis_suite, tornado
from tests.integrity.suites import Suite, unexplained


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", cpython.FULL)
def test_cpythons_own_tests_notice_nothing(name: str) -> None:
    assert unexplained("forwarder", cpython.suite(name)) == {}


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_tornados_own_tests_notice_nothing() -> None:
    assert unexplained("forwarder", tornado.suite(tornado.FULL)) == {}


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    "suite",
    [
        lambda: redis_suite.suite(redis_suite.FULL),
        lambda: node_suite.suite(node_suite.FULL),
        curl_suite.suite,
    ],
    ids=["redis", "node", "curl"],
)
def test_the_tests_of_their_source_packages_notice_nothing(suite: Callable[[], Suite]) -> None:
    assert unexplained("forwarder", suite()) == {}
