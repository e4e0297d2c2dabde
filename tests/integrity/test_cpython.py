"""CPython's own tests of servers: those that pass natively pass under a module. The long list is in
tests/soak."""

import pytest

from tests.integrity.cpython import SHORT, unexplained


@pytest.mark.slow
@pytest.mark.parametrize("suite", SHORT)
def test_cpythons_own_tests_notice_nothing(suite: str) -> None:
    assert unexplained("forwarder", suite) == {}
