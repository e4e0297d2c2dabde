"""The paper's calls (Table 1), for a module that has its own loop; `include/modnet.h` has the same in C.

    calls.register("mine")
    events = calls.epoll()
    events.register(-calls.ALL_CPUS, calls.EPOLL_STEAL)
    for fd, event in events.poll():
        if event & calls.EPOLL_STEAL:
            for left, right in calls.getsockets():
                ...  # bytes of left go to right, and the other way

Most modules are written with `modnet.Module` instead. Rules: what fails raises `OSError` with the errno that
the header names; descriptors are plain numbers and the caller's to close. Must not: move bytes.
"""

from __future__ import annotations

import errno
import select
from collections.abc import Sequence
from types import TracebackType

from modnet import _native

__all__ = [
    "ALL_CPUS",
    "APPLY_LEFT",
    "APPLY_RIGHT",
    "EPOLL_STEAL",
    "EPOLL_YANK",
    "EPOLL_YANK_REQ",
    "PEEK",
    "REPLACE",
    "YANK",
    "YANK_DONTWAIT",
    "YANK_LOCK",
    "YANK_NONE",
    "YANK_UNLOCK",
    "apply",
    "epoll",
    "getsockets",
    "map_state",
    "register",
    "yank",
    "yank_request",
    "yankwrite",
    "yield_",
]

ALL_CPUS = (1 << 63) - 1
"""A cpu_mask that means every core."""
EPOLL_STEAL = 1 << 24
"""Told by `epoll.poll` when `getsockets` may have something."""
EPOLL_YANK = 1 << 25
"""Told by `epoll.poll` when a yank with YANK_DONTWAIT has its answer."""
EPOLL_YANK_REQ = 1 << 26
"""Told by `epoll.poll` for a left socket while somebody asks for bytes that came from it: `yank_request`."""
YANK, PEEK = 0, 1
"""Operations of `yank`: the bytes are gone from the stream; they are not."""
YANK_NONE, YANK_LOCK, YANK_UNLOCK = 0, 1, 2
"""What `yank` does to transmission: leaves it as it is; holds it from now on; lets it go again."""
YANK_DONTWAIT = 1
"""A flag of `yank`: do not wait for modules."""
APPLY_LEFT, APPLY_RIGHT, REPLACE = 1, 2, 3
"""What `yield_` does."""
_MANNER = select.EPOLLET | select.EPOLLONESHOT
_YANKS = EPOLL_YANK | EPOLL_YANK_REQ


def register(name: str) -> None:
    """Makes this process the module `name`, until it ends."""
    _native.calls_register(name)


def apply(target: int, names: Sequence[str]) -> None:
    """Applies modules to process `target` (0: this one), the first nearest to it; none takes them away."""
    _native.calls_apply(target, list(names))


def getsockets(cpu_mask: int = ALL_CPUS, max: int = 64) -> list[tuple[int, int]]:
    """Stolen connections as (left, right), at most `max`; `BlockingIOError` where none is there.

    `left` leads to the application, `right` to the network or the next module. ESHUTDOWN: none will come.
    """
    if max < 1:
        raise OSError(errno.EINVAL, "max is at least 1")
    return _native.calls_getsockets(_checked(cpu_mask), max)


def yield_(
    left: int,
    right: int,
    names: Sequence[str],
    operation: int,
    *,
    outbound: bytes = b"",
    inbound: bytes = b"",
) -> None:
    """Yields a flow to modules, the first nearest to the application: they take this one's place (REPLACE;
    both descriptors are closed), or come between it and a neighbour (APPLY_LEFT, APPLY_RIGHT; the number
    that is `left` or `right` leads to them then, the other one may be -1).

    An application yields its own connection with `yield_(-1, connection.fileno(), names, APPLY_RIGHT)`,
    before it puts it into an epoll set. `outbound` and `inbound` are bytes that were read from `left` and
    `right` and not passed on: the new modules read them first. `modnet.h` has the errors; ENOENT: no living
    module has one of the names, and nothing has changed.
    """
    if operation not in (APPLY_LEFT, APPLY_RIGHT, REPLACE):
        raise OSError(errno.EINVAL, "an operation is APPLY_LEFT, APPLY_RIGHT or REPLACE")
    _native.calls_yield(left, right, list(names), operation, (outbound, inbound))


def map_state(fd: int) -> _native.Tcp:
    """The TCP state of a descriptor: of a TCP socket its own; of a module's `right` that leads to a next
    module, and of an application's intermediate socket, the real socket's. When `fd` has been closed,
    there is nothing to read any more, or the last sample.

    EOPNOTSUPP: it is neither, or in the middle of a chain where nothing is enabled (`modnet doctor`).
    """
    return _native.calls_map_state(fd)


