"""Starting a program in a place, waiting until it listens, ending it with all that it started.

Rules: processes are ended by pid, found as descendants. The test process is a *subreaper*, so that an
orphan (a worker whose master was killed, a module that `modnet run` put aside) becomes its child instead of
init's and is found. It must not wait without a deadline, nor sleep in the hope that something has happened:
it polls a condition.
"""

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from tests.lib.place import Place
from tests.lib.users import Broken

PR_SET_CHILD_SUBREAPER = 36
LISTEN = "0A"


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Polls until `condition()`; raises Broken, naming `what`, after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Broken(f"after {seconds:g} s still waiting for {what}")
        time.sleep(0.01)


def listening(port: int) -> bool:
    """Whether any socket listens on `port`: asked of /proc, so that no connection is made."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTEN and int(fields[1].rsplit(":", 1)[1], 16) == port:
                return True
    return False


def parents() -> dict[int, tuple[int, str]]:
    """Every process: its parent and its state."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                found[int(entry.name)] = int(parent), state
    return found


def descendants(pid: int) -> list[int]:
    """Living processes below `pid`, zombies left out."""
    table = parents()
    below, found = {pid}, []
    grown = True
    while grown:
        grown = False
        for child, (parent, state) in table.items():
            if parent in below and child not in below:
                below.add(child)
                grown = True
                if state != "Z":
                    found.append(child)
    return found


def become_subreaper() -> None:
    """Orphans among our descendants become our children from now on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def reap_orphans() -> None:
    """Collects adopted children that have ended; those that `subprocess` knows it collects itself."""
    known = {p.pid for p in Program.running}
    for pid, (parent, state) in parents().items():
        if parent == os.getpid() and state == "Z" and pid not in known:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


class Program:
    """A program started in a place; its output is in the place's logs."""

    running: ClassVar[list["Program"]] = []

    def __init__(self, place: Place, argv: Sequence[str], name: str, descriptors: int = 0) -> None:
        self.place, self.name = place, name
        log = (place.logs / name).open("wb")
        other = (
            {}
            if place.user.is_self
            else {"user": place.user.uid, "group": place.user.gid, "extra_groups": [place.user.gid]}
        )
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        if descriptors:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, max(descriptors, before[1])))
        try:
            self.process = subprocess.Popen(
                argv,
                cwd=place.directory,
                env=place.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **other,
            )
        finally:
            if descriptors:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)
            log.close()
        self.pid = self.process.pid
        Program.running.append(self)

    def wait_for(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """As `until`, but gives up at once, with the logs, if the program ends."""

        def ended_or_ready() -> bool:
            return self.process.poll() is not None or condition()

        try:
            until(ended_or_ready, seconds, f"{self.name}: {what}")
        except Broken as error:
            raise Broken(f"{error}\n{self.place.logged()}") from None
        if self.process.poll() is not None and not condition():
            raise Broken(f"{self.name} ended with {self.process.returncode}\n{self.place.logged()}")

    def stop(self, number: int = signal.SIGTERM, seconds: float = 15) -> int:
        """Asks the program to end; kills it and its family if it does not. Returns its exit status."""
        family = descendants(self.pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            kill([self.pid, *family])
            self.process.wait(10)
            raise Broken(f"{self.name} did not end within {seconds} s\n{self.place.logged()}") from None
        finally:
            Program.running.remove(self)


def kill(pids: Sequence[int]) -> None:
    """SIGKILL to each of `pids`."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
