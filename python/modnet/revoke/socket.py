"""`RevocableSocket`: a connected TCP socket that keeps what the kernel cannot send yet, so that it can be
taken back.

It is a `socket.socket`: what a program does with one it does with this, and `yank`, `peek`, `lock`, `write`
and `unsent` besides. The bytes and the rule are those of a module that is `revocable` (docs/revocation.md).

Rules: what was accepted by `send` is sent, also after `close`, unless somebody takes it back; a process that
ends waits for that, `AT_EXIT` seconds at most. What a plain socket refuses is refused in the same way. Must
not be used for what goes round it: the descriptor's number given to another library (TLS, `os.sendfile`),
whose bytes would overtake those that wait.
"""

from __future__ import annotations

import atexit
import errno
import os
import socket
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NoReturn

from modnet import _native
from modnet.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined]  # Python 3.12

__all__ = ["AT_EXIT", "QUEUE", "RevocableSocket"]

QUEUE = 4 << 20
"""Most bytes that wait in one socket, unless it is made with another number."""
AT_EXIT = 10.0
"""Seconds that a process which ends waits for what its sockets have not sent."""
_IGNORED = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL | socket.MSG_MORE


class RevocableSocket(socket.socket):
    """Takes over `connected`, a TCP socket, which is closed to everybody else from then on.

    `queue` is the most that waits; a `send` beyond it blocks, or raises as the socket's timeout says.
    """

    def __init__(self, connected: socket.socket, *, queue: int = QUEUE) -> None:
        if not isinstance(connected, socket.socket) or isinstance(connected, RevocableSocket):
            raise UsageError("RevocableSocket takes a plain, connected socket.socket")
        timeout = connected.gettimeout()
        late = _native.LateSocket(connected.fileno(), queue)
        super().__init__(connected.family, connected.type, connected.proto, fileno=connected.detach())
        self.settimeout(timeout)
        self._late = late

    # --- what a plain socket has not ---

    @property
    def unsent(self) -> int:
        """Bytes that TCP has not sent: those that `yank` can take, and those that the kernel holds."""
        return self._late.unsent

    def yank(self, length: int) -> bytes:
        """Takes the last bytes back that wait here, at most `length`, in the order of the stream. The peer
        never sees them. BlockingIOError while another thread holds the lock.
        """
        return self._late.yank(length)

    def peek(self, length: int) -> bytes:
        """The bytes that `yank` would take. Raises as `yank`."""
        return self._late.peek(length)

    def write(self, data: bytes) -> None:
        """Puts bytes behind the last that wait; under a lock, before what was sent meanwhile. Raises as
        `yank`.
        """
        self._late.write(data)

    def lock(self) -> _native.Lock:
        """A context in which nothing is sent, and the last bytes stay the last: what others send meanwhile
        comes behind. It belongs to the thread, and ends with the context or the socket. Raises as `yank`.
        """
        return self._late.lock()

    def flush(self, timeout: float | None = None) -> None:
        """Returns once the kernel has everything; TimeoutError: not within so many seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while self._late.waiting:
            self._late.ring_at(0)
            self._await(end)

    # --- sending ---

    def send(self, data: Buffer, flags: int = 0, /) -> int:
        """As a plain socket; what was sent can be taken back until the kernel has it."""
        self._check(flags)
        view = memoryview(data).cast("B")
        end = self._end()
        while not (count := self._late.append(view)) and view.nbytes:
            if self.gettimeout() == 0 or flags & socket.MSG_DONTWAIT:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            self._await(end)
        return count

    def sendall(self, data: Buffer, flags: int = 0, /) -> None:
        """As a plain socket."""
        self._check(flags)
        view = memoryview(data).cast("B")
        end = self._end()
        # Once for nothing, too: it may raise.
        while True:
            count = self._late.append(view)
            view = view[count:]
            if not view.nbytes:
                return
            if not count:
                if self.gettimeout() == 0:
                    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
                self._await(end)

    def sendmsg(
        self,
        buffers: Iterable[Buffer],
        ancdata: Iterable[Any] = (),
        flags: int = 0,
        address: Any = None,
        /,
    ) -> int:
        """As a plain socket; TCP carries no ancillary data."""
        if list(ancdata):
            raise OSError(errno.EOPNOTSUPP, "a revocable socket sends no ancillary data")
        if address is not None:
            raise OSError(errno.EISCONN, os.strerror(errno.EISCONN))
        return self.send(b"".join(memoryview(buffer).cast("B") for buffer in buffers), flags)

    def sendto(self, data: Buffer, *arguments: Any) -> int:
        """EISCONN: as a plain connected socket."""
        raise OSError(errno.EISCONN, os.strerror(errno.EISCONN))

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """As a plain socket; the bytes pass through the queue."""
        return self._sendfile_use_send(file, offset, count)  # type: ignore[attr-defined,no-any-return]

    # --- the end ---

    def shutdown(self, how: int, /) -> None:
        """As a plain socket: the sending half is closed behind what waits."""
        if how in (socket.SHUT_WR, socket.SHUT_RDWR):
            # A plain socket says ENOTCONN where the connection is over; so does asking for the peer.
            self.getpeername()
            self._late.shutdown()
        if how != socket.SHUT_WR:
            super().shutdown(socket.SHUT_RD if how == socket.SHUT_RDWR else how)

    def detach(self) -> int:
        """Waits until the kernel has everything (as `flush`), then gives the descriptor away."""
        self.flush(self.gettimeout() or None)
        fd = super().detach()
        self._late.close()
        return fd

    def dup(self) -> NoReturn:
        """Refused: two queues in front of one connection would mix their bytes."""
        raise OSError(errno.EOPNOTSUPP, "a revocable socket has no duplicates: share the object itself")

    def _real_close(self, *arguments: Any) -> None:
        # Before the descriptor: what SO_LINGER says is asked of the socket.
        self._late.close()
        super()._real_close(*arguments)  # type: ignore[misc]

    # --- for the above ---

    def _check(self, flags: int) -> None:
        if self.fileno() < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if flags & ~_IGNORED:
            raise OSError(errno.EOPNOTSUPP, f"a revocable socket knows no flags {flags & ~_IGNORED:#x}")

    def _end(self) -> float | None:
        timeout = self.gettimeout()
        return None if not timeout else time.monotonic() + timeout

    def _await(self, end: float | None) -> None:
        left = None if end is None else end - time.monotonic()
        if (left is not None and left <= 0) or not self._late.wait(left):
            raise TimeoutError("timed out")


atexit.register(lambda: _native.late_drain(AT_EXIT))
