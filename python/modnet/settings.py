"""Settings: one frozen dataclass a module, checked before anything starts.

Its job is to make that dataclass out of text (`-m throttle,rate=1MB`), of a TOML table or of both, by the
type hints of its fields, and to refuse everything else in one line. Pure, but for reading the TOML file it
is told to.

| type hint | accepts as text | in TOML also |
| --- | --- | --- |
| `int` | `12`, `-3`, `0x1f`, `1_000` | integer |
| `float` | `0.5`, `2e3` | number |
| `bool` | `true yes on 1`, `false no off 0` | boolean |
| `str` | anything; `\\,` stands for a comma on the command line | string |
| `Path` | a path; a relative one counts from where it was written | string |
| `Size` (an `int`, bytes) | `4096`, `64KiB`, `1MB`; k M G are powers of 1000, Ki Mi Gi of 1024 | integer |
| `Rate` (an `int`, bytes per second) | as `Size`, also with `/s`; or bits: `8Mbit/s`, `8Mbps` | integer |
| `Duration` (a `float`, seconds) | `1.5`, `250ms`, `2s`, `5min`, `1h` | number |
| `Literal["a", "b"]` | one of the words | string |
| `X \\| None` | `none`, or as X | as X |
| `tuple[X, ...]` | the key given several times: `word=a,word=b` | array |

A `ValueError` from `__post_init__` is shown as the one line that it says. There is no hint for nested
tables: a module that needs them takes a `Path` and reads it in `start`.

>>> from dataclasses import dataclass
>>> @dataclass(frozen=True)
... class Settings:
...     rate: Rate
...     burst: Size = 65536
>>> build(Settings, {"rate": ["1MB"]}, owner="throttle")
Settings(rate=1000000, burst=65536)
>>> build(Settings, {"rat": ["1MB"]}, owner="throttle")
Traceback (most recent call last):
    ...
modnet.errors.UsageError: throttle has no setting 'rat'; did you mean 'rate'?
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from modnet._values import Duration, Rate, Size, UnsupportedHint, convert, example, is_tuple, type_text
from modnet.errors import SystemRefused, UsageError, suggestion

__all__ = [
    "Duration",
    "Rate",
    "SettingInfo",
    "Size",
    "build",
    "check_class",
    "describe",
    "read_toml",
    "to_plain",
]


# --- the dataclass --------------------------------------------------------------------------------


def build(
    cls: type[Any],
    given: Mapping[str, list[object]],
    *,
    owner: str,
    base: Path | None = None,
    toml: Path | None = None,
) -> Any:
    """Makes the settings dataclass `cls` out of `given` and of the TOML file `toml`; what is in `given` wins.

    `given` holds for each key the values in the order they were written. `owner` is who the message names.
    Relative paths count from `base` (the current directory where it is None), those in `toml` from that file.

    Raises UsageError, in one line, for a key that does not exist, a value that is not of its field's type, a
    missing value, and whatever `__post_init__` refuses.
    """
    hints = check_class(cls, owner)
    base = Path.cwd() if base is None else base
    sources: dict[str, tuple[list[object], Path, str]] = {}
    if toml is not None:
        for key, value in read_toml(toml).items():
            values = list(value) if isinstance(value, list) else [value]
            sources[key] = (values, toml.parent, f"{toml}: ")
    sources |= {key: (values, base, "") for key, values in given.items()}

    arguments: dict[str, Any] = {}
    for key, (values, directory, where) in sources.items():
        if key not in hints:
            known = suggestion(key, hints) or (
                f" (it has: {', '.join(hints)})" if hints else " (it has none)"
            )
            raise UsageError(f"{where}{owner} has no setting {key!r}{known}")
        hint = hints[key]
        try:
            if is_tuple(hint):
                arguments[key] = tuple(convert(get_args(hint)[0], value, directory) for value in values)
            elif len(values) == 1:
                arguments[key] = convert(hint, values[0], directory)
            else:
                raise ValueError("one value")
        except ValueError as wanted:
            shown = ", ".join(repr(value) for value in values)
            raise UsageError(f"{where}{owner}: setting {key!r} must be {wanted}, not {shown}") from None

    for field in dataclasses.fields(cls):
        if field.name in arguments or not field.init:
            continue
        if isinstance(field.default, Path):
            arguments[field.name] = base / field.default
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise UsageError(
                f"{owner} needs the setting {field.name!r}: add {field.name}={example(hints[field.name])}"
            )
    try:
        return cls(**arguments)
    except ValueError as refused:
        raise UsageError(f"{owner}: {refused}") from None


def check_class(cls: type[Any], owner: str) -> dict[str, Any]:
    """The type hints of the settings `cls`, by field; UsageError if it is no frozen dataclass of supported
    types.
    """
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise UsageError(f"{owner}: Settings must be a dataclass: write @dataclass(frozen=True) above it")
    if not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]  # typeshed does not know it
        raise UsageError(
            f"{owner}: Settings must not change once checked: write @dataclass(frozen=True) above it"
        )
    try:
        all_hints = typing.get_type_hints(cls, include_extras=True)
    except Exception as error:  # a hint is any expression
        raise UsageError(f"{owner}: a type hint of Settings cannot be evaluated: {error}") from None
    hints = {field.name: all_hints[field.name] for field in dataclasses.fields(cls) if field.init}
    for name, hint in hints.items():
        element = get_args(hint)[0] if is_tuple(hint) else hint
        try:
            convert(element, "", Path())
        except ValueError:
            pass
        except UnsupportedHint:
            shown = getattr(hint, "__name__", None) if isinstance(hint, type) and not get_args(hint) else None
            wanted = "int, float, bool, str, Path, Size, Rate, Duration, Literal, X | None or tuple[X, ...]"
            raise UsageError(
                f"{owner}: setting {name!r} has the type {shown or hint}; use {wanted}"
            ) from None
    return hints


def read_toml(path: Path) -> dict[str, Any]:
    """The file's table. UsageError if it is not TOML, SystemRefused if it cannot be read."""
    # Here, since few runs have such a file, and `modnet run` starts in front of every command.
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"no settings file {path}") from None
    except OSError as error:
        raise SystemRefused(f"cannot read the settings file {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from None


# --- telling about them ---------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class SettingInfo:
    """One setting, as `modnet module show` prints it."""

    name: str
    type: str
    """In words: `size`, `rate`, `duration`, `outbound | inbound`, `path`, ..."""
    default: str | None
    """As text; None where the setting must be given."""
    help: str
    """The field's `metadata={"help": ...}`, or an empty string."""


def describe(cls: type[Any], owner: str = "Settings") -> list[SettingInfo]:
    """The settings of a dataclass, in the order of its fields."""
    hints = check_class(cls, owner)
    infos = []
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        default: object = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if isinstance(default, tuple):
            default = ",".join(str(value) for value in default)
        shown = None if default is dataclasses.MISSING else "none" if default is None else str(default)
        help_text = str(field.metadata.get("help", ""))
        infos.append(SettingInfo(field.name, type_text(hints[field.name]), shown, help_text))
    return infos


def to_plain(settings: Any) -> dict[str, Any]:
    """The settings as JSON can hold them: two that mean the same give the same."""
    plain: dict[str, Any] = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, tuple):
            plain[field.name] = [str(v) if isinstance(v, Path) else v for v in value]
        else:
            plain[field.name] = str(value) if isinstance(value, Path) else value
    return plain
