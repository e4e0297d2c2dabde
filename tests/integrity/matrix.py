"""The matrix of servers, variants and users, as pytest parameters.

Rules: natively each server is run once, which shows that the test holds without us; Apache's event MPM, an
extra, goes through the forwarder only.
"""

import os
from collections.abc import Callable, Iterable

import pytest

from tests.lib.users import User, ordinary, root
from tests.lib.variants import NATIVE, VARIANTS

USERS: dict[str, Callable[[], User]] = {"root": root, "user": ordinary}


def pairs(servers: Iterable[str], users: Iterable[str] = tuple(USERS)) -> list:
    """(server, variant, user) for every cell of the matrix; root's cells carry the marker `root`."""
    cells = []
    for server in servers:
        for variant in VARIANTS:
            for user in users:
                if server == "apache-event" and variant not in (NATIVE, "forwarder"):
                    continue
                if variant == NATIVE and len(list(users)) > 1 and (user == "root") != (os.geteuid() == 0):
                    continue
                marks = [pytest.mark.root] if user == "root" else []
                cells.append(
                    pytest.param(server, variant, user, marks=marks, id=f"{server}-{variant}-{user}")
                )
    return cells
