"""The environment and limits with which a command and a module are started.

Rules: the command sees what the launcher was given, byte for byte, and nothing of the interpreter that ran in
between: the kernel's copy is taken, since Python may have changed its own (LC_CTYPE under the C locale).
Must not: start anything.
"""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

from modnet import _native
from modnet.errors import SystemRefused
from modnet.registry import told

__all__ = ["SHIM", "for_command", "for_module", "make_room", "original", "restore_signals", "shim"]

SHIM = Path(__file__).parent / "lib" / "libmodnet_shim.so"

NR_OPEN = Path("/proc/sys/fs/nr_open")


def original() -> dict[bytes, bytes]:
    """The environment that this process was started with."""
    try:
        block = Path("/proc/self/environ").read_bytes()
    except OSError:
        return dict(os.environb)
    pairs = (entry.partition(b"=") for entry in block.split(b"\0") if entry)
    return {key: value for key, _, value in pairs}


def shim() -> bytes:
    """The path of the shim, checked to be one that LD_PRELOAD can hold."""
    if not SHIM.is_file():
        raise SystemRefused(f"{SHIM} is missing; install the package again (in a clone: make build)")
    path = bytes(SHIM)
    if any(c in path for c in b" :\t\n"):
        raise SystemRefused(
            f"LD_PRELOAD cannot hold {SHIM}: install modnet where no path has a blank or a colon"
        )
    return path


def for_command(
    given: dict[bytes, bytes], runtime: str, record: str, *, sanitised: bool
) -> dict[bytes, bytes]:
    """What the command gets: ours beside what was given.

    The user's own preloaded libraries stay first: they see the program's calls as they would without us, and
    an AddressSanitizer among them insists on it. Where the program itself is linked with that, it is told
    not to insist.
    """
    ours = shim()
    already = [part for part in given.get(b"LD_PRELOAD", b"").replace(b" ", b":").split(b":") if part]
    environment = dict(given)
    environment[b"LD_PRELOAD"] = b":".join([*(part for part in already if part != ours), ours])
    environment[b"MODNET_RECORD"] = os.fsencode(record)
    environment[b"MODNET_RUNTIME_DIR"] = os.fsencode(runtime)
    if sanitised:
        options = environment.get(b"ASAN_OPTIONS", b"")
        environment[b"ASAN_OPTIONS"] = (options + b":" if options else b"") + b"verify_asan_link_order=0"
    return environment


def for_module(given: dict[bytes, bytes], runtime: str) -> dict[bytes, bytes]:
    """What a module's process gets: nothing is preloaded into it, and no chain applies to it."""
    ours = {b"LD_PRELOAD", b"MODNET_RECORD"}
    environment = {key: value for key, value in given.items() if key not in ours}
    environment[b"MODNET_RUNTIME_DIR"] = os.fsencode(runtime)
    # A clone's package is in no place where the interpreter looks by itself.
    root = Path(__file__).parent.parent
    if root.name not in ("site-packages", "dist-packages"):
        path = [
            part for part in environment.get(b"PYTHONPATH", b"").split(b":") if part and part != bytes(root)
        ]
        environment[b"PYTHONPATH"] = b":".join([*path, bytes(root)])
    return environment


def make_room() -> tuple[int, int]:
    """Raises the hard limit of open files where that is allowed and needed; the record's `hidden_base` and
    `shown_hard_limit`. The soft limit stays as it is: programs size tables by it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = int(NR_OPEN.read_text())
    unlimited = resource.RLIM_INFINITY
    with told():
        real = most if hard == unlimited else hard
        base, shown, raise_to = _native.plan_room(real, most, True)
        if raise_to is not None:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, raise_to))
            except (ValueError, OSError):
                # Not privileged (CAP_SYS_RESOURCE): the upper half of what there is.
                base, shown, _ = _native.plan_room(real, most, False)
    return base, shown


def restore_signals() -> None:
    """Python ignores these two, and what is ignored stays so across exec."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
