"""Fixtures and rules that all tests share.

A test that needs root and does not have it is not run, and the summary says so in a section of its own: a
privilege that is missing is never silent. Missing packages fail.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.integrity.client.tree import Tree
from tests.lib.modnet import Modnet, places
from tests.lib.process import become_subreaper
from tests.lib.users import ordinary

NOT_ROOT = "needs root, and these tests run as an ordinary user"


# A busy machine is not a failure: pytest-timeout bounds a test, not hypothesis each of its examples.
hypothesis.settings.register_profile("modnet", deadline=None)
hypothesis.settings.load_profile("modnet")


def pytest_configure(config: pytest.Config) -> None:
    become_subreaper()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid():
        for item in items:
            if item.get_closest_marker("root"):
                item.add_marker(pytest.mark.skip(reason=NOT_ROOT))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [r for r in terminalreporter.stats.get("skipped", []) if NOT_ROOT in str(r.longrepr)]
    if skipped:
        terminalreporter.section("NOT RUN: needs root", yellow=True)
        terminalreporter.line(f"{len(skipped)} tests; run them with: sudo make test")


@pytest.fixture(scope="session")
def tree() -> Iterator[tuple[Path, Tree]]:
    """The files that servers serve, readable by everybody, and what is in them."""
    with tempfile.TemporaryDirectory(prefix="mn-www-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory, Tree(directory, seed=1)


@pytest.fixture
def modnet() -> Iterator[Modnet]:
    """The command in a place of its own, with a check that nothing stays behind."""
    yield from places()


@pytest.fixture(params=["self", pytest.param("ordinary", marks=pytest.mark.root)])
def modnet_as(request: pytest.FixtureRequest) -> Iterator[Modnet]:
    """As whoever runs the tests, and, if that is root, as an ordinary user too."""
    yield from places(None if request.param == "self" else ordinary())
