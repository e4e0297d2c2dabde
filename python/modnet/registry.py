"""Names, records and control sockets, as the CLI and the launcher use them.

Its job is to give the extension's functions types and words: what is written in Rust answers tuples and JSON.
Rules: what the system or a module refuses comes as one of `modnet.errors`, in one line. Must not: start
anything.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from modnet import _native
from modnet.errors import ModnetError, PeerError, SystemRefused, UsageError

__all__ = ["Record", "Registry", "told"]

PATIENCE = 5.0
"""Seconds that a module has for an answer; it answers in well under a millisecond unless it is stopped."""

_YOURS = {errno.EEXIST, errno.EINVAL, errno.ENOENT, errno.ESRCH, errno.EOPNOTSUPP}
_THEIRS = {errno.ETIMEDOUT, errno.ECONNRESET, errno.ESHUTDOWN, errno.EPROTO, errno.EBUSY}


@contextmanager
def told() -> Iterator[None]:
    """Turns an `OSError` of the extension into ours, which the command shows as one line."""
    try:
        yield
    except OSError as error:
        message = error.strerror or str(error)
        kind: type[ModnetError] = SystemRefused
        if error.errno in _YOURS:
            kind = UsageError
        elif error.errno in _THEIRS:
            kind = PeerError
        raise kind(message) from error


@dataclass(frozen=True)
class Record:
    """The chain that applies to a process and its children."""

    pid: int
    """The process that the chain was applied to first; what `modnet run` has become."""
    owner: int
    """The user who applied it."""
    chain: tuple[str, ...] | None
    """Nearest to the application first; None: half written by somebody who died."""
    fail_closed: bool
    pairs: str
    """What becomes of a pair after its flow: `pooled` or `fresh` (`MODNET_PAIRS`); empty: half written."""
    counters: dict[str, int]
    """By name, all of them."""


class Registry:
    """One runtime directory."""

    def __init__(self, path: str | None = None, *, prepare: bool = False) -> None:
        """Takes `path`, or what the environment says; with `prepare` it is made where it is missing."""
        with told():
            self.path = _native.runtime_dir(path, prepare)

    def modules(self) -> list[str]:
        """The names of the living modules, sorted."""
        with told():
            return _native.modules(self.path)

    def is_living(self, name: str) -> bool:
        """Whether a module has that name now."""
        with told():
            return _native.is_living(self.path, name)

    def ask(self, name: str, op: str, seconds: float = PATIENCE, **more: Any) -> list[dict[str, Any]]:
        """The objects that a module answers, without the `done` of the last one; an empty last one is left
        out.

        The `OSError` is left as it is: callers decide by its errno.
        """
        answers = [
            json.loads(text) for text in _native.ask(self.path, name, json.dumps({"op": op, **more}), seconds)
        ]
        answers[-1].pop("done", None)
        return answers if answers[-1] else answers[:-1]

    def status(self, name: str) -> dict[str, Any]:
        """What a module says of itself."""
        with told():
            return self.ask(name, "status")[0]

    def flows(self, name: str) -> list[dict[str, Any]]:
        """The flows that a module has now."""
        with told():
            return self.ask(name, "flows")

    def all_flows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every flow with its module's name; modules that end meanwhile are left out."""
        for name in self.modules():
            with suppress(ModnetError):
                for flow in self.flows(name):
                    yield name, flow

    def records(self) -> list[Record]:
        """Every record, by process number."""
        names = {index: name for index, name, _ in _native.COUNTERS}
        with told():
            rows = _native.records(self.path)
        return [
            Record(
                pid=pid,
                owner=owner,
                chain=None if chain is None else tuple(chain),
                fail_closed=closed,
                pairs=pairs,
                counters={name: counters[index] for index, name in names.items()},
            )
            for pid, owner, chain, closed, pairs, counters in rows
        ]

    def users(self, *, sweep: bool = False) -> dict[int, list[int]]:
        """The processes of each record, oldest first; `sweep` removes what nobody needs any more first."""
        with told():
            return _native.users(self.path, sweep)
