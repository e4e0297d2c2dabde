"""redis and PostgreSQL under every variant: their own benchmarks succeed, and data comes back as it was
sent."""

import asyncio
import subprocess

import pytest

from tests.integrity import postgres_load, redis_load
from tests.integrity.matrix import USERS, pairs
from tests.lib.variants import NATIVE
from tests.servers.base import running
from tests.servers.databases import POSTGRESQL, REDIS


def benchmark(port: int, requests: int, *options: str) -> None:
    """redis-benchmark; its words for a failure are not in its exit status alone."""
    done = subprocess.run(
        ["redis-benchmark", "-p", str(port), "-n", str(requests), "-c", "32", "--csv", *options],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) > 1, done.stdout
    for line in lines[1:]:
        assert float(line.split(",")[1].strip('"')) > 0, line


def drive_redis(variant: str, user: str, tree, connections: int) -> None:
    with running(REDIS, USERS[user](), variant, tree[0]) as up:
        modules = up.modules()
        port = up.place.port
        counts = asyncio.run(redis_load.load(port, tree[1], connections, 32, seed=1))
        print(f"redis {variant} {user}: {dict(counts)}")
        benchmark(port, connections, "-t", "set,get", "-k", "0")
        benchmark(port, connections * 10, "-t", "set,get", "-d", "1000", "-P", "16")
        assert up.modules() == modules, f"a module died: {up.place.logged()}"
        if variant != NATIVE:
            assert up.stolen() >= connections


def drive_postgres(variant: str, user: str, tree, connections: int) -> None:
    with running(POSTGRESQL, USERS[user](), variant, tree[0]) as up:
        modules = up.modules()
        postgres_load.transactions(up.place, connections)
        postgres_load.copy_there_and_back(up.place, rows=2000, seed=1)
        assert up.modules() == modules, f"a module died: {up.place.logged()}"
        # Root's command is setpriv, which becomes another user and then PostgreSQL by exec: a new program
        # that may not read root's record, so it is left alone. (Workers that only fork keep their chain.)
        if variant != NATIVE and user == "user":
            assert up.stolen() >= connections


@pytest.mark.parametrize(("server", "variant", "user"), pairs(["redis"]))
def test_redis_gives_back_what_it_was_given(server: str, variant: str, user: str, tree) -> None:
    drive_redis(variant, user, tree, connections=200)


@pytest.mark.parametrize(("server", "variant", "user"), pairs(["postgresql"]))
def test_postgresql_gives_back_what_it_was_given(server: str, variant: str, user: str, tree) -> None:
    drive_postgres(variant, user, tree, connections=200)
