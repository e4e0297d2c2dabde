"""`RevocableTransport`: asyncio's transport over a `RevocableSocket`.

    reader, writer = await modnet.revoke.open("example.org", 80)
    writer.write(b"...")
    writer.transport.yank(100)

`open` gives the usual pair of streams. (asyncio's own transports work over a `RevocableSocket` too, but keep
a buffer of their own in front of it, whose bytes `yank` would miss: so this one.)

Rules: as asyncio's socket transport; what is written waits in the socket's queue and nowhere else, and
`pause_writing` follows its length. All calls in the loop's thread. Must not: TLS, which goes round the queue.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from modnet import _native
from modnet.errors import UsageError
from modnet.revoke.socket import QUEUE, RevocableSocket

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined]  # Python 3.12

__all__ = ["RevocableTransport", "open"]

_READ = 256 * 1024
_UNLIMITED = 1 << 62


class RevocableTransport(asyncio.Transport):
    """One connection. `yank`, `peek`, `lock` and `unsent` are the socket's."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, connected: socket.socket, protocol: Any, *, queue: int = QUEUE
    ) -> None:
        # No bound of its own: asyncio's writers are asked to pause, never refused.
        sock = RevocableSocket(connected, queue=_UNLIMITED)
        super().__init__({"socket": sock, "sockname": sock.getsockname(), "peername": sock.getpeername()})
        sock.setblocking(False)
        self._loop = loop
        self._sock = sock
        self._late = sock._late
        self._protocol = protocol
        self._closing = False
        self._finished = False
        self._reading = True
        self._ended = False
        self._paused = False
        self.set_write_buffer_limits(queue)
        loop.call_soon(self._begin)

    def _begin(self) -> None:
        self._protocol.connection_made(self)
        if not self._finished:
            self._loop.add_reader(self._late.bell, self._rung)
            if self.is_reading():
                self._loop.add_reader(self._sock, self._read)

    # --- taking back ---

    @property
    def unsent(self) -> int:
        """Bytes that TCP has not sent."""
        return self._sock.unsent

    def yank(self, length: int) -> bytes:
        """Takes the last bytes back, as `RevocableSocket.yank`."""
        return self._sock.yank(length)

    def peek(self, length: int) -> bytes:
        """The bytes that `yank` would take."""
        return self._sock.peek(length)

    def lock(self) -> _native.Lock:
        """As `RevocableSocket.lock`. Do not await under it: other tasks of the loop are the same thread."""
        return self._sock.lock()

    # --- writing ---

    def write(self, data: Buffer) -> None:
        if self._ended:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._closing:
            return
        view = memoryview(data).cast("B")
        try:
            if view.nbytes:
                self._late.append(view)
        except OSError as error:
            self._finish(error)
            return
        if not self._paused and self._late.waiting > self._high:
            self._paused = True
            self._protocol.pause_writing()
        if self._paused:
            self._late.ring_at(self._low)

    def writelines(self, list_of_data: Iterable[Buffer]) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self._ended and not self._closing:
            self._ended = True
            self._late.shutdown()

    def get_write_buffer_size(self) -> int:
        return self._late.waiting

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return (self._low, self._high)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """By default a writer is paused at the size of the queue, which is large so that much can be taken
        back.
        """
        if high is None:
            high = QUEUE if low is None else 4 * low
        low = high // 4 if low is None else low
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high, self._low = high, low

    def _rung(self) -> None:
        self._late.hear()
        if broken := self._late.broken:
            self._finish(OSError(broken, os.strerror(broken)))
        elif self._closing:
            self._flush()
        elif self._paused and self._late.waiting <= self._low:
            self._paused = False
            self._protocol.resume_writing()
        elif self._paused:
            self._late.ring_at(self._low)

    # --- reading ---

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        if self.is_reading():
            self._reading = False
            self._loop.remove_reader(self._sock)

    def resume_reading(self) -> None:
        if not self._reading and not self._closing:
            self._reading = True
            self._loop.add_reader(self._sock, self._read)

    def _read(self) -> None:
        try:
            data = self._sock.recv(_READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._finish(error)
            return
        if data:
            self._protocol.data_received(data)
            return
        self._loop.remove_reader(self._sock)
        self._reading = False
        if not self._protocol.eof_received():
            self.close()

    # --- the end ---

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """What waits is sent first, unless it is yanked."""
        if not self._closing:
            self._closing = True
            self._loop.remove_reader(self._sock)
            self._flush()

    def _flush(self) -> None:
        if self._late.waiting:
            self._late.ring_at(0)
        else:
            self._finish(None)

    def abort(self) -> None:
        """What waits is thrown away."""
        self._late.yank(_UNLIMITED)
        self._finish(None)

    def _finish(self, error: OSError | None) -> None:
        if self._finished:
            return
        self._finished = self._closing = True
        self._loop.remove_reader(self._sock)
        self._loop.remove_reader(self._late.bell)
        self._loop.call_soon(self._lost, error)

    def _lost(self, error: OSError | None) -> None:
        try:
            self._protocol.connection_lost(error)
        finally:
            self._sock.close()

    def get_protocol(self) -> asyncio.BaseProtocol:
        return cast(asyncio.BaseProtocol, self._protocol)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol


async def open(
    host: str | None = None,
    port: int | None = None,
    *,
    sock: socket.socket | None = None,
    queue: int = QUEUE,
    limit: int = 1 << 16,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A pair of streams to `host` and `port`, or over `sock`, which is connected: one that was accepted, say.
    `limit` is the reader's.
    """
    loop = asyncio.get_running_loop()
    if (sock is None) == (host is None):
        raise UsageError("open takes a host and a port, or a connected sock=")
    connected = sock if sock is not None else await _connect(loop, host, port)
    reader = asyncio.StreamReader(limit=limit, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport = RevocableTransport(loop, connected, protocol, queue=queue)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _connect(loop: asyncio.AbstractEventLoop, host: str | None, port: int | None) -> socket.socket:
    """By the first address that answers."""
    refused: OSError | None = None
    for family, kind, proto, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, proto)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            refused = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise refused or OSError(errno.EADDRNOTAVAIL, f"{host} has no address")
