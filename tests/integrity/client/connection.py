"""One HTTP/1.1 connection whose every received byte is compared with what it should be.

Rules: bodies are compared piece by piece as they come, so that a beginning cut off by a reset is checked
too, and by SHA-256 as a whole. Errors keep their kinds: `Wrong` is never acceptable; EOFError and
ConnectionError may be. It must not know which scenario it is in.
"""

import asyncio
import hashlib
import random
import socket
import struct

from tests.integrity.client.tree import Blob

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Wrong(Exception):
    """Bytes that the server did not send, or not in this place."""


class Declined(Exception):
    """The server answered 400: it takes the request for a mistake."""


class Connection:
    """An open connection; `open` makes one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, host: str, port: int, receive_buffer: int = 0) -> "Connection":
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        sock.setblocking(False)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (host, port))
        except OSError:
            sock.close()
            raise
        # A small limit, so that a reader that pauses stops the sender soon.
        return cls(*await asyncio.open_connection(sock=sock, limit=16384))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def end_sending(self) -> None:
        self.writer.write_eof()

    def reset(self) -> None:
        """Ends with a reset, whatever is unsent or unread."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()

    async def head(self) -> int:
        """Reads a response's head; returns the body's length, -1 if it is chunked."""
        try:
            raw = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial and not b"HTTP/1.1 200".startswith(error.partial[:12]):
                raise Wrong(f"head begins {error.partial[:60]!r}") from None
            raise
        status, *lines = raw.decode("latin-1").split("\r\n")
        if status.split()[1] == "400":
            raise Declined
        if status.split()[1] not in ("200", "201", "204"):
            raise Wrong(f"status {status!r}")
        headers = dict(line.lower().split(": ", 1) for line in lines if line)
        if headers.get("transfer-encoding") == "chunked":
            return -1
        return int(headers.get("content-length", 0))

    async def body(
        self, length: int, expected: Blob, pause: tuple[random.Random, float] | None = None
    ) -> None:
        """Reads a whole body and compares it; `pause` is (generator, longest pause) for slow readers."""
        digest, offset = hashlib.sha256(), 0
        if length >= 0 and length != len(expected.data):
            raise Wrong(f"{expected.name}: length {length}")
        while (left := await self.chunk() if length < 0 else length - offset) > 0:
            end = offset + left
            while offset < end:
                piece = await self.reader.read(min(end - offset, 65536))
                if not piece:
                    raise EOFError
                if piece != expected.data[offset : offset + len(piece)]:
                    raise Wrong(f"{expected.name}: other bytes in {offset}+{len(piece)}")
                digest.update(piece)
                offset += len(piece)
                if pause and pause[0].random() < 0.05:
                    await asyncio.sleep(pause[0].random() * pause[1])
            if length < 0:
                await self.reader.readexactly(2)
        if length < 0:
            await self.reader.readexactly(2)
        if offset != len(expected.data) or digest.digest() != expected.digest:
            raise Wrong(f"{expected.name}: digest of {offset} bytes")

    async def chunk(self) -> int:
        return int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16)

    async def response(self, expected: Blob, pause: tuple[random.Random, float] | None = None) -> None:
        await self.body(await self.head(), expected, pause)

    async def beginning(self, expected: Blob, most: int) -> None:
        """Reads and compares up to `most` bytes of a body."""
        await self.head()
        offset = 0
        while offset < min(most, len(expected.data)):
            piece = await self.reader.read(most - offset)
            if not piece:
                raise EOFError
            if not expected.data.startswith(piece, offset):
                raise Wrong(f"{expected.name}: other bytes in {offset}+{len(piece)}")
            offset += len(piece)

    async def end(self) -> None:
        """The server's end of stream, and nothing before it."""
        extra = await self.reader.read(100)
        if extra:
            raise Wrong(f"{extra[:60]!r} after the last response")
