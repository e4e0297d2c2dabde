"""Where a test's program runs: natively, or under the shim with a record and a peer of the test's own.

Rules: nothing here asserts, except that what should have been stolen was.
"""

import contextlib
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.shim.peer import Peer
from tests.shim.pooled import WARM, Module
from tests.shim.record import Record

ROOT = Path(__file__).resolve().parents[2]
SHIM = Path(os.environ.get("MODNET_SHIM") or ROOT / "python/modnet/lib/libmodnet_shim.so")
SOFT = 1024
Steps = Mapping[str, Callable[[socket.socket], object]]

# What every probe begins with: `conn` comes from accept, `sync(name)` lets the client do its step `name`,
# `out(value)` says something that is compared, `call(f)` gives a result or the name of the errno.
PRELUDE = """
import ctypes, errno, fcntl, os, select, signal, socket, struct, subprocess, sys, termios, time
def sync(name):
    print("@" + name, flush=True)
    assert sys.stdin.readline() == "\\n"
def out(*values):
    print("=" + repr(values), flush=True)
def call(function, *arguments):
    try:
        return function(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno, error.errno)
libc = ctypes.CDLL(None, use_errno=True)
def c(name, *arguments):
    ctypes.set_errno(0)
    result = getattr(libc, name)(*arguments)
    return result if result >= 0 else errno.errorcode[ctypes.get_errno()]
FAMILY = socket.AF_INET
def listen(**settings):
    host = "::1" if FAMILY == socket.AF_INET6 else "127.0.0.1"
    listener = socket.create_server((host, 0), family=FAMILY, **settings)
    return listener
def connected(listener):
    # Pairs that have had flows, where the environment asks for them; over when the client sees the end.
    warm = int(os.environ.pop("WARM", "0"))
    if warm:
        # On one core: each has pairs of its own.
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for step in ["warm"] * warm + ["connected"]:
        print("#%d" % listener.getsockname()[1], flush=True)
        conn = listener.accept()[0]
        # Else a reset could come before the client's connect has returned.
        sync("connected")
        if step == "warm":
            conn.close()
            sync("warm")
    return conn
"""
ONE = "listener = listen()\nconn = connected(listener)\n"


class Host:
    """A runtime directory, a record, a peer."""

    def __init__(self, module: Module | None = None) -> None:
        self.module = module
        self.runtime = Path(tempfile.mkdtemp(prefix="mns-"))
        self.runtime.chmod(0o711)
        self.peers: list[Peer] = []
        self.record = Record(self.runtime)

    def peer(self, name: str = "peer", **settings: Any) -> Peer:
        self.peers.append(Peer(self.runtime, name, **settings))
        return self.peers[-1]

    def renew(self, *chain: str, **settings: Any) -> Record:
        """Another record in the former's place."""
        self.record = Record(self.runtime, chain or ("peer",), **settings)
        return self.record

    def environment(self, *, stolen: bool = True) -> dict[str, str]:
        environment = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "MODNET_RECORD")}
        if stolen:
            environment |= {"LD_PRELOAD": str(SHIM), "MODNET_RECORD": str(self.record.path)}
        return environment

    def start(
        self, command: Sequence[str | Path], *, stolen: bool = True, soft: int = SOFT, **more: Any
    ) -> Any:
        """Starts a program with pipes as standard input and output, and an ordinary limit of descriptors."""

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

        environment = self.environment(stolen=stolen) | more.pop("env", {})
        return subprocess.Popen(
            list(map(str, command)),
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=limit,
            **more,
        )

    def run(
        self, command: Sequence[str | Path], *, stolen: bool = True, seconds: float = 60, **more: Any
    ) -> str:
        """Runs to the end; its output. Fails where it fails or waits."""
        with self.start(command, stolen=stolen, stderr=subprocess.STDOUT, **more) as process:
            try:
                output, _ = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                raise AssertionError(f"still running: {command}: {process.communicate()[0]}") from None
            if process.returncode:
                raise AssertionError(f"exit {process.returncode}: {command}: {output}")
            return str(output)

    def probe(
        self,
        body: str,
        steps: Steps | None = None,
        *,
        stolen: bool = True,
        prepare: str = ONE,
        **more: Any,
    ) -> list[str]:
        """Runs a Python server and plays its client; what it said by `out`."""
        return self.drive(
            [sys.executable, "-c", PRELUDE + prepare + textwrap.dedent(body)], steps, stolen=stolen, **more
        )

    def drive(
        self,
        command: Sequence[str | Path],
        steps: Steps | None = None,
        *,
        stolen: bool = True,
        **more: Any,
    ) -> list[str]:
        """Runs a server that prints `#port`, `@step` and `=value` lines, and plays its client.

        Each `#port` makes a further connection; a step acts on the newest."""
        said: list[str] = []
        clients: list[socket.socket] = []
        with contextlib.ExitStack() as stack, self.start(command, stolen=stolen, **more) as process:
            watchdog = stack.enter_context(killing_after(process, 60))
            for line in process.stdout:
                mark, rest = line[0], line[1:].rstrip("\n")
                if mark == "#":
                    host = "::1" if ":" in rest else "127.0.0.1"
                    client = socket.create_connection((host, int(rest.strip(":"))), timeout=30)
                    clients.append(stack.enter_context(client))
                elif mark == "@":
                    if rest == "warm":
                        with clients.pop() as client:
                            client.recv(1)
                    elif rest != "connected":
                        (steps or {})[rest](clients[-1] if clients else None)
                    process.stdin.write("\n")
                    process.stdin.flush()
                else:
                    said.append(line.rstrip("\n"))
            code = process.wait()
            if watchdog or code:
                raise AssertionError(f"exit {code}: {said}")
        return said

    def compare(self, body: str, steps: Steps | None = None, *, stolen: int = 1, **more: Any) -> list[str]:
        """The same natively, stolen, and stolen onto pairs that have had flows; fails where they differ or
        too few sockets were stolen."""
        natively = self.probe(body, steps, stolen=False, **more)
        if not self.peers:
            self.peer()
        before = self.record.count("stolen")
        under = self.probe(body, steps, **more)
        assert self.record.count("stolen") - before >= stolen, self.record.counters()
        assert under == natively
        if self.module:
            assert self.pooled(body, steps, **more) == natively
        return under

    def pooled(self, body: str, steps: Steps | None = None, **more: Any) -> list[str]:
        """Stolen by a real module, onto pairs that have had flows; `flags` are the record's."""
        own, self.record = self.record, self.module.record(flags=more.pop("flags", 0))
        try:
            said = self.probe(body, steps, env=WARM | more.pop("env", {}), **more)
            self.pairs = self.record.pairs()
            self.counters = self.record.counters()
            print("pairs:", self.pairs)
        finally:
            self.record = own
        return said

    def close(self) -> None:
        try:
            for peer in self.peers:
                peer.stop()
        finally:
            shutil.rmtree(self.runtime)


@contextlib.contextmanager
def killing_after(process: Any, seconds: float) -> Iterator[list[str]]:
    """Kills a program that hangs, so that its output ends; the list says whether."""
    fired: list[str] = []

    def fire() -> None:
        fired.append("hung")
        process.kill()

    timer = threading.Timer(seconds, fire)
    timer.start()
    try:
        yield fired
    finally:
        timer.cancel()
