"""`Module`: what a module is, and the check that a class is one.

A module is a class with hooks. The engine, in Rust, owns the sockets; it calls a hook when there are bytes
to decide about, and never enters Python for a hook that the class has left alone.

| when | called | returns |
| --- | --- | --- |
| configure | `Settings(...)`, then the class itself: pure, nothing is open yet | |
| once, before the first flow | `start()` | |
| a connection was stolen | `opened(flow)` | |
| the application has sent | `outbound(flow, data)` | the bytes that go on to the network |
| the network has sent | `inbound(flow, data)` | the bytes that go on to the application |
| outbound bytes are taken back | `yank_requested(flow, length)` | the last `length`, as they had come |
| that direction has ended | `outbound_end(flow)`, `inbound_end(flow)` | last bytes, or None |
| the flow is over | `closed(flow)` | |
| it is told to read its files anew | `reload()` | |
| once, after the last flow | `stop()` | |

Rules: all hooks of one flow run in one thread, one after the other, so what belongs to a flow (`flow.seen =
0`) needs no lock; flows on different cores run in different threads, so what belongs to the module does. A
hook must not block: its thread serves thousands of other flows. Must not: import the extension, so that a
module is loaded, checked and tested without an engine.

>>> class Shout(Module):
...     def outbound(self, flow, data):
...         return bytes(data).upper()
>>> Shout.name, sorted(Shout.hooks())
('shout', ['outbound'])
"""

from __future__ import annotations

import dataclasses
import errno
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from modnet._failures import Failures
from modnet._timers import Timer, Timers
from modnet.errors import ModnetError, UsageError

if TYPE_CHECKING:
    from modnet.flow import Flow

__all__ = ["HOOKS", "Data", "Module", "NoSettings", "kebab_case"]

Data: TypeAlias = bytes | bytearray | memoryview
"""What a hook may return."""

HOOKS: dict[str, tuple[str, ...]] = {
    "opened": ("flow",),
    "outbound": ("flow", "data"),
    "inbound": ("flow", "data"),
    "outbound_end": ("flow",),
    "inbound_end": ("flow",),
    "closed": ("flow",),
    "yank_requested": ("flow", "length"),
}
"""Every hook of a module that gets bytes, and what it is called with."""


@dataclasses.dataclass(frozen=True)
class NoSettings:
    """The settings of a module that has none."""


