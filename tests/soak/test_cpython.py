"""CPython's own network tests, the whole list, under the forwarder."""

import pytest

from tests.integrity.cpython import FULL, unexplained


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("suite", FULL)
def test_cpythons_own_tests_notice_nothing(suite: str) -> None:
    assert unexplained("forwarder", suite) == {}
