"""One flow played into a module without sockets: the engine's rules for hooks, in Python. Part of
`modnet.testing`.

| the engine's rule | so here |
| --- | --- |
| a hook that is not overridden is not called | its bytes go on as they are |
| `data` is a memoryview for the duration of the call | released after the call: reading it then raises |
| None or anything but bytes from `outbound`, `inbound` | a TypeError, handled as if the hook had raised it |
| a hook has raised | by `on_error`: the bytes at hand go on and both directions are native, or a reset |
| `flow.forward()` | what the hook returns still goes on; the direction's hooks are not called again |
| `flow.yield_to(names)` | what the hook returns goes to the new modules; `closed` is called, nothing else |
| `flow.yield_to(names, "left")`, `"right"` | what the hook returns goes on; the flow stays |
| a module of messages (`modnet.http`) | the framer is the engine's own |
| `flow.reset()` | nothing goes on any more, what the hook returns included; `closed` is called |
| what a `revocable` module passes on waits until it is sent | it is in `unsent` until the test calls `sent` |

Must not: do any I/O, or know what a test expects.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import time
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from modnet.errors import UsageError
from modnet.module import Module

if TYPE_CHECKING:
    from modnet.flow import Flow

__all__ = ["Playback", "PlayedFlow"]

_ids = itertools.count(1)
_DIRECTIONS = {"outbound": ("outbound",), "inbound": ("inbound",), "both": ("outbound", "inbound")}

Way = Literal["outbound", "inbound"]
Address = tuple[str, int]


class PlayedFlow:
    """Stands in for `modnet.Flow`, with the same members; any attribute may be set on it, too."""

    def __init__(self, playback: Playback, peer: Address | None, local: Address | None) -> None:
        self._playback = playback
        self._peer = peer
        self._local = local
        self._id = next(_ids)
        self._bytes = {"outbound": 0, "inbound": 0}
        self._opened_at = time.time()

    @property
    def id(self) -> int:
        return self._id

    @property
    def peer(self) -> Address | None:
        return self._peer

    @property
    def local(self) -> Address | None:
        return self._local

    @property
    def application(self) -> int:
        return 1

    @property
    def chain(self) -> tuple[str, ...]:
        return (self._playback.module.name,)

    @property
    def position(self) -> int:
        return 0

    @property
    def bytes_outbound(self) -> int:
        return self._bytes["outbound"]

    @property
    def bytes_inbound(self) -> int:
        return self._bytes["inbound"]

    @property
    def opened_at(self) -> float:
        return self._opened_at

    @property
    def tcp(self) -> Any:
        if self._playback.tcp is None:
            raise OSError(errno.ENOTCONN, "cannot inspect: there is no socket; give Playback a tcp=")
        return self._playback.tcp

    def forward(self, direction: str = "both") -> None:
        for way in _ways(direction):
            self._playback.forwarded.add(way)
        self._playback.commands.append(("forward", direction))

    def limit(self, direction: str, rate: float | None, burst: int = 65536) -> None:
        if rate is not None and not rate > 0:
            raise ValueError(f"rate must be more than 0 bytes per second, or None, not {rate!r}")
        if burst < 1:
            raise ValueError(f"burst must be at least 1 byte, not {burst!r}")
        for way in _ways(direction):
            if rate is None:
                self._playback.limits.pop(way, None)
            else:
                self._playback.limits[way] = (rate, burst)
        self._playback.commands.append(("limit", direction, rate, burst))

    def yield_to(
        self,
        names: str | Sequence[str],
        where: str = "replace",
        *,
        outbound: bytes = b"",
        inbound: bytes = b"",
        passed: bytes = b"",
    ) -> None:
        playback = self._playback
        if playback._messages is not None and any(self._bytes.values()):
            told = (
                "a module of messages yields a flow in `opened` only: later a part of a message may be held"
            )
            raise OSError(errno.EOPNOTSUPP, told)
        if where not in ("left", "right", "replace"):
            raise ValueError(f'where is "left", "right" or "replace", not {where!r}')
        if (where == "left" and inbound) or (where == "right" and outbound):
            raise ValueError("these bytes do not pass new modules there: return them from a hook")
        if playback.yielding is not None:
            raise ValueError("the flow is yielded already; name all modules at once")
        wanted = (names,) if isinstance(names, str) else tuple(names)
        if not wanted:
            raise OSError(errno.EINVAL, "a flow is yielded to 1 or more modules")
        for name in wanted:
            if playback.living is not None and name not in playback.living:
                raise OSError(errno.ENOENT, f"no module named {name} is running")
        playback.yielding = where
        playback.carried["outbound"] += outbound
        playback.carried["inbound"] += inbound
        playback.carried["passed"] = passed
        playback.commands.append(("yield_to", wanted, where))

    def limit_unsent(self, most: int | None) -> None:
        if most is not None and most < 1:
            raise ValueError(f"most must be at least 1 byte, or None, not {most!r}")
        self._playback.commands.append(("limit_unsent", most))

    @property
    def unsent(self) -> int:
        return len(self._playback.unsent)

    def yank(self, length: int) -> bytes:
        taken = self.peek(length)
        del self._playback.unsent[len(self._playback.unsent) - len(taken) :]
        return taken

    def peek(self, length: int) -> bytes:
        unsent = self._revocable()
        return bytes(unsent[max(0, len(unsent) - length) :])

    def write(self, data: bytes) -> None:
        self._revocable().extend(data)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        self._revocable()
        self._playback.is_locked = True
        try:
            yield
        finally:
            self._playback.is_locked = False

    def _revocable(self) -> bytearray:
        if not self._playback.module.revocable:
            raise OSError(errno.EOPNOTSUPP, "this module is not revocable: set `revocable = True`")
        return self._playback.unsent

    def reset(self) -> None:
        self._playback.was_reset = True
        self._playback.commands.append(("reset",))


def _ways(direction: str) -> tuple[str, ...]:
    if direction not in _DIRECTIONS:
        raise ValueError(f'direction must be "outbound", "inbound" or "both", not {direction!r}')
    return _DIRECTIONS[direction]


class Playback:
    """A module with one flow that has just been opened; each method is one event and returns the bytes that
    go on.

    >>> class Shout(Module):
    ...     def outbound(self, flow, data):
    ...         return bytes(data).upper()
    >>> playback = Playback(Shout())
    >>> playback.outbound(b"hello"), playback.inbound(b"hello")
    (b'HELLO', b'hello')

    What hooks raise is raised to the test; with `strict=False` it is handled as the engine does, by
    `on_error`, and kept in `failures`. `start` and `stop` are the test's affair (see
    `modnet.testing.running`): a module has many flows.
    """

    def __init__(
        self,
        module: Module,
        *,
        peer: Address | None = ("192.0.2.1", 40000),
        local: Address | None = ("192.0.2.2", 80),
        strict: bool = True,
        tcp: Any = None,
        living: Collection[str] | None = None,
    ) -> None:
        self.module = module
        self.tcp = tcp
        """What the module reads as `flow.tcp`: any object with the attributes that it asks for."""
        self.strict = strict
        self.flow = PlayedFlow(self, peer, local)
        self.forwarded: set[str] = set()
        """Directions that are native now."""
        self.limits: dict[str, tuple[float, int]] = {}
        """Rate and burst of each limited direction."""
        self.was_reset = False
        self.living = living
        """Modules that a flow can be yielded to; None: whatever is named."""
        self.has_left = False
        """Whether the flow was yielded to modules that replace this one."""
        self.carried = {"outbound": b"", "inbound": b"", "passed": b""}
        """What they read first, and what they are shown before that."""
        self.yielding: str | None = None
        self.failures: list[tuple[str, Exception]] = []
        """Hook and exception, where `strict` is off."""
        self.commands: list[tuple[Any, ...]] = []
        """What the module asked of the flow, in order: `("forward", "both")`, `("limit", ...)`,
        `("yield_to", ("gzip",), "replace")`, `("reset",)`.
        """
        self.unsent = bytearray()
        """Of a `revocable` module: what it passed on outbound and TCP has not sent."""
        self.is_locked = False
        self._ended: set[str] = set()
        self._closed = False
        self._messages = _Messages(self) if hasattr(module, "wanted") else None
        self._call("opened", self.flow)

    def outbound(self, data: bytes) -> bytes:
        """The application sends `data`; returns what goes on to the network."""
        return self._keep(self._data("outbound", data))

    def inbound(self, data: bytes) -> bytes:
        """The network sends `data`; returns what goes on to the application."""
        return self._data("inbound", data)

    def outbound_end(self) -> bytes:
        """The application will send no more; returns the last bytes that go on before the end does."""
        return self._keep(self._end("outbound"))

    def inbound_end(self) -> bytes:
        """The network will send no more; returns the last bytes that go on before the end does."""
        return self._end("inbound")

    def outbound_silence(self) -> bytes:
        """The application sends nothing for a while; returns what a module of messages flushes."""
        return b"" if self._messages is None else self._messages.silence("outbound")

    def inbound_silence(self) -> bytes:
        """The network sends nothing for a while; returns what a module of messages flushes."""
        return b"" if self._messages is None else self._messages.silence("inbound")

    @property
    def counters(self) -> dict[str, int]:
        """What the engine would count of a module of messages: `http_requests` and so on."""
        return {} if self._messages is None else dict(self._messages.native.counters())

    def closed(self) -> None:
        """The flow is over."""
        if self._closed:
            raise UsageError("the played flow is closed already: one 'closed' a flow")
        self._closed = True
        self._call("closed", self.flow)

    def sent(self, count: int) -> bytes:
        """TCP sends the first `count` unsent bytes, which are returned; none while the module holds them."""
        count = 0 if self.is_locked else count
        gone = bytes(self.unsent[:count])
        del self.unsent[:count]
        return gone

    # --- the engine's rules ---

    def _keep(self, passed: bytes) -> bytes:
        if self.module.revocable:
            self.unsent += passed
        return passed

    def _data(self, way: Way, data: bytes) -> bytes:
        self._expect_open(way)
        if self.was_reset or not data:
            return b""
        self.flow._bytes[way] += len(data)
        if self._messages is not None:
            return self._messages.data(way, bytes(data))
        if way in self.forwarded or way not in type(self.module).hooks():
            return bytes(data)
        view = memoryview(bytes(data)).toreadonly()
        try:
            passed = self._call(way, self.flow, view, fallback=bytes(data))
        finally:
            view.release()
        return cast(bytes, passed)

    def _end(self, way: Way) -> bytes:
        self._expect_open(way)
        self._ended.add(way)
        if self._messages is not None and not self.was_reset:
            return self._messages.end(way)
        if self.was_reset or way in self.forwarded:
            return b""
        return cast(bytes, self._call(f"{way}_end", self.flow, fallback=b""))

    def _expect_open(self, way: Way) -> None:
        if self.has_left:
            raise UsageError(f"the module has yielded this flow: {way} goes to others")
        if self._closed or way in self._ended:
            raise UsageError(f"{way} is over in this playback: an event after its end cannot happen")

    def _call(self, hook: str, *arguments: Any, fallback: bytes | None = None) -> bytes | None:
        if hook not in type(self.module).hooks():
            return fallback
        try:
            result = getattr(self.module, hook)(*arguments)
            passed = None if fallback is None else self._passed(hook, result)
            if self.yielding is not None:
                return self._yielded(hook, passed)
        except Exception as error:
            if self.strict:
                raise
            self.failures.append((hook, error))
            self.module._hook_failed(hook, cast("Flow", self.flow), error)
            if hook == "closed":
                # Over already: there is nothing left to pass or to reset.
                return fallback
            if self.module.on_error == "reset":
                self.was_reset = True
            else:
                self.forwarded |= {"outbound", "inbound"}
                return fallback
        return b"" if self.was_reset else passed

    def _yielded(self, hook: str, passed: bytes | None) -> bytes | None:
        if self.was_reset:
            return b""
        place, self.yielding = self.yielding, None
        if place != "replace":
            return passed
        if passed is not None:
            self.carried[hook.removesuffix("_end")] += passed
        self.has_left = True
        self.closed()
        return b""

    def _passed(self, hook: str, result: object) -> bytes:
        if isinstance(result, bytes | bytearray | memoryview):
            return bytes(result)
        end = hook.endswith("_end")
        if end and result is None:
            return b""
        where = f"{type(self.module).__name__}.{hook}"
        wanted = "return the last bytes, or None" if end else "return data to pass it on, b'' to hold it back"
        raise TypeError(f"{where} returned {type(result).__name__}, which is not bytes: {wanted}")


class _Messages:
    """The framer's part, for a module that gets messages: the engine's own code, without its sockets."""

    def __init__(self, playback: Playback) -> None:
        # Here: a module that gets bytes is tested without the extension.
        from modnet import _native

        self._playback = playback
        module = playback.module
        module.__dict__["_hook_failed"] = self._failed
        self._raised: Exception | None = None
        self.native = _native.HttpPlayback(module, set(type(module).hooks()), playback.flow)

    def data(self, way: Way, data: bytes) -> bytes:
        return self._passed(self.native.data(way == "outbound", data))

    def silence(self, way: Way) -> bytes:
        return self._passed(self.native.silence(way == "outbound"))

    def end(self, way: Way) -> bytes:
        return self._passed(self.native.end(way == "outbound"))

    def _passed(self, result: tuple[bytes, bool]) -> bytes:
        passed, reset = result
        playback = self._playback
        if self._raised is not None and playback.strict:
            raised, self._raised = self._raised, None
            raise raised
        if playback.forwarded:
            self.native.give_up()
        playback.was_reset |= reset
        return b"" if playback.was_reset else passed

    def _failed(self, hook: str, flow: Flow, exception: BaseException) -> None:
        if isinstance(exception, Exception):
            self._raised = exception
            self._playback.failures.append((hook, exception))
        type(self._playback.module)._hook_failed(self._playback.module, hook, flow, exception)
