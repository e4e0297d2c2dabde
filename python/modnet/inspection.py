"""Whether modules read the TCP state of flows from what the kernel writes: enabling it, and why not.

    enable(group="www-data")   as root, once: programs and maps are pinned in /sys/fs/bpf/modnet
    status()                   what is enabled, or the reason why this user cannot have it
    disable()                  as root

Rules: what is changed on the system is said (`Enabled.notes`). Must not: load the extension before it is
asked something.
"""

from __future__ import annotations

import errno
import grp
import os
import stat
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from modnet.errors import SystemRefused, UsageError

__all__ = ["SLOTS", "Enabled", "Status", "directory", "disable", "enable", "status"]

SLOTS = 65536
"""Sockets that can be inspected at one time: 16 MB of kernel memory, and 7 MB beside them."""


@dataclass(frozen=True)
class Enabled:
    """What `enable` has done."""

    directory: Path
    group: str | None
    slots: int
    notes: list[str] = field(default_factory=list)
    """What else was changed on the system, one line each."""


@dataclass(frozen=True)
class Status:
    """Whether this user can use it, why not, and what to do; the slots' counters. `attended` among them is 1
    while some process reads and the programs stand at their places, 0 while they cost nobody anything.
    """

    ok: bool
    directory: Path
    why: str
    todo: str = ""
    counters: dict[str, int] = field(default_factory=dict)


def directory() -> Path:
    """Where the pins are: `$MODNET_BPF_DIR`, else `/sys/fs/bpf/modnet`."""
    from modnet import _native

    return Path(_native.inspect_directory())


def status(attend: bool = False) -> Status:
    """What is enabled, seen as the calling user. `attend`: also has the programs stand at their places for a
    moment, as a flow that is read does, so that a kernel which refuses that says so.
    """
    from modnet import _native

    place = directory()
    try:
        counters = _native.inspect_status(str(place))
        if attend:
            _native.inspect_attend(str(place))
    except OSError as error:
        return Status(False, place, str(error.strerror), str(error.filename or ""))
    why = f"enabled, {counters['in_use']} of {counters['slots']} slots in use"
    return Status(True, place, why, counters=counters)


def enable(group: str | None = None, slots: int = SLOTS, check: bool = False) -> Enabled:
    """Loads the programs and opens them to `group`. `check` has each state carry a sum, for tests.

    UsageError: no such group, it is enabled already. SystemRefused: not root, or the kernel's word.
    """
    from modnet import _native

    if os.geteuid() != 0:
        raise SystemRefused("inspection is enabled by root: sudo modnet inspect enable")
    if not 1 <= slots <= 1 << 22:
        raise UsageError(f"--slots is from 1 to {1 << 22}, not {slots}")
    gid = _gid(group)
    place = directory()
    notes = _prepare(place.parent)
    if place.exists():
        if status().ok:
            raise UsageError(f"it is enabled already in {place}; modnet inspect disable ends that")
        raise UsageError(f"{place} is there, of another version or half made: modnet inspect disable first")
    if gid is not None and not place.parent.stat().st_mode & stat.S_IXOTH:
        # systemd mounts it closed to others; what is pinned there has modes of its own.
        place.parent.chmod(stat.S_IMODE(place.parent.stat().st_mode) | stat.S_IXOTH)
        notes.append(f"others may enter {place.parent} now (chmod o+x), so that the group reaches its pins")
    try:
        _native.inspect_enable(str(place), slots, gid, check)
    except OSError as error:
        raise SystemRefused(f"cannot enable inspection: {error.strerror}{_remedy(error.errno)}") from None
    return Enabled(place, group, slots, notes)


def disable() -> Path:
    """Takes programs and pins away. UsageError: nothing is enabled."""
    from modnet import _native

    place = directory()
    try:
        _native.inspect_disable(str(place))
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise UsageError(f"inspection is not enabled: there is no {place}") from None
        raise SystemRefused(f"cannot disable inspection: {error.strerror}") from None
    return place


def _gid(group: str | None) -> int | None:
    if group is None:
        return None
    try:
        return int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise UsageError(f"there is no group {group!r}") from None


def _prepare(parent: Path) -> list[str]:
    """A bpf file system at `parent`: mounted where there is none."""
    if _is_bpffs(parent):
        return []
    if parent != Path("/sys/fs/bpf"):
        raise UsageError(f"{parent} is not a bpf file system; mount one there: mount -t bpf bpf {parent}")
    done = subprocess.run(
        ["mount", "-t", "bpf", "bpf", str(parent)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise SystemRefused(f"there is no bpf file system at {parent} and none can be mounted: {said}")
    return [f"a bpf file system was mounted at {parent}"]


def _is_bpffs(path: Path) -> bool:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "bpf" and where == str(path):
            return True
    return False


def _remedy(number: int | None) -> str:
    if number == errno.EPERM:
        return "; it needs CAP_BPF and CAP_PERFMON, which a container may lack"
    if number in (errno.ENOENT, errno.ESRCH):
        return "; it needs a kernel with BTF (CONFIG_DEBUG_INFO_BTF), Linux 6.4 or newer"
    return ""
