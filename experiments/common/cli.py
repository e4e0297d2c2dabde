"""Arguments, errors, signals and progress that all experiments share.

Rules: results go to stdout, progress to stderr; `--json` prints exactly one object on stdout. Exit status: 0
measured, whatever the checks say (they are in the report); 2 for a mistake or something missing, in one line;
130, 143 when stopped.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from experiments.common.errors import ExperimentError


def parser(name: str, question: str) -> argparse.ArgumentParser:
    """A parser with what every experiment takes."""
    made = argparse.ArgumentParser(prog=f"python -m experiments.{name}", description=question)
    made.add_argument("--quick", action="store_true", help="a rough answer within 60 seconds")
    made.add_argument(
        "--json", action="store_true", help="print one JSON object instead of a table and a PNG"
    )
    return made


def listed(allowed: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    """An argparse type: words of `allowed`, separated by commas, in the order of `allowed`."""

    def parse(text: str) -> tuple[str, ...]:
        words = set(text.split(","))
        if wrong := words - set(allowed):
            raise argparse.ArgumentTypeError(f"{sorted(wrong)[0]!r} is none of {', '.join(allowed)}")
        return tuple(word for word in allowed if word in words)

    return parse


def progress() -> Progress:
    """A progress bar on stderr; only a terminal shows it move."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def guarded(main: Callable[[], None]) -> int:
    """Runs `main`; turns its error into one line, and SIGTERM into an orderly end that cleans up."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        main()
    except ExperimentError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0
