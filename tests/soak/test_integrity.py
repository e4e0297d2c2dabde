"""The long form of the integrity matrix: 10,000 connections a cell, one after the other, progress as they
end."""

import os

import pytest

from tests.integrity import test_databases, test_raw
from tests.integrity import test_http as http
from tests.integrity.matrix import pairs
from tests.lib.variants import NATIVE
from tests.servers.catalogue import HTTP

# MODNET_SOAK_CONNECTIONS makes a shorter or longer run of the same.
CONNECTIONS = int(os.environ.get("MODNET_SOAK_CONNECTIONS", "10000"))

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]


@pytest.mark.parametrize(("server", "variant", "user"), pairs(HTTP))
def test_http(server: str, variant: str, user: str, tree) -> None:
    http.drive(server, variant, user, tree, CONNECTIONS, seed=2)


@pytest.mark.parametrize("variant", [NATIVE, "forwarder"])
def test_100000_connections_leave_node_as_it_was(variant: str, tree) -> None:
    """libuv closes by `syscall(SYS_close)`, which a hook on close() alone does not see."""
    http.drive("node", variant, "user", tree, 10 * CONNECTIONS, seed=3)


@pytest.mark.parametrize(("server", "variant", "user"), pairs(["redis"]))
def test_redis(server: str, variant: str, user: str, tree) -> None:
    test_databases.drive_redis(variant, user, tree, CONNECTIONS)


@pytest.mark.parametrize(("server", "variant", "user"), pairs(["postgresql"]))
def test_postgresql(server: str, variant: str, user: str, tree) -> None:
    test_databases.drive_postgres(variant, user, tree, CONNECTIONS)


@pytest.mark.parametrize(("server", "variant", "user"), pairs(["peer", "threads", "selectors", "asyncio"]))
def test_raw_flows(server: str, variant: str, user: str) -> None:
    test_raw.drive(server, variant, user, CONNECTIONS)
