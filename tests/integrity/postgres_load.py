"""PostgreSQL's own clients: pgbench with a connection per transaction, and COPY in both directions compared
by hash.

Rules: clients run natively and from their own package; nothing is compared by eye.
"""

import hashlib
import os
import random
import subprocess

from tests.lib.place import Place
from tests.servers.databases import postgres_binary


def run(place: Place, program: str, *arguments: str, stdin: bytes = b"", seconds: float = 120) -> bytes:
    """Runs a client against the place's server; raises with its output unless it succeeds."""
    done = subprocess.run(
        [postgres_binary(program), *arguments],
        input=stdin,
        capture_output=True,
        timeout=seconds,
        env={
            **os.environ,
            "PGHOST": "127.0.0.1",
            "PGPORT": str(place.port),
            "PGUSER": "tester",
            "PGDATABASE": "postgres",
            "PGSSLMODE": "disable",
        },
    )
    if done.returncode:
        raise AssertionError(f"{program} ended with {done.returncode}: {done.stderr.decode()[-2000:]}")
    return done.stdout


def transactions(place: Place, count: int, clients: int = 8) -> None:
    """`count` selects, each on a connection of its own, and as many on lasting ones. All must succeed."""
    run(place, "pgbench", "-i", "-q", "-s", "1")
    each = max(1, count // clients)
    for fresh in (["-C"], []):
        out = run(
            place, "pgbench", "-n", "-S", *fresh, "-c", str(clients), "-j", "2", "-t", str(each), seconds=600
        ).decode()
        assert f"{clients * each}/{clients * each}" in out, out
        assert "failed transactions: 0 (0.000%)" in out, out


def copy_there_and_back(place: Place, rows: int, seed: int) -> None:
    """Random rows in by COPY and out again: the same bytes."""
    draw = random.Random(seed)
    table = b"".join(
        b"%d\t\\\\x%s\n" % (i, draw.randbytes(draw.randint(0, 3000)).hex().encode()) for i in range(rows)
    )
    run(
        place,
        "psql",
        "-qc",
        "CREATE TABLE IF NOT EXISTS blobs (id int PRIMARY KEY, data bytea); TRUNCATE blobs",
    )
    run(place, "psql", "-qc", "COPY blobs FROM STDIN", stdin=table)
    back = run(place, "psql", "-qc", "COPY (SELECT * FROM blobs ORDER BY id) TO STDOUT")
    assert hashlib.sha256(back).digest() == hashlib.sha256(table).digest(), (
        f"{len(back)} of {len(table)} bytes"
    )
