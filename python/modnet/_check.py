"""Checks, when a module is loaded, that its class can do what it was written for.

A hook with a wrong signature would fail on the first connection, a misspelt one never at all; both are
found here, each told in one line. Pure. Must not: load files (`modnet.loader` does), nor change the class.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any, get_args, get_type_hints

from modnet import settings
from modnet.errors import UsageError
from modnet.module import HOOKS, Module

__all__ = ["NAME_MAX", "check_module", "check_name"]

NAME_MAX = 31
"""crates/abi/src/name.rs: a name is a part of a socket's path, which has 108 bytes in all."""


def check_name(name: str) -> str:
    """The name, if it may be a module's; the rules are those of crates/abi/src/name.rs."""
    if not name:
        raise UsageError("a module's name cannot be empty")
    if len(name.encode()) > NAME_MAX:
        raise UsageError(f"the module name {name!r} is longer than {NAME_MAX} bytes: choose a shorter one")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise UsageError(
            f"the module name {name!r} is not allowed: use letters, digits, '_', '-' and '.', the first a "
            "letter or digit"
        )
    return name


def check_module(cls: type[Any], where: str, reserved: frozenset[str] = frozenset()) -> type[Module]:
    """The class, if it is a module that can be started. `where` is how the user called it.

    `reserved` are settings' names that mean something on the command line already.
    """
    if not (isinstance(cls, type) and issubclass(cls, Module)):
        kind = f"the class {cls.__name__}" if isinstance(cls, type) else f"of type {type(cls).__name__}"
        raise UsageError(f"{where} is no module: it is {kind}; derive it from modnet.Module")
    if cls is Module:
        raise UsageError(f"{where} is modnet.Module itself: name a class derived from it")
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
        raise UsageError(f"{where} is abstract: define {missing}, or name a class that does")
    if not _accepts(_bound(cls, "__init__"), 1):
        raise UsageError(f"{where}: __init__ must take the settings: write 'def __init__(self, settings)'")
    for moment in ("start", "stop"):
        if inspect.iscoroutinefunction(getattr(cls, moment)):
            raise UsageError(
                f"{where}: {moment} must be a plain function, not 'async def': nothing awaits it"
            )
    for hook in sorted(cls.hooks()):
        _check_hook(cls, hook, where)
    for hook in sorted(HOOKS.keys() - cls._HOOKS.keys()):
        if getattr(cls, hook) is not getattr(Module, hook):
            raise UsageError(
                f"{where}: {hook} is never called in a module of messages: use "
                f"{' or '.join(sorted(cls._HOOKS.keys() - HOOKS.keys()))}, or derive it from modnet.Module"
            )
    _check_spelling(cls, where)
    _check_on_error(cls.on_error, where)
    if not isinstance(cls.revocable, bool):
        raise UsageError(f"{where}: revocable must be True or False, not {cls.revocable!r}")
    hints = settings.check_class(cls.Settings, where)
    for key in hints.keys() & reserved:
        raise UsageError(f"{where}: the setting {key!r} has a reserved name: call it something else")
    check_name(cls.name)
    return cls


def _check_on_error(value: object, where: str) -> None:
    words = get_args(get_type_hints(Module)["on_error"])
    if value not in words:
        raise UsageError(f"{where}: on_error must be {' or '.join(map(repr, words))}, not {value!r}")


def _check_hook(cls: type[Module], hook: str, where: str) -> None:
    called = _bound(cls, hook)
    if called is None:
        raise UsageError(f"{where}: {hook} must be a function, not {getattr(cls, hook)!r}")
    inner = inspect.unwrap(called)
    if inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner):
        raise UsageError(
            f"{where}: {hook} must be a plain function, not 'async def': one worker thread owns the flow and "
            "thousands of others, which an await would stall; hand slow work to a thread of your own"
        )
    if inspect.isgeneratorfunction(inner):
        raise UsageError(
            f"{where}: {hook} must return its bytes, not yield them: collect them and return one bytes"
        )
    if not _accepts(called, len(cls._HOOKS[hook])):
        wanted = f"def {hook}({', '.join(('self', *cls._HOOKS[hook]))})"
        raise UsageError(
            f"{where}: {hook} has a wrong signature: write '{wanted}', not '{_as_written(cls, hook)}'"
        )


def _check_spelling(cls: type[Module], where: str) -> None:
    """Refuses a method that was surely meant as a hook: it looks like one and takes its arguments."""
    for name in dir(cls):
        if name.startswith("_") or hasattr(cls._HOOKS_OF, name) or not callable(getattr(cls, name)):
            continue
        meant = _meant(name, cls._HOOKS)
        if meant is None or meant in cls.hooks() or isinstance(getattr(cls, name), type):
            continue
        if _accepts(_bound(cls, name), len(cls._HOOKS[meant])):
            raise UsageError(
                f"{where}: {name} is no hook; did you mean {meant!r}? (begin its name with '_' if it is a "
                "method of your own)"
            )


def _meant(name: str, hooks: Iterable[str]) -> str | None:
    bare = re.sub(r"^(on|handle)_?", "", name.lower())
    # Here, since few modules have methods of their own, and `modnet run` starts in front of every command.
    import difflib

    joined = {hook.replace("_", ""): hook for hook in hooks}
    close = difflib.get_close_matches(bare.replace("_", ""), joined, n=1, cutoff=0.8)
    return joined[close[0]] if close else None


def _bound(cls: type[Module], name: str) -> Callable[..., Any] | None:
    """The attribute as an instance would find it, without making one; None where it cannot be called."""
    raw = inspect.getattr_static(cls, name)
    bind = getattr(type(raw), "__get__", None)
    found = raw if bind is None else bind(raw, object(), cls)
    return found if callable(found) else None


def _accepts(called: Callable[..., Any] | None, arguments: int) -> bool:
    if called is None:
        return False
    try:
        inspect.signature(called).bind(*range(arguments))
    except TypeError:
        return False
    except ValueError:
        # Built-in functions without a signature: nothing can be said against them.
        return True
    return True


def _as_written(cls: type[Module], hook: str) -> str:
    raw = inspect.getattr_static(cls, hook)
    function = getattr(raw, "__func__", raw)
    parameters = [str(p.replace(annotation=p.empty)) for p in inspect.signature(function).parameters.values()]
    return f"def {hook}({', '.join(parameters)})"
