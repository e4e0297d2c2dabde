"""A real forwarder for the shim's tests, which takes the pool that the shim offers, as `peer.py` does not.

Rules: one module for all tests of a run, in a runtime directory of its own; a server that is to get pairs
which have had flows says so by `WARM` in its environment. It must not assert.
"""

import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from shutil import rmtree
from typing import Any

from tests.shim.record import Record

SYS_PIDFD_GETFD = 438
# Connections that a probe's server accepts and closes before its own: the first make pairs, others use them.
WARM = {"WARM": "5"}


class Module:
    """The forwarder `peer` in a runtime directory."""

    def __init__(self) -> None:
        self.runtime = Path(tempfile.mkdtemp(prefix="mnp-"))
        self.runtime.chmod(0o711)
        self.modnet("start", "forwarder,as=peer")

    def record(self, **settings: Any) -> Record:
        """A record under which pairs are pooled."""
        return Record(self.runtime, **({"flags": 0} | settings))

    def descriptors(self) -> int:
        """How many the module has."""
        status = json.loads(self.modnet("show", "peer", "--json"))
        return len(list(Path(f"/proc/{status['pid']}/fd").iterdir()))

    def die(self) -> list[int]:
        """Kills it, and waits until it is dead; its ends of the connections to its queues, which stay open as
        long as the caller keeps them."""
        pid = json.loads(self.modnet("show", "peer", "--json"))["pid"]
        handle = os.pidfd_open(pid)
        try:
            queues = connected_queues(handle, pid)
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            select.select([handle], [], [])
        finally:
            os.close(handle)
        return queues

    def names(self) -> list[str]:
        """Modules that run in its directory."""
        return [one["name"] for one in json.loads(self.modnet("list", "--json"))]

    def stop(self) -> None:
        self.modnet("stop", "peer")
        rmtree(self.runtime)

    def modnet(self, *words: str) -> str:
        """`modnet module ...` in its directory; what it printed."""
        environment = os.environ | {"MODNET_RUNTIME_DIR": str(self.runtime), "MODNET_PAIRS": "pooled"}
        argv = [sys.executable, "-m", "modnet", "module", *words]
        return subprocess.run(
            argv, env=environment, check=True, timeout=60, stdout=subprocess.PIPE, text=True
        ).stdout


def connected_queues(handle: int, pid: int) -> list[int]:
    """Duplicates of a module's ends of the connections to its queues."""
    queues = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        fd = ctypes.CDLL(None).syscall(SYS_PIDFD_GETFD, handle, int(entry.name), 0)
        try:
            with socket.socket(fileno=os.dup(fd)) as one:
                connected = not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                is_queue = one.type == socket.SOCK_SEQPACKET and connected
        except OSError:
            is_queue = False
        if is_queue:
            queues.append(fd)
        elif fd >= 0:
            os.close(fd)
    return queues
