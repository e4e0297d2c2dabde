"""From `-m MODULE[,key=value...]` to a module that can be started.

    parse(text) -> Spec         what was written, made independent of the current directory
    load(spec) -> Module        found, imported, checked, its settings checked; nothing started
    canonical(spec, module)     what must be equal for two runs to share one process

MODULE is a name (built in, or an entry point of the group `modnet.modules`), `file.py:Class` (`file.py` alone where it
holds exactly one module), or `package.module:Class`. `\\,` is a comma inside a value. Reserved keys are those of
`Options`, `as=NAME` (the name to register) and `settings=FILE.toml`.

Rules: every mistake is a UsageError of one line, and is found before anything is started. Must not: start anything,
or write to a terminal.

>>> spec = parse("throttle,rate=1MB,as=slow")
>>> spec.module, spec.name, dict(spec.settings)
('throttle', 'slow', {'rate': '1MB'})
>>> load(spec).settings.rate
1000000
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import inspect
import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from modnet import settings
from modnet._check import check_module, check_name
from modnet._import import digest_of, import_file, import_name
from modnet.errors import UsageError, suggestion
from modnet.module import Module
from modnet.settings import Duration, Size

__all__ = [
    "BUILT_IN",
    "ENTRY_POINTS",
    "Available",
    "Options",
    "Spec",
    "available",
    "canonical",
    "load",
    "parse",
]

ENTRY_POINTS = "modnet.modules"
"""The entry-point group of third-party modules; an entry is `name = "package.module:Class"`."""

BUILT_IN = {
    "forwarder": "modnet.modules.forwarder:Forwarder",
    "tap": "modnet.modules.tap:Tap",
    "throttle": "modnet.modules.throttle:Throttle",
}
"""Found without a search of what is installed; an entry point cannot take their names."""


@dataclass(frozen=True)
class Options:
    """What the engine is told about a module, whatever the module is; given like settings."""

    on_error: Literal["pass", "reset"] | None = None
    """What an exception in a hook does to its flow; None: as the class says."""
    # net.core.wmem_default is 208 KiB: twice what a socket holds by itself would add delay, less would stall it.
    send_queue: Size = 256 * 1024
    """Most bytes that wait in the engine, per flow and direction; a slow reader then stops the writer."""
    # What `docker stop` waits before it kills.
    drain: Duration = 10.0
    """Seconds that a stopped module gives its flows to end."""
    workers: int | None = None
    """Worker threads; None: one per core."""

    def __post_init__(self) -> None:
        if self.send_queue < 4096:
            raise ValueError("send_queue must be at least 4KiB")
        if not 0 <= self.drain <= 86400:
            raise ValueError("drain must be between 0 and 24h")
        if self.workers is not None and not 1 <= self.workers <= 1024:
            raise ValueError("workers must be between 1 and 1024")


_OPTION_KEYS = frozenset(f.name for f in dataclasses.fields(Options))
RESERVED = _OPTION_KEYS | {"as", "settings"}
"""Keys that no module can have as a setting."""


@dataclass(frozen=True)
class Spec:
    """What one `-m` asks for. Means the same in another process and another directory: see `to_json`."""

    text: str
    """As it was written, for messages."""
    module: str
    """MODULE; a file's path is absolute."""
    settings: tuple[tuple[str, str], ...] = ()
    """Keys and values in the order they were written, the reserved ones not among them."""
    settings_file: str | None = None
    """The absolute path that `settings=` gave."""
    name: str | None = None
    """The name that `as=` gave."""
    options: Options = field(default_factory=Options)
    directory: str = ""
    """The directory where it was written: relative paths count from here."""

    def to_json(self) -> str:
        """For the process that is to run the module."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Spec:
        """What `to_json` wrote."""
        plain = json.loads(text)
        plain["settings"] = tuple((key, value) for key, value in plain["settings"])
        plain["options"] = Options(**plain["options"])
        return cls(**plain)


def parse(text: str, directory: Path | None = None) -> Spec:
    """Takes `-m`'s argument apart; looks at no file. Paths count from `directory` (None: the current one)."""
    directory = Path.cwd() if directory is None else directory
    reference, *pairs = [part.replace("\\,", ",") for part in re.split(r"(?<!\\),", text)]
    reference = reference.strip()
    if not reference:
        raise UsageError(f"no module in {text!r}: write MODULE[,key=value...]")
    own: list[tuple[str, str]] = []
    reserved: dict[str, list[object]] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key = key.strip()
        if not equals or not key:
            raise UsageError(
                f"{reference}: {pair!r} is not key=value (a comma inside a value is written '\\,')"
            )
        if key in RESERVED:
            if key in reserved:
                raise UsageError(f"{reference}: {key!r} was given twice")
            reserved[key] = [value]
        else:
            own.append((key, value))
    toml = reserved.pop("settings", None)
    name = reserved.pop("as", None)
    return Spec(
        text=text,
        module=_absolute(reference, directory),
        settings=tuple(own),
        settings_file=None if toml is None else str(directory / Path(str(toml[0])).expanduser()),
        name=None if name is None else check_name(str(name[0])),
        options=settings.build(Options, reserved, owner=reference),
        directory=str(directory),
    )


