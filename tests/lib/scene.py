"""What there is to see where a connection does not end: sockets, processes, what each waits for.

Rules: it is taken while the connection still hangs, reads and changes nothing, and never fails, since it is
taken where something else has. It must not judge.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.lib.place import Place
from tests.lib.process import descendants

SECONDS = 20


def scene(place: Place) -> str:
    """Of a server's place: who holds which end of its connections, where each sleeps, what modules say."""
    pids = descendants(os.getpid())
    port = f"( sport = :{place.port} or dport = :{place.port} )"
    family = [f"pid={pid}," for pid in pids]
    unix = [line for line in said("ss", "-HOxanp").splitlines() if any(pid in line for pid in family)]
    parts = [
        f"=== connections of port {place.port}",
        # What has ended in order would fill pages.
        said("ss", "-HOtnpoie", "state", "connected", "exclude", "time-wait", port),
        *(line for pid in pids for line in process(pid)),
        # Its peer is 0 where a socket's other end has gone.
        "=== UNIX sockets",
        *(" ".join(line.split()) for line in unix),
        "=== modnet ps",
        said(*place.modnet("ps", "--json"), env=place.environment()),
    ]
    return "\n".join(parts)


def said(*command: str, env: dict[str, str] | None = None) -> str:
    """What a command printed, or why it did not."""
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (done.stdout + done.stderr).strip()


def process(pid: int) -> Iterator[str]:
    """Its command, where each of its threads sleeps, its descriptors, what its epoll sets watch."""
    at = Path(f"/proc/{pid}")
    with contextlib.suppress(OSError):
        yield f"=== {pid} {(at / 'cmdline').read_bytes().replace(bytes(1), b' ').decode(errors='replace')}"
        for thread in sorted((at / "task").iterdir()):
            state = (thread / "stat").read_text().rpartition(")")[2].split()[0]
            yield f"thread {thread.name} {state} {(thread / 'wchan').read_text()}"
        for entry in sorted((at / "fd").iterdir(), key=lambda entry: int(entry.name)):
            target = str(entry.readlink())
            yield f"{entry.name} -> {target}"
            if target == "anon_inode:[eventpoll]":
                yield from (at / "fdinfo" / entry.name).read_text().splitlines()[4:]
