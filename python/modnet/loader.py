"""From `-m MODULE[,key=value...]` to a module that can be started.

    parse(text) -> Spec         what was written, made independent of the current directory
    load(spec) -> Module        found, imported, checked, its settings checked; nothing started
    canonical(spec, module)     what must be equal for two runs to share one process

MODULE is a name (built in, or an entry point of the group `modnet.modules`), `file.py:Class` (`file.py`
alone where it holds exactly one module), or `package.module:Class`. `\\,` is a comma inside a value.
Reserved keys are those of `Options`, `as=NAME` (the name to register) and `settings=FILE.toml`.

Rules: every mistake is a UsageError of one line, and is found before anything is started. Must not: start
anything, or write to a terminal.

>>> spec = parse("throttle,rate=1MB,as=slow")
>>> spec.module, spec.name, dict(spec.settings)
('throttle', 'slow', {'rate': '1MB'})
>>> load(spec).settings.rate
1000000
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from modnet import settings
from modnet._check import check_module
from modnet._import import digest_of, import_file, import_name, told
from modnet._spec import RESERVED, Options, Spec, is_file, parse, split_file
from modnet.errors import ModnetError, UsageError, suggestion
from modnet.module import Module

__all__ = [
    "BUILT_IN",
    "ENTRY_POINTS",
    "Available",
    "Options",
    "Spec",
    "available",
    "canonical",
    "find",
    "load",
    "parse",
]

ENTRY_POINTS = "modnet.modules"
"""The entry-point group of third-party modules; an entry is `name = "package.module:Class"`."""

BUILT_IN = {
    "filter": "modnet.modules.filter:Filter",
    "forwarder": "modnet.modules.forwarder:Forwarder",
    "gzip": "modnet.modules.gzip:Gzip",
    "tap": "modnet.modules.tap:Tap",
    "throttle": "modnet.modules.throttle:Throttle",
}
"""Found without a search of what is installed; an entry point cannot take their names."""


def find(spec: Spec) -> type[Module]:
    """The class that `spec` names, imported and checked; its settings are not looked at."""
    where = Path(spec.module).name if is_file(spec.module) else spec.module
    return check_module(_find(spec.module, where, Path(spec.directory)), where, RESERVED)


def load(spec: Spec) -> Module:
    """Finds, imports and checks what `spec` asks for; the result's `name` and `on_error` are those to use."""
    where = Path(spec.module).name if is_file(spec.module) else spec.module
    cls = find(spec)
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
    except ModnetError:
        # It says what is wrong by itself.
        raise
    except Exception as error:
        raise UsageError(told(error, digest_of(sys.modules[cls.__module__])[0] or where)) from error
    if spec.name is not None:
        module.name = spec.name
    if spec.options.on_error is not None:
        module.on_error = spec.options.on_error
    if spec.options.revocable is not None:
        module.revocable = spec.options.revocable
    return module


def canonical(spec: Spec, module: Module) -> str:
    """Equal for two specs that one process can serve: same code, settings and options, however written.

    The code is compared by class, file and the file's content; what that file imports is not looked at.
    """
    code = sys.modules[type(module).__module__]
    file, digest = digest_of(code)
    meaning = {
        "class": type(module).__qualname__
        if is_file(spec.module)
        else f"{code.__name__}:{type(module).__qualname__}",
        "file": file,
        "digest": digest,
        "settings": settings.to_plain(module.settings),
        "options": dataclasses.asdict(spec.options)
        | {"on_error": module.on_error, "revocable": module.revocable},
    }
    return json.dumps(meaning, sort_keys=True, separators=(",", ":"))


# --- finding --------------------------------------------------------------------------------------


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
    # Here, since built-in modules and files do not need it; such imports were half of the time of `load`.
    import importlib.metadata

    found = [Available(name, reference, "modnet") for name, reference in BUILT_IN.items()]
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        if entry.name not in BUILT_IN:
            found.append(Available(entry.name, entry.value, entry.dist.name if entry.dist else "?"))
    return sorted(found, key=lambda module: (module.name, module.distribution))


def _find(reference: str, where: str, directory: Path) -> Any:
    if is_file(reference):
        path, name = split_file(reference)
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
        package, colon, attribute = matches[0].reference.partition(":")
        if not colon:
            raise UsageError(
                f"{name}: the package {matches[0].distribution} names {package!r}, which is not "
                "package.module:Class"
            )
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
