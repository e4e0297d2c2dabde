"""One connection through a module, from end to end, in a runtime directory of its own: what `modnet doctor`
tries last.

Rules: whatever happens, nothing stays behind, neither process nor file. Must not: touch the user's own
modules.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from modnet.errors import ModnetError, SystemRefused
from modnet.registry import Registry
from modnet.stopping import stop_all

__all__ = ["MODULE", "try_connection"]

MODULE = "forwarder"
SECONDS = 15.0
"""For everything: the interpreter starts three times."""

SERVER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
connection, _ = listener.accept()
connection.sendall(connection.recv(100))
connection.close()
sys.stdin.read()
"""


def try_connection() -> int:
    """How many connections of one were handed to the module: 1 where all is well."""
    with _directory() as directory:
        # What is looked into by nobody else: the mode that the registry wants, below one that is closed.
        runtime = directory / "r"
        command = [sys.executable, "-m", "modnet", "run", "-m", MODULE, "--", sys.executable, "-c", SERVER]
        server = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"MODNET_RUNTIME_DIR": str(runtime)},
        )
        try:
            return _talk(server, runtime)
        finally:
            server.kill()
            server.communicate()
            _stop(runtime)


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="mn-"))
    try:
        yield directory
    finally:
        _remove(directory)


def _remove(directory: Path) -> None:
    """A janitor works in it until it finds nothing left to do: files come and go while they are removed."""
    end = time.monotonic() + SECONDS
    while directory.exists():
        try:
            shutil.rmtree(directory)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


def _talk(server: subprocess.Popen[bytes], runtime: Path) -> int:
    assert server.stdout is not None and server.stderr is not None
    line = server.stdout.readline()
    if not line:
        said = server.stderr.read().decode(errors="replace").strip()
        raise SystemRefused(said.removeprefix("modnet: ") or "the command ended without a word")
    with socket.create_connection(("127.0.0.1", int(line)), SECONDS) as client:
        client.settimeout(SECONDS)
        client.sendall(b"through")
        if client.recv(100) != b"through":
            raise SystemRefused("the bytes did not come back through the module")
    [record] = Registry(str(runtime)).records()
    return record.counters["stolen"]


def _stop(runtime: Path) -> None:
    try:
        registry = Registry(str(runtime))
        stop_all(registry, registry.modules(), 0.0)
    except ModnetError:
        # It has ended by itself, or will: its directory goes now.
        return
