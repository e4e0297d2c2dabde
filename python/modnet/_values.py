"""One value of a setting: the type hints that a field may have, and text or TOML made into them.

`modnet.settings` holds the table of what each hint accepts. Pure. Must not: know of dataclasses or
messages; a ValueError says what was wanted ("a path"), the caller says by whom.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from modnet.errors import suggestion

__all__ = ["Duration", "Rate", "Size", "UnsupportedHint", "convert", "example", "is_tuple", "type_text"]


@dataclasses.dataclass(frozen=True)
class _Unit:
    """Marks an annotated number that may be written with a unit."""

    name: str


Size = Annotated[int, _Unit("size")]
"""Bytes. Text such as `64KiB` or `1MB`."""
Rate = Annotated[int, _Unit("rate")]
"""Bytes per second. Text such as `1MB`, `1MB/s` or `8Mbit/s`."""
Duration = Annotated[float, _Unit("duration")]
"""Seconds. Text such as `250ms`, `1.5` or `2min`."""

_PREFIX = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}
_TIME = {"us": 1e-6, "ms": 1e-3, "": 1.0, "s": 1.0, "min": 60.0, "h": 3600.0}
_SIZE_TEXT = re.compile(r"(\d[\d_]*(?:\.\d+)?)\s*([kmgt]i?|)(b|)", re.IGNORECASE)
_RATE_TEXT = re.compile(r"(\d[\d_]*(?:\.\d+)?)\s*([kmgt]i?|)(bit/s|bps|b/s|b|/s|)", re.IGNORECASE)
_DURATION_TEXT = re.compile(r"(\d[\d_]*(?:\.\d+)?)\s*(us|ms|s|min|h|)")
_BOOL = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)


def _size(text: str) -> int:
    match = _SIZE_TEXT.fullmatch(text)
    if match is None:
        raise ValueError("a size such as 4096, 64KiB or 1MB")
    return _scaled(match[1], _PREFIX[match[2].lower()], "a whole number of bytes")


def _rate(text: str) -> int:
    match = _RATE_TEXT.fullmatch(text)
    if match is None:
        raise ValueError("bytes per second such as 1MB, 64KiB/s or 8Mbit/s")
    prefix = _PREFIX[match[2].lower()]
    if match[3].lower() in ("bit/s", "bps"):
        return _scaled(match[1], Fraction(prefix, 8), "a whole number of bytes per second")
    return _scaled(match[1], prefix, "a whole number of bytes per second")


def _scaled(number: str, factor: Fraction | int, what: str) -> int:
    # Exact however large: a float would round what a user has written out.
    try:
        value = Fraction(number.replace("_", "")) * factor
    except ValueError:
        # More digits than Python converts.
        raise ValueError(what) from None
    if value.denominator != 1:
        raise ValueError(what)
    return value.numerator


def _duration(text: str) -> float:
    match = _DURATION_TEXT.fullmatch(text)
    if match is None:
        raise ValueError("a duration such as 1.5, 250ms or 2min")
    return _finite(float(match[1]) * _TIME[match[2]])


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("a finite number")
    return value


def _int(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise ValueError("a whole number") from None


def _float(text: str) -> float:
    try:
        return _finite(float(text))
    except ValueError:
        raise ValueError("a number") from None


def _bool(text: str) -> bool:
    try:
        return _BOOL[text.lower()]
    except KeyError:
        raise ValueError("true or false") from None


_UNITS: dict[str, Callable[[str], Any]] = {"size": _size, "rate": _rate, "duration": _duration}
_PLAIN: dict[Any, Callable[[str], Any]] = {int: _int, float: _float, bool: _bool, str: str}


def absolute(path: str, base: Path) -> Path:
    """The path as seen from `base`, `~` expanded; ValueError where it cannot be one."""
    try:
        if "\0" in path:
            raise ValueError
        return base / Path(path).expanduser()
    except (ValueError, RuntimeError):
        # RuntimeError: no such user's home.
        raise ValueError("a path") from None


class UnsupportedHint(Exception):
    """A type hint that is not in the table above."""


def _is_optional(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType) and type(None) in get_args(hint)


def _without_none(hint: Any) -> Any:
    rest = [arg for arg in get_args(hint) if arg is not type(None)]
    if len(rest) != 1:
        raise UnsupportedHint
    return rest[0]


def is_tuple(hint: Any) -> bool:
    return get_origin(hint) is tuple and len(get_args(hint)) == 2 and get_args(hint)[1] is Ellipsis


def convert(hint: Any, value: object, base: Path) -> Any:
    """One value, text or TOML's, as `hint` wants it. ValueError says what was wanted; UnsupportedHint, a
    bad hint.
    """
    if _is_optional(hint):
        return (
            None
            if isinstance(value, str) and value.lower() == "none"
            else convert(_without_none(hint), value, base)
        )
    if get_origin(hint) is Annotated:
        kind, *marks = get_args(hint)
        unit = next((m.name for m in marks if isinstance(m, _Unit)), None)
        return convert(kind, value, base) if unit is None else _number(_UNITS[unit], kind, value)
    if get_origin(hint) is Literal:
        words = get_args(hint)
        if not all(isinstance(word, str) for word in words):
            raise UnsupportedHint
        if value not in words:
            hinted = suggestion(value, words) if isinstance(value, str) else ""
            raise ValueError("one of " + ", ".join(words) + hinted)
        return value
    if hint is Path:
        if not isinstance(value, str) or not value:
            raise ValueError("a path")
        return absolute(value, base)
    if hint not in _PLAIN:
        raise UnsupportedHint
    if hint in (int, float):
        return _number(_PLAIN[hint], hint, value)
    if type(value) is hint:
        return value
    if isinstance(value, str):
        return _PLAIN[hint](value)
    raise ValueError({bool: "true or false", str: "text"}[hint])


def _number(parse: Callable[[str], Any], kind: Any, value: object) -> Any:
    if isinstance(value, str):
        return parse(value.strip())
    # bool is an int in Python, but `rate = true` is a mistake.
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or (kind is int and not isinstance(value, int))
    ):
        raise ValueError("a whole number" if kind is int else "a number")
    return _finite(float(value)) if kind is float else value


def type_text(hint: Any) -> str:
    if _is_optional(hint):
        return f"{type_text(_without_none(hint))} | none"
    if is_tuple(hint):
        return f"{type_text(get_args(hint)[0])}, several times"
    if get_origin(hint) is Annotated:
        kind, *marks = get_args(hint)
        return next((m.name for m in marks if isinstance(m, _Unit)), None) or type_text(kind)
    if get_origin(hint) is Literal:
        return " | ".join(get_args(hint))
    return {int: "integer", float: "number", bool: "true | false", str: "text", Path: "path"}[hint]


_EXAMPLES = {
    "size": "64KiB",
    "rate": "1MB",
    "duration": "2s",
    "integer": "1",
    "number": "0.5",
    "path": "FILE",
}


def example(hint: Any) -> str:
    text = type_text(hint).split(",")[0].split(" |")[0]
    return _EXAMPLES.get(text, text.upper() if text == "text" else text)
