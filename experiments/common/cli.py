"""Arguments, errors, signals and progress that all experiments share.

Rules: results go to stdout, progress to stderr; `--json` prints exactly one object on stdout. Exit status: 0
measured, whatever the checks say (they are in the report); 2 for a mistake or something missing, in one line;
130, 143 when stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import signal
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from experiments.common.errors import ExperimentError

Length = TypeVar("Length")


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


def add_words(parser: argparse.ArgumentParser, allowed: Mapping[str, tuple[str, ...]]) -> None:
    """An option for each name: `--links A,B`, None where it is not given."""
    for name, words in allowed.items():
        parser.add_argument(f"--{name}", type=listed(words), metavar="A,B", help=f"of {', '.join(words)}")


def add_numbers(
    parser: argparse.ArgumentParser, full: Any, asked: Mapping[str, tuple[float, str]], most: float = 1e9
) -> None:
    """An option for each field of `full`, a dataclass of numbers: its least value, and what it says.

    A field `every_s` is asked for as `--every`. What is given goes into place by `given`.
    """
    for name, (least, what) in asked.items():
        value = getattr(full, name)
        parser.add_argument(
            f"--{name.removesuffix('_s')}",
            dest=name,
            type=between(type(value), least, most),
            metavar="S" if isinstance(value, float) else "N",
            help=f"{what} (default {value:,g})",
        )


def between(kind: type[int] | type[float], least: float, most: float = 1e9) -> Callable[[str], float]:
    """An argparse type: a number that is neither less nor more."""

    def parse(text: str) -> float:
        value = kind(text)
        # So that "not a number" is refused, too.
        if not least <= value <= most:
            bound = f"{least:g} is the least" if not value > most else f"{most:g} is the most"
            raise argparse.ArgumentTypeError(f"{text}: {bound}")
        return value

    parse.__name__ = "whole number" if kind is int else "number"
    return parse


def given(length: Length, arguments: argparse.Namespace) -> Length:
    """`length`, a dataclass, with those of its fields that the user gave as options."""
    names = (field.name for field in dataclasses.fields(length))  # type: ignore[arg-type]
    values = {name: value for name in names if (value := getattr(arguments, name, None)) is not None}
    return dataclasses.replace(length, **values)  # type: ignore[type-var]


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
