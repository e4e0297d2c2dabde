"""Who made a thing that outlives a process, and whether that one still lives.

Names of namespaces and work folders carry a *tag*: `<pid>-<start>-<n>`, the maker's pid, the moment it
started (clock ticks since boot, field 22 of /proc/PID/stat) and a number of its own. A pid alone would not
do: it is used again.

Rule: what a living owner made is never touched, so runs beside each other need no lock.
It must not decide what to remove: that is net.py's.
"""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path

_TAG = re.compile(r"(\d+)-(\d+)-(\d+)")
_serial = itertools.count()


def start_time(pid: int) -> int | None:
    """The clock ticks since boot at which `pid` started; None where there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name may hold spaces and brackets: count from the last bracket.
    fields = stat.rpartition(")")[2].split()
    # A zombie holds nothing any more; its parent may leave it unread for long.
    return None if fields[0] in "ZX" else int(fields[19])


def new_tag() -> str:
    """A tag that nobody else has or had."""
    pid = os.getpid()
    return f"{pid}-{start_time(pid)}-{next(_serial)}"


def is_dead(tag: str) -> bool:
    """Whether the tag's maker has ended. False for whatever is not a tag: not ours to judge."""
    match = _TAG.fullmatch(tag)
    return match is not None and start_time(int(match[1])) != int(match[2])