class Module:
    """Base of all modules. Override the hooks you want; the rest costs nothing.

    `name` is what the module is registered under (letters, digits, `_ - .`, at most 31); a class that sets
    none gets its own name in kebab-case. `on_error` says what becomes of a flow whose hook has raised:
    "pass", the bytes at hand go on untouched and the flow is native from there; "reset", both ends see a
    reset. `revocable` says whether what the module passes on outbound waits here until the kernel can send
    it, so that `flow.yank` and its like can take it back; a module that never does need not pay for it.

    Settings are a nested frozen dataclass, see `modnet.settings` for the types:

    >>> from dataclasses import dataclass
    >>> class Mark(Module):
    ...     @dataclass(frozen=True)
    ...     class Settings:
    ...         text: str = "!"
    ...
    ...     settings: Settings
    ...
    ...     def outbound_end(self, flow):
    ...         return self.settings.text.encode()
    >>> Mark(Mark.Settings(text="?")).settings.text
    '?'
    """

    name: str
    on_error: Literal["pass", "reset"] = "pass"
    revocable: bool = False
    Settings: ClassVar[type[Any]] = NoSettings
    settings: Any

    _HOOKS: ClassVar[dict[str, tuple[str, ...]]] = HOOKS
    # Who has them all, and does nothing in them.
    _HOOKS_OF: ClassVar[type[Module]]

    def __init__(self, settings: Any = None) -> None:
        """Takes the settings, checked already. Who overrides this opens nothing here, but in `start`."""
        self.settings = type(self).Settings() if settings is None else settings

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = kebab_case(cls.__name__)

    # --- lifecycle ---

    def start(self) -> None:
        """Called once before the first flow: open files, start threads. Raise SystemRefused if that fails."""

    def stop(self) -> None:
        """Called once after the last flow, also after a failed `start` of the engine: undo `start`."""

    def reload(self) -> None:
        """Called when the module is told to read its files anew (`modnet module reload NAME`, SIGHUP), in a
        thread of its own. Raise UsageError where they are wrong, having changed nothing.
        """
        raise UsageError(f"module {self.name} has nothing to read anew")

    def every(self, seconds: float, call: Callable[..., object], *arguments: Any) -> Timer:
        """Calls `call(*arguments)` every so many seconds until `stop`, or until the timer's `cancel()`.

        For `start` and for hooks. The calls come in a thread of their own, one after the other: what they
        share with hooks is shared with other threads, and a flow's orders are carried out with its next hook.
        """
        if not seconds > 0:
            raise ValueError(f"every: seconds is above 0, not {seconds}")
        return self._all_timers().add(seconds, call, *arguments)

    def counters(self) -> Mapping[str, int]:
        """The module's own named counters, for whoever shows them. Called from any thread while it runs."""
        return {}

    # --- hooks ---

    def opened(self, flow: Flow) -> None:
        """A connection was stolen; no byte of it has passed yet."""

    def outbound(self, flow: Flow, data: memoryview) -> Data:
        """Bytes from the application; return what goes on to the network.

        `data` is readable during the call only: keep `bytes(data)`, not `data`. Returning `data` itself
        passes it on without a copy; `b""` holds it back. How the bytes are cut has no meaning: one request
        may come in many calls, many in one.
        """
        return data

    def inbound(self, flow: Flow, data: memoryview) -> Data:
        """Bytes from the network; return what goes on to the application. As `outbound`."""
        return data

    def outbound_end(self, flow: Flow) -> Data | None:
        """The application will send no more; return what was held back for the network, or None."""
        return None

    def inbound_end(self, flow: Flow) -> Data | None:
        """The network will send no more; return what was held back for the application, or None."""
        return None

    def yank_requested(self, flow: Flow, length: int) -> Data:
        """The application, or a module before, takes the last `length` bytes back that came outbound.

        Take back what was made of them (`flow.yank`), and return them as they had come: the last of the
        stream, in its order, at most `length`; fewer where the rest has been sent. A module that leaves
        `outbound` alone is answered by the engine; one that has `outbound` and not this gives nothing back,
        and whoever asks hears EOPNOTSUPP.
        """
        raise NotImplementedError

    def closed(self, flow: Flow) -> None:
        """The flow is over, however it ended. Called once for every flow; nothing can be sent any more."""

    # --- for the engine and the loader ---

    @classmethod
    def hooks(cls) -> frozenset[str]:
        """The hooks that this class overrides: the only ones that are ever called."""
        base = cls._HOOKS_OF
        return frozenset(hook for hook in cls._HOOKS if getattr(cls, hook) is not getattr(base, hook))

    def _all_timers(self) -> Timers:
        # As with `_failures` below.
        timers: Timers = self.__dict__.setdefault("_timers", Timers(self._timer_failed))
        return timers

    def _timer_failed(self, call: str, exception: BaseException) -> None:
        self._failed_in(call, exception, "a timer")

    def _failed_in(self, call: str, exception: BaseException, where: str = "the module") -> None:
        failures: Failures = self.__dict__.setdefault("_failures", Failures())
        failures.report(type(self).__name__, call, where, exception)

    def _reload(self) -> tuple[int, str]:
        """For the engine: 0, or an errno and what is wrong."""
        try:
            self.reload()
        except ModnetError as error:
            return (errno.EINVAL if can_reload(self) else errno.EOPNOTSUPP), str(error)
        except Exception as error:
            self._failed_in("reload", error)
            return errno.EINVAL, f"{type(self).__name__}.reload raised {type(error).__name__}: {error}"
        return 0, ""

    def _stop(self) -> None:
        """The end of a module: of its timers, then its own."""
        if "_timers" in self.__dict__:
            self._all_timers().stop()
        self.stop()

    def _hook_failed(self, hook: str, flow: Flow, exception: BaseException) -> None:
        """The engine calls this in the worker's thread when `hook` has raised, then acts on `on_error`."""
        # Made on first use, so that a subclass need not call super().__init__; setdefault is atomic.
        failures: Failures = self.__dict__.setdefault("_failures", Failures())
        peer = "an unknown peer" if flow.peer is None else "{}:{}".format(*flow.peer)
        failures.report(type(self).__name__, hook, f"flow {flow.id} from {peer}", exception)


Module._HOOKS_OF = Module


def can_reload(module: Module) -> bool:
    """Whether it has files that can be read anew."""
    return type(module).reload is not Module.reload


def kebab_case(name: str) -> str:
    """A class's name as a module's.

    >>> [kebab_case(n) for n in ("Shout", "RateLimit", "HTTPHeader", "My_Module2")]
    ['shout', 'rate-limit', 'http-header', 'my-module2']
    """
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name)
    return re.sub(r"[-_]+", "-", parted).strip("-").lower()
