"""Other projects' own tests of servers: those that pass natively pass under a module. The long lists are in
tests/soak."""

import pytest

from tests.integrity import cpython, node_suite, redis_suite, tornado
from tests.integrity.suites import unexplained


@pytest.mark.slow
@pytest.mark.parametrize("name", cpython.SHORT)
def test_cpythons_own_tests_notice_nothing(name: str) -> None:
    assert unexplained("forwarder", cpython.suite(name)) == {}


@pytest.mark.slow
def test_tornados_own_tests_notice_nothing() -> None:
    assert unexplained("forwarder", tornado.suite(tornado.SHORT)) == {}


@pytest.mark.slow
def test_redis_own_tests_notice_nothing() -> None:
    assert unexplained("forwarder", redis_suite.suite(redis_suite.SHORT)) == {}


@pytest.mark.slow
def test_nodes_own_tests_notice_nothing() -> None:
    assert unexplained("forwarder", node_suite.suite(node_suite.SHORT)) == {}
