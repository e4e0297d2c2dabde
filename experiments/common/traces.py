"""Recorded bandwidth of mobile clients, and its replay: the rate of a shaped link changed as time goes by.

    steps = traces.read(path)
    with traces.Replay(hosts.set_rate, steps) as replay:
        …                                   # replay.rates: when which rate came to be

Format (../shared/data/README.md): `unix_s monotonic_ms lat lon bytes ms`, a line about a second: so many
bytes came in so many milliseconds since the line before.

Rules: a step lasts as long as its line says, at most five seconds, since logs have gaps. It must not know how
a link is shaped.
"""

from __future__ import annotations

import math
import random
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from experiments.common.errors import ExperimentError

# What the paper's own figures for these traces point to (../shared/data/README.md).
LEAST_MBIT = 0.128
_LONGEST_S = 5.0
# Table 2: seconds, mean in Mbit/s, coefficient of variation.
PAPER = {
    "img1": (457, 2.67, 0.54),
    "img2": (390, 1.95, 0.58),
    "img3": (1036, 1.51, 0.60),
    "vid1": (308, 0.730, 0.93),
    "vid2": (619, 0.735, 0.85),
    "vid3": (430, 0.605, 0.95),
}
_MEMORY = 0.8


@dataclass(frozen=True)
class Step:
    """So many seconds at so many Mbit/s."""

    seconds: float
    mbit: float


def read(path: Path, least_mbit: float = LEAST_MBIT) -> list[Step]:
    """The steps of a log; rates below `least_mbit` are raised to it. Raises where a line is none."""
    steps = []
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise ExperimentError(f"{path} cannot be read: {error.strerror}") from None
    for number, line in enumerate(lines, 1):
        try:
            size, milliseconds = (int(field) for field in line.split()[4:6])
            step = Step(min(milliseconds / 1000, _LONGEST_S), max(least_mbit, size * 8 / milliseconds / 1000))
        except (ValueError, ZeroDivisionError):
            raise ExperimentError(f"{path}:{number} is no line of a trace: {line[:60]!r}") from None
        steps.append(step)
    if not steps:
        raise ExperimentError(f"{path} is empty")
    return steps


def find(name: str, folder: Path | None) -> tuple[list[Step], str]:
    """The steps of the trace `name` and where they are from: `folder`, else a seeded generator with the
    figures that the paper gives. Raises where there is neither.
    """
    path = folder / f"{name}.log" if folder else None
    if path and path.exists():
        return read(path), str(path)
    if name not in PAPER:
        raise ExperimentError(f"{name}: neither a trace in {folder} nor one of {', '.join(PAPER)}")
    return generate(name), f"generated: the mean and CV of {name} in Table 2, seed {name!r}"


def generate(name: str) -> list[Step]:
    """A stand-in for one of the paper's traces: as long, with its mean and its spread, the same every time.

    Log-normal, each second remembering the one before, as mobile links do.
    """
    length, mean, cv = PAPER[name]
    source = random.Random(name)
    sigma = math.sqrt(math.log(1 + cv * cv))
    level, levels = source.gauss(0, 1), []
    for _ in range(length):
        level = _MEMORY * level + math.sqrt(1 - _MEMORY**2) * source.gauss(0, 1)
        levels.append(level)
    # A few hundred seconds that remember have a mean and spread of their own: those of the paper are imposed.
    centre, spread = statistics.fmean(levels), statistics.pstdev(levels)
    rates = [math.exp(sigma * (level - centre) / spread) for level in levels]
    scale = mean / statistics.fmean(rates)
    return [Step(1.0, max(LEAST_MBIT, rate * scale)) for rate in rates]


class Replay:
    """Calls `set_rate` at the beginning of each step, in a thread; the last rate stays. A context manager.

    A failure of `set_rate` ends the replay and is raised when the context is left.
    """

    def __init__(self, set_rate: Callable[[float], None], steps: Sequence[Step]) -> None:
        self.rates: list[tuple[int, float]] = []
        """(time.monotonic_ns(), Mbit/s) of each change, as it took effect."""
        self._set_rate = set_rate
        self._steps = steps
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="replay")

    def __enter__(self) -> Replay:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._error and error is None:
            raise self._error

    def wait(self, timeout_s: float | None = None) -> bool:
        """Waits until the last step is over; whether it is."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            # Against the clock, so that what a change costs does not add up.
            end_s = time.monotonic()
            for step in self._steps:
                self._set_rate(step.mbit)
                self.rates.append((time.monotonic_ns(), step.mbit))
                end_s += step.seconds
                if self._stop.wait(max(0.0, end_s - time.monotonic())):
                    return
        except BaseException as error:
            self._error = error
