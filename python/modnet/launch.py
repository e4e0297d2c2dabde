"""What `modnet run` does: find or start the modules, then become the command.

    request(texts) -> Wanted...     parsed, loaded, checked; nothing started
    ensure(registry, wanted)        every one of them lives and knows us as its user
    become(...)                     the record is written, and this process is the command

Rules: everything that can be checked is checked before anything is started. After an error nothing of ours
stays: modules end when they notice that their user, this process, has gone. Must not: write to the command's
output.

Twenty may start at once: a lock per name lets one of them start the process, the others wait and use it. A
module that is ending refuses to be used (ESHUTDOWN) and is started anew once its name is free.
"""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from modnet import _native, environment, janitor
from modnet.command import Command, NotFound, NotRunnable
from modnet.errors import ModnetError, PeerError, SystemRefused, UsageError
from modnet.loader import Options, Spec, canonical, load, parse
from modnet.registry import Registry, told
from modnet.start_lock import StartLock

__all__ = ["Wanted", "become", "ensure", "request", "start"]

START_PATIENCE = 30.0
"""Seconds that a module may take to start (imports of large libraries) or to end before it is started
anew.
"""
STEP = 0.01
"""Seconds between two looks at a name that is coming or going."""


@dataclass(frozen=True)
class Wanted:
    """One module of a chain, as it was asked for."""

    name: str
    """What it is, or is to be, registered under."""
    spec: Spec
    same: str | None
    """What a living module of that name must say to be this one; None: whatever lives there will do."""


def request(texts: Sequence[str], registry: Registry | None = None) -> list[Wanted]:
    """Parses, loads and checks every `-m`; the first mistake is raised.

    A bare NAME that lives in `registry` already, started by `modnet module start` or a program in C, is
    taken as it is: whoever started it has said with which settings.
    """
    wanted = []
    for text in texts:
        spec = parse(text)
        if registry is not None and _is_standing(registry, spec):
            wanted.append(Wanted(spec.module, spec, None))
            continue
        module = load(spec)
        wanted.append(Wanted(module.name, spec, canonical(spec, module)))
    names = [one.name for one in wanted]
    if len(names) > _native.MAX_CHAIN:
        raise UsageError(f"a chain may have {_native.MAX_CHAIN} modules, this one has {len(names)}")
    for name in names:
        if names.count(name) > 1:
            raise UsageError(
                f"{name!r} stands twice in the chain; give one of them another name: -m {name},as=NAME"
            )
    return wanted


def _is_standing(registry: Registry, spec: Spec) -> bool:
    bare = not spec.settings and not spec.settings_file and spec.name is None and spec.options == Options()
    if not bare or "/" in spec.module or ":" in spec.module or spec.module.endswith(".py"):
        return False
    try:
        status = registry.ask(spec.module, "status")[0]
    except OSError:
        return False
    return bool(status.get("persistent")) or _same_of(status) is None


def ensure(registry: Registry, wanted: Sequence[Wanted]) -> None:
    """Every module lives and counts this process as its user; those that are missing are started, all at
    once.
    """
    missing = [one for one in wanted if not _use(registry, one)]
    if len(missing) == 1:
        _start_and_use(registry, missing[0])
        return
    errors: list[BaseException] = []

    def work(one: Wanted) -> None:
        try:
            _start_and_use(registry, one)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(one,)) for one in missing]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _use(registry: Registry, one: Wanted) -> bool:
    """True where it lives, is the one that was asked for, and has us as its user now."""
    try:
        if one.same is not None and (same := _same_of(registry.ask(one.name, "status")[0])) != one.same:
            _explain_difference(one, same)
        registry.ask(one.name, "use")
        return True
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESHUTDOWN, errno.ECONNRESET):
            return False
        with told():
            raise


def _same_of(status: dict[str, Any]) -> str | None:
    """What the launcher of a living module wrote of it; None: it is not one of the SDK's."""
    spec = status.get("spec")
    if isinstance(spec, str):
        try:
            spec = json.loads(spec)
        except ValueError:
            return None
    same = spec.get("same") if isinstance(spec, dict) else None
    return same if isinstance(same, str) else None


def _explain_difference(one: Wanted, same: str | None) -> None:
    what = "that is no module of the Python SDK" if same is None else "with other code or settings"
    raise UsageError(
        f"a module named {one.name!r} is running already, {what}; register yours under another name "
        f"(-m {one.spec.text},as=NAME) or stop that one (modnet module stop {one.name})"
    )


def _start_and_use(registry: Registry, one: Wanted) -> None:
    end = time.monotonic() + START_PATIENCE
    while not _use(registry, one):
        if time.monotonic() > end:
            raise PeerError(
                f"the module named {one.name!r} neither ends nor answers; kill it or choose another name"
            )
        with StartLock(registry.path, one.name) as mine:
            if not mine or registry.is_living(one.name):
                # Somebody else starts it, or it is ending: soon it can be used, or started.
                time.sleep(STEP)
            else:
                start(registry, one, persistent=False)


def start(registry: Registry, one: Wanted, *, persistent: bool) -> int:
    """Starts the module's process and returns its number once it is registered.

    A race for the name that is lost is no error for a module that is shared (0 is returned): the winner is
    used.
    """
    # Here, since most runs find their modules alive.
    from modnet.spawn import spawn

    answer = spawn(registry.path, one.name, one.spec, persistent=persistent, seconds=START_PATIENCE)
    if "ready" in answer:
        return int(answer["ready"])
    if answer.get("errno") == errno.EEXIST and not persistent:
        return 0
    kinds: dict[int, type[ModnetError]] = {2: UsageError, 3: PeerError}
    raise kinds.get(answer.get("status", 0), SystemRefused)(answer["error"])


def become(registry: Registry, wanted: Sequence[Wanted], command: Command, *, fail_closed: bool) -> None:
    """Writes the record of this process and becomes the command. Returns by raising only."""
    given = environment.original()
    base, shown = environment.make_room()
    me = os.getpid()
    with told():
        record = _native.create_record(
            registry.path, me, [one.name for one in wanted], fail_closed, base, shown
        )
    try:
        janitor.start(registry.path)
        env = environment.for_command(given, registry.path, record, sanitised=command.sanitised)
        environment.restore_signals()
        os.execve(command.path, command.argv, env)
    except OSError as error:
        _native.remove_record(registry.path, me)
        shown_name = os.fsdecode(command.argv[0])
        kind = NotFound if error.errno == errno.ENOENT else NotRunnable
        raise kind(f"{shown_name}: {error.strerror}") from None
    except ModnetError:
        _native.remove_record(registry.path, me)
        raise
