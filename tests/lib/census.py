"""What exists: processes that descend from us, names and sockets in a registry, descriptors, memory.

Rules: a census is a plain value, so that *before == after* is the whole test and its difference is the
message. It must not clean up; `sweep` does, after the comparison.
"""

import contextlib
import json
import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from tests.lib.counters import ACCEPTS, NAMES
from tests.lib.place import Place
from tests.lib.process import descendants, kill, reap_orphans, until
from tests.lib.users import Broken


@dataclass(frozen=True)
class Census:
    """Everything that a run of ModNet could leave behind."""

    processes: frozenset[str]
    files: frozenset[str]
    sockets: frozenset[str]

    def is_within(self, before: "Census") -> bool:
        """Whether nothing is new. What an earlier test left ending may have gone."""
        return (
            self.processes <= before.processes
            and self.files <= before.files
            and self.sockets <= before.sockets
        )


def take(place: Place) -> Census:
    """Our descendants, all files below the runtime directory, all UNIX sockets bound below it."""
    reap_orphans()
    names = set()
    for pid in descendants(os.getpid()):
        with contextlib.suppress(OSError):
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            # One that has ended, and whose parent has not asked yet, has no command any more.
            if line.strip():
                names.add(f"{pid} {line.strip()[:150]}")
    # The two directories and the lock are the registry itself; they stay for the next run.
    standing = {"modules", "processes", "modules/.lock"}
    files = below(place.runtime) - standing
    # The eighth column is the address, whatever bytes others have put there.
    rows = (line.split(maxsplit=7) for line in Path("/proc/net/unix").read_bytes().splitlines()[1:])
    addresses = {row[7].decode(errors="replace") for row in rows if len(row) > 7}
    bound = {address for address in addresses if address.startswith(str(place.runtime))}
    return Census(frozenset(names), frozenset(files), frozenset(bound))


def below(directory: Path) -> set[str]:
    """Every file and directory below one in which others come and go (`rglob` raises where one has just
    gone).
    """
    found = set()
    for parent, directories, files in os.walk(directory):
        found |= {str((Path(parent) / name).relative_to(directory)) for name in directories + files}
    return found


def wait_same(place: Place, before: Census, seconds: float = 20) -> None:
    """Waits until nothing is there that was not `before`; raises Broken with what remains.

    Modules end when they notice that their last user has gone, which takes them a moment."""
    try:
        until(lambda: take(place).is_within(before), seconds, "nothing new")
    except Broken:
        after = take(place)
        raise Broken(
            f"left behind after {seconds} s: {difference(before, after)}\n{place.logged()}"
        ) from None


def difference(before: Census, after: Census) -> str:
    """What one has and the other has not, for a message."""
    parts = []
    for kind in ("processes", "files", "sockets"):
        old, new = getattr(before, kind), getattr(after, kind)
        parts += [f"new {kind} {sorted(new - old)}"] if new - old else []
        parts += [f"gone {kind} {sorted(old - new)}"] if old - new else []
    return "; ".join(parts)


def sweep(before: Census) -> None:
    """Kills what has come since `before`, after a test that failed to leave nothing."""
    old = {int(entry.split()[0]) for entry in before.processes}
    kill([pid for pid in descendants(os.getpid()) if pid not in old])
    reap_orphans()


def descriptors(pid: int) -> int:
    """Open descriptors of a process, hidden ones included."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def sockets(pid: int) -> int:
    """How many of them are sockets."""
    found = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += str(entry.readlink()).startswith("socket:")
    return found


POOL = "/memfd:modnet-pool"


def pools(pid: int) -> tuple[int, int]:
    """How many descriptors and how many mappings of memory for pooled pairs a process has."""
    held = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            held += str(entry.readlink()).startswith(POOL)
    return held, Path(f"/proc/{pid}/maps").read_text().count(POOL)


def resident(pid: int) -> int:
    """Resident memory of a process in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def module_pid(place: Place, name: str) -> int | None:
    """The process behind a module's control socket (the kernel says whose it is), None if nobody is."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as control:
        try:
            control.connect(str(place.runtime / "modules" / name / "control"))
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        size = struct.calcsize("3i")
        return int(struct.unpack("3i", control.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[0])


def flows(place: Place, name: str) -> int:
    """How many flows a module has at the moment, as its control socket says."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as control:
        control.settimeout(10)
        control.connect(str(place.runtime / "modules" / name / "control"))
        control.send(json.dumps({"op": "flows"}).encode())
        count = 0
        while not (answer := json.loads(control.recv(1 << 20))).get("done"):
            count += 1
        if "error" in answer:
            raise Broken(f"{name} does not list its flows: {answer}")
        return count


def stolen(place: Place, pid: int) -> int:
    """How many sockets the process `pid` and its children have handed to their chain: the record's first
    counter."""
    page = (place.runtime / "processes" / str(pid)).read_bytes()[4096:]
    return int(struct.unpack_from("<Q", page)[0])


def handled(place: Place, pid: int) -> int:
    """How many accepted sockets were stolen or counted as not stolen."""
    found = counters(place, pid)
    return sum(found.get(NAMES.index(name), 0) for name in ACCEPTS)


def counters(place: Place, pid: int) -> dict[int, int]:
    """Every counter of the record that is not zero, by index (`crates/abi/src/counter.rs`)."""
    page = (place.runtime / "processes" / str(pid)).read_bytes()[4096:]
    return {index: value for index, value in enumerate(struct.unpack_from("<64Q", page)) if value}
