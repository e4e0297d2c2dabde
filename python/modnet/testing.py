"""Tests a module without sockets, processes or time: events in, bytes and commands out.

| | |
| --- | --- |
| `Playback(module)` | one flow, event by event: `playback.outbound(b"...")` returns what goes on |
| `play(module, script)` | a whole flow at once; a difference is shown as a diff |
| `check_chunking(make, data)` | the output does not depend on how the input was cut |
| `running(module)` | `start` before, `stop` after, for modules that need them |

A script is a list of events, each followed by the commands that the module is expected to give in it:

>>> from modnet.modules.throttle import Throttle
>>> playback = play(
...     Throttle(Throttle.Settings(rate=1000, direction="outbound")),
...     [
...         ("opened",),
...         ("limit", "outbound", 1000, 65536),
...         ("outbound", b"GET /", b"GET /"),
...         ("outbound_end",),
...         ("closed",),
...     ],
... )
>>> playback.limits
{'outbound': (1000, 65536)}

Rules: what a module may rely on here, it may rely on in the engine (`_playback.py` has the table). Must
not: need anything but the standard library, so that a third party's tests need modnet only.
"""

from __future__ import annotations

import difflib
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

from modnet._playback import Playback, PlayedFlow
from modnet.errors import UsageError
from modnet.module import Module

__all__ = ["Playback", "PlayedFlow", "check_chunking", "play", "running"]

_Module = TypeVar("_Module", bound=Module)
_COMMANDS = ("forward", "limit", "limit_unsent", "yield_to", "reset")
_SILENT = ("outbound_end", "inbound_end", "outbound_silence", "inbound_silence")


@contextmanager
def running(module: _Module) -> Iterator[_Module]:
    """The module between its `start` and its `stop`.

    >>> with running(Module()) as module:
    ...     Playback(module).outbound(b"through")
    b'through'
    """
    module.start()
    try:
        yield module
    finally:
        module._stop()


def play(module: Module, script: Sequence[tuple[Any, ...]], *, strict: bool = True) -> Playback:
    """Plays the script and compares: AssertionError shows what was expected and what came, as a diff.

    | step | means |
    | --- | --- |
    | `("outbound", given, expected)`, `("inbound", given, expected)` | bytes in, bytes that must go on |
    | `("outbound_end", expected)`, `("inbound_end", expected)` | the end; `expected` if bytes go on |
    | `("outbound_silence", expected)`, `("inbound_silence", expected)` | nothing comes for a while |
    | `("opened",)`, `("closed",)` | `opened` comes by itself; naming it lets its commands follow |
    | `("forward", way)`, `("limit", way, rate, burst)`, `("reset",)` | a command in the event before it |
    | `("yield_to", names, where)` | likewise; after "replace" no event but the `closed` of itself follows |

    Every command must be named. `strict` is `Playback`'s.
    """
    playback = Playback(module, strict=strict)
    wanted = [_line(step) for step in script]
    if not script or script[0][0] != "opened":
        wanted.insert(0, "opened")
    came = ["opened"]
    _drain(playback, came)
    for step in script:
        if step[0] == "opened" or step[0] in _COMMANDS:
            continue
        came.append(_line((*step[: 1 + (step[0] in ("outbound", "inbound"))], _event(playback, step))))
        _drain(playback, came)
    if wanted != came:
        diff = "\n".join(difflib.unified_diff(wanted, came, "expected", "came", lineterm="", n=len(came)))
        raise AssertionError(f"{type(module).__name__} did not play as expected\n{diff}")
    return playback


def _event(playback: Playback, step: tuple[Any, ...]) -> bytes:
    event = step[0]
    if event in ("outbound", "inbound"):
        return playback.outbound(step[1]) if event == "outbound" else playback.inbound(step[1])
    if event in _SILENT:
        happens: Callable[[], bytes] = getattr(playback, event)
        return happens()
    playback.closed()
    return b""


def _line(step: tuple[Any, ...]) -> str:
    match step:
        case ("outbound" | "inbound" as way, bytes(given), bytes(expected)):
            return f"{way} {given!r} -> {expected!r}"
        case (str(end),) if end in _SILENT:
            return f"{end} -> b''"
        case (str(end), bytes(expected)) if end in _SILENT:
            return f"{end} -> {expected!r}"
        case ("opened" | "closed" as event, *_) if len(step) == 1 or step[1:] == (b"",):
            return str(event)
        case ("forward" | "limit_unsent", _) | ("limit", _, _, _) | ("yield_to", _, _) | ("reset",):
            return "    " + " ".join(str(part) for part in step)
        case _:
            raise UsageError(f"{step!r} is no step of a script: see modnet.testing.play")


def _drain(playback: Playback, came: list[str]) -> None:
    came.extend(_line(command) for command in playback.commands)
    playback.commands.clear()


def check_chunking(
    make: Callable[[], Module],
    data: bytes,
    direction: Literal["outbound", "inbound"] = "outbound",
    *,
    tries: int = 100,
    seed: int = 0,
) -> bytes:
    """Plays `data` cut in many ways, each into a fresh module from `make`, and returns the output, which
    must be the same every time; AssertionError shows the fewest cuts found that change it.

    TCP keeps no borders between messages: a module that looks for something in the bytes has to find it
    across any cut. Tried are: whole, byte by byte, each single cut (for long data a sample), and `tries`
    random ones.

    >>> class Shout(Module):
    ...     def outbound(self, flow, data):
    ...         return bytes(data).upper()
    >>> check_chunking(Shout, b"hello")
    b'HELLO'
    """
    whole = _output(make, data, direction, [])
    for cuts in _ways_to_cut(len(data), tries, random.Random(seed)):
        if _output(make, data, direction, cuts) == whole:
            continue
        for cut in list(cuts):
            fewer = [c for c in cuts if c != cut]
            if fewer and _output(make, data, direction, fewer) != whole:
                cuts = fewer
        came = _output(make, data, direction, cuts)
        pieces = ", ".join(repr(piece) for piece in _pieces(data, cuts))
        raise AssertionError(
            f"the output depends on how the input is cut: whole {whole!r}, cut as {pieces} {came!r}"
        )
    return whole[0]


def _ways_to_cut(length: int, tries: int, chance: random.Random) -> Iterator[list[int]]:
    yield list(range(1, length))
    singles = range(1, length)
    for cut in singles if length <= tries else sorted(chance.sample(singles, tries)):
        yield [cut]
    for _ in range(tries if length > 2 else 0):
        yield sorted(chance.sample(singles, chance.randint(2, min(length - 1, 20))))


def _pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *cuts, len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def _output(
    make: Callable[[], Module], data: bytes, direction: Literal["outbound", "inbound"], cuts: list[int]
) -> tuple[bytes, bool]:
    playback = Playback(make())
    event = playback.outbound if direction == "outbound" else playback.inbound
    end = playback.outbound_end if direction == "outbound" else playback.inbound_end
    out = b"".join([*(event(piece) for piece in _pieces(data, cuts)), end()])
    playback.closed()
    return out, playback.was_reset
