"""How long a core was busy: what a request costs, whatever process or interrupt paid for it.

Busy is elapsed less idle. Idle comes from /proc/timer_list (`idle_sleeptime`, in ns; the kernel stops that
clock for each interrupt, so packets handled on an idle core count as busy). Rejected: /proc/stat prints the
same clock in steps of 10 ms; cpuidle's residency counts the interrupts that end a halt as idle; times of
processes miss packets that are handled outside of any; /proc/schedstat is often not built in.

The clock is brought up to date when a core leaves idle, so it is read *on* the core in question.
It must not be used across a suspend of the machine.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from experiments.common.errors import ExperimentError

_TIMERS = Path("/proc/timer_list")
SOURCE = "/proc/timer_list idle_sleeptime + iowait_sleeptime, read on the core"


@dataclass(frozen=True)
class CoreTime:
    """A reading of a core's clocks, in ns."""

    now_ns: int
    idle_ns: int


def parse(text: str, core: int) -> CoreTime:
    """Reads the clocks of one core from the text of /proc/timer_list."""
    now = re.search(r"^now at (\d+) nsecs", text, re.MULTILINE)
    section = re.search(rf"^cpu: {core}\n(.*?)(?=^cpu: |^Tick Device|\Z)", text, re.MULTILINE | re.DOTALL)
    idle = section and re.findall(r"\.(?:idle|iowait)_sleeptime\s*: (\d+) nsecs", section[1])
    if not now or not idle:
        raise ExperimentError(
            f"{_TIMERS} does not show core {core}'s idle time: the kernel has no tickless idle (CONFIG_NO_HZ)"
        )
    return CoreTime(int(now[1]), sum(map(int, idle)))


def read(core: int) -> CoreTime:
    """The clocks of `core` now."""
    with _on(core):
        try:
            return parse(_TIMERS.read_text(), core)
        except OSError as error:
            raise ExperimentError(f"{_TIMERS} cannot be read ({error.strerror}): run this as root") from None


def busy_s(before: CoreTime, after: CoreTime) -> float:
    """Seconds that the core was busy between two readings."""
    return max(0, (after.now_ns - before.now_ns) - (after.idle_ns - before.idle_ns)) / 1e9


def stolen_s() -> float:
    """Seconds that the hypervisor has kept from this machine's cores since boot: they spoil a round."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def _on(core: int) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