def load(spec: Spec) -> Module:
    """Finds, imports and checks what `spec` asks for; the instance's `name` and `on_error` are those to be used."""
    where = Path(spec.module).name if _is_file(spec.module) else spec.module
    cls = check_module(_find(spec.module, where, Path(spec.directory)), where, RESERVED)
    given: dict[str, list[object]] = {}
    for key, value in spec.settings:
        given.setdefault(key, []).append(value)
    checked = settings.build(
        cls.Settings,
        given,
        owner=where,
        base=Path(spec.directory),
        toml=Path(spec.settings_file) if spec.settings_file else None,
    )
    try:
        module = cls(checked)
    except ValueError as refused:
        raise UsageError(f"{where}: {refused}") from None
    if spec.name is not None:
        module.name = spec.name
    if spec.options.on_error is not None:
        module.on_error = spec.options.on_error
    return module


def canonical(spec: Spec, module: Module) -> str:
    """Equal for two specs that one process can serve: same code, same settings, same options, however written.

    The code is compared by class, file and the file's content; what that file imports is not looked at.
    """
    code = sys.modules[type(module).__module__]
    file, digest = digest_of(code)
    meaning = {
        "class": type(module).__qualname__
        if _is_file(spec.module)
        else f"{code.__name__}:{type(module).__qualname__}",
        "file": file,
        "digest": digest,
        "settings": settings.to_plain(module.settings),
        "options": dataclasses.asdict(spec.options) | {"on_error": module.on_error},
    }
    return json.dumps(meaning, sort_keys=True, separators=(",", ":"))


# --- finding ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Available:
    """A module that can be called by its name."""

    name: str
    reference: str
    """`package.module:Class`."""
    distribution: str
    """The installed package that brings it; `modnet` for those built in."""


def available() -> list[Available]:
    """Every module that has a name, sorted: built in, and installed packages' by the entry-point group."""
    found = [Available(name, reference, "modnet") for name, reference in BUILT_IN.items()]
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        if entry.name not in BUILT_IN:
            found.append(Available(entry.name, entry.value, entry.dist.name if entry.dist else "?"))
    return sorted(found, key=lambda module: (module.name, module.distribution))


def _is_file(reference: str) -> bool:
    file, _, tail = reference.rpartition(":")
    return reference.endswith(".py") or "/" in reference or (file.endswith(".py") and bool(tail))


def _absolute(reference: str, directory: Path) -> str:
    if not _is_file(reference):
        return reference
    path, name = _split_file(reference)
    absolute = directory / Path(path).expanduser()
    # Resolved, so that two ways to the same file are the same module.
    resolved = absolute.resolve()
    return f"{resolved}:{name}" if name else str(resolved)


def _split_file(reference: str) -> tuple[str, str]:
    path, colon, name = reference.rpartition(":")
    return (path, name) if colon and not name.endswith(".py") and "/" not in name else (reference, "")


def _find(reference: str, where: str, directory: Path) -> Any:
    if _is_file(reference):
        path, name = _split_file(reference)
        code = import_file(Path(path))
        return _attribute(code, name, where) if name else _only_module(code, where)
    if ":" in reference:
        package, _, name = reference.partition(":")
        if not re.fullmatch(r"\w+(\.\w+)*", package) or not name:
            raise UsageError(f"{reference!r} is no module: write NAME, file.py:Class or package.module:Class")
        return _attribute(import_name(package, directory), name, where)
    if reference in BUILT_IN:
        package, _, name = BUILT_IN[reference].partition(":")
        return _attribute(import_name(package, directory), name, where)
    return _installed(reference, directory)


def _installed(name: str, directory: Path) -> Any:
    known = available()
    matches = [module for module in known if module.name == name]
    references = {module.reference for module in matches}
    if len(references) > 1:
        owners = ", ".join(module.distribution for module in matches)
        listed = " or ".join(sorted(references))
        raise UsageError(f"{name!r} is brought by several packages ({owners}): write {listed}")
    if matches:
        package, _, attribute = matches[0].reference.partition(":")
        return _attribute(import_name(package.strip(), directory), attribute.strip(), name)
    file = directory / f"{name}.py"
    if file.is_file():
        raise UsageError(f"no module named {name!r}; for the file here write {name}.py")
    hint = suggestion(name, [module.name for module in known])
    listed = ", ".join(module.name for module in known)
    raise UsageError(f"no module named {name!r}{hint or f' (there are: {listed}; or write file.py:Class)'}")


def _attribute(code: ModuleType, name: str, where: str) -> Any:
    try:
        return functools.reduce(getattr, name.split("."), code)
    except AttributeError:
        there = [found.__name__ for found in _modules_in(code)]
        hint = suggestion(name, there) or (f" (it has: {', '.join(there)})" if there else "")
        raise UsageError(f"{where}: there is no {name!r}{hint}") from None


def _only_module(code: ModuleType, where: str) -> Any:
    found = _modules_in(code)
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(f"{where} holds no module: define a class derived from modnet.Module")
    listed = " or ".join(f"{where}:{cls.__name__}" for cls in found)
    raise UsageError(f"{where} holds several modules: write {listed}")


def _modules_in(code: ModuleType) -> list[type[Module]]:
    """The modules that the file itself defines, in its order, without those it imports or keeps private."""
    return [
        value
        for name, value in vars(code).items()
        if isinstance(value, type)
        and issubclass(value, Module)
        and value.__module__ == code.__name__
        and not name.startswith("_")
        and not inspect.isabstract(value)
    ]
