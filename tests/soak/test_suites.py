"""Other projects' own network tests, the whole lists, under the forwarder."""

import pytest

from tests.integrity import cpython, tornado
from tests.integrity.suites import unexplained


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", cpython.FULL)
def test_cpythons_own_tests_notice_nothing(name: str) -> None:
    assert unexplained("forwarder", cpython.suite(name)) == {}


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_tornados_own_tests_notice_nothing() -> None:
    assert unexplained("forwarder", tornado.suite(tornado.FULL)) == {}