def yank(fd: int, length: int, operation: int = YANK, lock: int = YANK_NONE, flags: int = 0) -> bytes:
    """Takes back the last bytes written to `fd`, at most `length`, that TCP has not sent, in the order of the
    stream; b"" where nothing is unsent. With PEEK they stay.

    `fd` is an application's intermediate socket, a module's `right` that leads to a next module, or a TCP
    socket that no module has: then they come out of the kernel's send buffer (CAP_NET_ADMIN, no lock). With
    YANK_LOCK nothing is sent, and nobody else takes bytes, until YANK_UNLOCK (with `length` 0 that is all
    that happens), a close, or the end of this process.

    BlockingIOError (EAGAIN): with YANK_DONTWAIT, the answer comes later, as EPOLL_YANK, to the same call; or
    somebody else takes or holds the bytes; or the kernel cannot now. EOPNOTSUPP: a module of the chain does
    not give back, or no module has this socket's bytes, or the kernel never can. EPERM: a plain TCP socket,
    and no CAP_NET_ADMIN. TimeoutError: a module does not answer (MODNET_YANK_TIMEOUT); the bytes go on.
    """
    if length < 0 or operation not in (YANK, PEEK) or flags & ~YANK_DONTWAIT:
        raise OSError(
            errno.EINVAL, "length is not negative, operation is YANK or PEEK, flags YANK_DONTWAIT or 0"
        )
    words = {YANK_NONE: "none", YANK_LOCK: "lock", YANK_UNLOCK: "unlock"}
    if lock not in words:
        raise OSError(errno.EINVAL, "lock is YANK_NONE, YANK_LOCK or YANK_UNLOCK")
    return _native.calls_yank(fd, length, operation == PEEK, words[lock], bool(flags & YANK_DONTWAIT))


def yank_request(left: int) -> int:
    """How many of the last bytes that came from `left` somebody takes back; BlockingIOError: none.

    Take back what was made of them, and give them to `yankwrite` as they had come.
    """
    return _native.calls_yank_request(left)


def yankwrite(left: int, data: bytes | bytearray | memoryview) -> int:
    """Gives bytes back to whoever asks for them, in the order of the stream, in any number of pieces; returns
    how many were taken, for which there was room (MODNET_YANK_BUFFER). No bytes: there are no more.

    BlockingIOError: nobody asks, or not any more. EMSGSIZE: more than were asked for.
    """
    return _native.calls_yankwrite(left, bytes(data))


def _checked(cpu_mask: int) -> int:
    if not 0 < cpu_mask <= ALL_CPUS:
        raise OSError(
            errno.EINVAL, "a cpu_mask is positive and names a core of this machine; bit n is core n"
        )
    return cpu_mask


class epoll:
    """`select.epoll` that takes the negative of a cpu_mask for a descriptor, to be told EPOLL_STEAL, and
    EPOLL_YANK and EPOLL_YANK_REQ among the events of a descriptor.
    """

    def __init__(self) -> None:
        self._set = select.epoll()
        self._masks: dict[int, int] = {}
        """By the descriptor that stands for a mask, which lives as long as the process."""
        self._bells: dict[int, tuple[int, int]] = {}
        """Descriptor and EPOLL_YANK or EPOLL_YANK_REQ, by the descriptor that stands for both."""

    def register(self, fd: int, eventmask: int = select.EPOLLIN | select.EPOLLPRI | select.EPOLLOUT) -> None:
        """Watches a descriptor, or a negative mask for EPOLL_STEAL (with EPOLLET, EPOLLONESHOT if wanted)."""
        self._set.register(*self._translated(fd, eventmask & ~_YANKS))
        self._watch_yanks(fd, eventmask)

    def modify(self, fd: int, eventmask: int) -> None:
        """Changes what is watched."""
        self._set.modify(*self._translated(fd, eventmask & ~_YANKS))
        self._watch_yanks(fd, eventmask)

    def unregister(self, fd: int) -> None:
        """Watches no longer."""
        self._set.unregister(self._descriptor(fd))
        self._watch_yanks(fd, 0)

    def poll(self, timeout: float | None = None, maxevents: int = -1) -> list[tuple[int, int]]:
        """(fd, events) of what is ready; a mask's fd is negative, as it was given. `timeout` in seconds."""
        ready = self._set.poll(timeout, maxevents)
        return [self._told(fd, events) for fd, events in ready]

    def fileno(self) -> int:
        """The set's own descriptor."""
        return self._set.fileno()

    def close(self) -> None:
        """Closes the set."""
        self._set.close()

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._set.closed

    def __enter__(self) -> epoll:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _told(self, fd: int, events: int) -> tuple[int, int]:
        if fd in self._masks:
            return self._masks[fd], EPOLL_STEAL
        return self._bells.get(fd, (fd, events))

    def _watch_yanks(self, fd: int, eventmask: int) -> None:
        for kind, ask in (
            (EPOLL_YANK, _native.calls_yank_ready),
            (EPOLL_YANK_REQ, _native.calls_yank_listen),
        ):
            bell = next((bell for bell, watched in self._bells.items() if watched == (fd, kind)), None)
            if eventmask & kind and bell is None:
                bell = ask(fd)
                self._set.register(bell, select.EPOLLWRNORM | eventmask & _MANNER)
                self._bells[bell] = (fd, kind)
            elif not eventmask & kind and bell is not None:
                self._set.unregister(bell)
                del self._bells[bell]
                if kind == EPOLL_YANK_REQ:
                    _native.calls_yank_forget(fd)

    def _translated(self, fd: int, eventmask: int) -> tuple[int, int]:
        if (fd < 0) != (eventmask & ~_MANNER == EPOLL_STEAL) or (fd >= 0 and eventmask & EPOLL_STEAL):
            raise OSError(errno.EINVAL, "a mask is watched for EPOLL_STEAL, and nothing else is")
        events = select.EPOLLIN | eventmask & _MANNER if fd < 0 else eventmask
        return self._descriptor(fd), events

    def _descriptor(self, fd: int) -> int:
        if fd >= 0:
            return fd
        gate = _native.calls_gate(_checked(-fd))
        self._masks[gate] = fd
        return gate
