"""`RevocableTransport` under asyncio's streams and protocols."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from modnet.errors import UsageError
from modnet.revoke import RevocableSocket, RevocableTransport
from modnet.revoke import open as open_revocable

from tests.revoke.pairs import PATIENCE, connected

MUCH = 8 << 20


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(3 * PATIENCE):
            await test()

    asyncio.run(bounded())


async def _rest(peer: socket.socket) -> bytes:
    reader, writer = await asyncio.open_connection(sock=peer)
    data = await reader.read()
    writer.close()
    return data


def test_streams_echo() -> None:
    async def test() -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            reader, writer = await open_revocable(*server.sockets[0].getsockname()[:2])
            data = bytes(range(256)) * 8192
            writer.write(data[:100])
            writer.writelines([data[100:5000], data[5000:]])
            writer.write_eof()
            assert await reader.read() == data
            writer.close()
            await writer.wait_closed()
        assert isinstance(writer.transport, RevocableTransport)
        assert isinstance(writer.get_extra_info("socket"), RevocableSocket)
        assert writer.get_extra_info("peername") == ("127.0.0.1", server_port(writer))

    def server_port(writer: asyncio.StreamWriter) -> int:
        return int(writer.get_extra_info("peername")[1])

    run(test)


def test_what_is_yanked_never_arrives() -> None:
    async def test() -> None:
        ours, peer = connected(room=4096)
        _, writer = await open_revocable(sock=ours)
        transport: Any = writer.transport
        writer.write(b"old" * 1_000_000)
        with transport.lock():
            assert transport.peek(3) == b"old"
            taken = transport.yank(1 << 30)
        kept = 3_000_000 - len(taken)
        assert transport.unsent < 200_000 and kept < 400_000
        writer.write(b"new")
        writer.close()
        got = await _rest(peer)
        assert len(got) == kept + 3 and got.endswith(b"new")

    run(test)


def test_a_writer_is_paused_when_much_waits_and_resumed_when_it_is_sent() -> None:
    async def test() -> None:
        ours, peer = connected(room=4096)
        _, writer = await open_revocable(sock=ours, queue=1 << 20)
        transport = writer.transport
        assert transport.get_write_buffer_limits() == (1 << 18, 1 << 20)
        writer.write(bytes(MUCH))
        assert transport.get_write_buffer_size() > 1 << 20
        drained = asyncio.ensure_future(writer.drain())
        await asyncio.sleep(0)
        assert not drained.done()
        reading = asyncio.ensure_future(_rest(peer))
        await drained
        assert transport.get_write_buffer_size() <= 1 << 18
        writer.close()
        await writer.wait_closed()
        assert len(await reading) == MUCH

    run(test)


def test_a_yank_resumes_a_paused_writer() -> None:
    async def test() -> None:
        ours, peer = connected(room=4096)
        _, writer = await open_revocable(sock=ours, queue=1 << 20)
        transport: Any = writer.transport
        writer.write(bytes(MUCH))
        drained = asyncio.ensure_future(writer.drain())
        await asyncio.sleep(0)
        transport.yank(MUCH)
        await drained
        transport.abort()
        peer.close()

    run(test)


class Noted(asyncio.Protocol):
    """Notes what it is told."""

    def __init__(self, keep_open: bool = False) -> None:
        self.told: list[Any] = []
        self.keep_open = keep_open
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        self.told.append(data)

    def eof_received(self) -> bool:
        self.told.append("eof")
        return self.keep_open

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set_result(error)


def test_a_protocol_is_told_as_asyncio_tells() -> None:
    async def test() -> None:
        ours, peer = connected()
        protocol = Noted()
        transport = RevocableTransport(asyncio.get_running_loop(), ours, protocol)
        peer.sendall(b"data")
        peer.shutdown(socket.SHUT_WR)
        assert await protocol.lost is None
        assert protocol.told == ["made", b"data", "eof"]
        assert transport.is_closing() and transport.get_protocol() is protocol
        transport.write(b"after the end, as asyncio: nothing")
        assert await asyncio.to_thread(peer.recv, 10) == b""
        peer.close()

    run(test)


def test_a_half_closed_connection_goes_on_where_the_protocol_says_so() -> None:
    async def test() -> None:
        ours, peer = connected()
        protocol = Noted(keep_open=True)
        transport = RevocableTransport(asyncio.get_running_loop(), ours, protocol)
        peer.shutdown(socket.SHUT_WR)
        while protocol.told != ["made", "eof"]:
            await asyncio.sleep(0.001)
        transport.write(b"still here")
        transport.write_eof()
        with pytest.raises(RuntimeError, match="write_eof"):
            transport.write(b"x")
        assert await _rest(peer) == b"still here"
        transport.close()
        assert await protocol.lost is None

    run(test)


def test_a_reset_is_told_with_its_reason() -> None:
    async def test() -> None:
        ours, peer = connected(room=4096)
        protocol = Noted()
        transport = RevocableTransport(asyncio.get_running_loop(), ours, protocol)
        transport.write(bytes(MUCH))
        transport.pause_reading()
        assert not transport.is_reading()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        # Nobody is paused, so nobody is told until something is written.
        while not transport.is_closing():
            transport.write(b"more")
            await asyncio.sleep(0.001)
        assert isinstance(await protocol.lost, ConnectionResetError)

    run(test)


def test_reading_is_paused_and_resumed() -> None:
    async def test() -> None:
        ours, peer = connected()
        protocol = Noted()
        transport = RevocableTransport(asyncio.get_running_loop(), ours, protocol)
        transport.pause_reading()
        peer.sendall(b"later")
        await asyncio.sleep(0.02)
        assert protocol.told == ["made"]
        transport.resume_reading()
        while protocol.told != ["made", b"later"]:
            await asyncio.sleep(0.001)
        transport.abort()
        assert await protocol.lost is None
        peer.close()

    run(test)


def test_a_name_that_nobody_answers_for_and_a_mistake_are_told() -> None:
    async def test() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            await open_revocable("127.0.0.1", port)
        with pytest.raises(UsageError, match="sock="):
            await open_revocable()

    run(test)
