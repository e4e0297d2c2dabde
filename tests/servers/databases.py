"""redis and PostgreSQL, over TCP, data in the place.

PostgreSQL refuses to run as root. Where root runs it, root's command gives its privileges up (setpriv) as a
service manager's would, below `modnet run`.
"""

import os
import signal
import subprocess
from pathlib import Path

from tests.lib.place import Place
from tests.lib.users import Broken, ordinary
from tests.servers.base import Server

POSTGRES = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 100
fsync = off
shared_buffers = 32MB
dynamic_shared_memory_type = mmap
log_min_messages = warning
"""


def redis_command(place: Place, www: Path) -> list[str]:
    return [
        "redis-server",
        "--port",
        str(place.port),
        "--bind",
        "127.0.0.1",
        "--dir",
        str(place.directory),
        "--save",
        "",
        "--appendonly",
        "no",
        "--daemonize",
        "no",
        "--tcp-backlog",
        "1024",
    ]


def postgres_binary(name: str) -> str:
    """A program of the newest PostgreSQL, which Debian keeps off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    if not found:
        raise Broken(f"PostgreSQL's {name} is not installed: apt-get install postgresql")
    return str(found[-1])


def postgres_command(place: Place, www: Path) -> list[str]:
    user = ordinary() if place.user.uid == 0 else place.user
    data = place.directory / "data"
    data.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(data, user.uid, user.gid)
    as_user = {} if user.is_self else {"user": user.uid, "group": user.gid, "extra_groups": [user.gid]}
    made = subprocess.run(
        [
            postgres_binary("initdb"),
            "-D",
            data,
            "-U",
            "tester",
            "-A",
            "trust",
            "-N",
            "-E",
            "UTF8",
            "--locale=C",
        ],
        env=place.environment(),
        cwd=place.directory,
        capture_output=True,
        text=True,
        timeout=120,
        **as_user,
    )
    if made.returncode:
        raise Broken(f"initdb: {made.stdout}{made.stderr}")
    with (data / "postgresql.conf").open("a") as file:
        file.write(POSTGRES.format(port=place.port))
    command = [postgres_binary("postgres"), "-D", str(data)]
    if user == place.user:
        return command
    return ["setpriv", f"--reuid={user.uid}", f"--regid={user.gid}", "--clear-groups", "--", *command]


def postgres_answers(place: Place) -> bool:
    asked = subprocess.run(
        [postgres_binary("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(place.port)], timeout=10
    )
    return asked.returncode == 0


REDIS = Server("redis", ("redis-server", "redis-benchmark"), redis_command)
# SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for clients.
POSTGRESQL = Server(
    "postgresql", ("setpriv", "psql"), postgres_command, stop_signal=signal.SIGINT, answers=postgres_answers
)
