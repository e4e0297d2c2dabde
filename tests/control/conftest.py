"""The fixture `modnet`: the command in a place of its own, with a check that nothing stays behind."""

from collections.abc import Iterator

import pytest

from tests.lib.modnet import Modnet, places
from tests.lib.users import User, ordinary


def _users() -> list[object]:
    return ["self", pytest.param("ordinary", marks=pytest.mark.root)]


@pytest.fixture
def modnet() -> Iterator[Modnet]:
    yield from places()


@pytest.fixture(params=_users())
def modnet_as(request: pytest.FixtureRequest) -> Iterator[Modnet]:
    """As whoever runs the tests, and, if that is root, as an ordinary user too."""
    user: User | None = None if request.param == "self" else ordinary()
    yield from places(user)
