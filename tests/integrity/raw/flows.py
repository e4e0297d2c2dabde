"""The client of the raw servers: one coroutine per order of ends, each checking both sides' view.

Rules: every byte is compared with the pattern of its flow and offset; what `peer.c` saw is asked
afterwards. A client sees a reset as a reset. The server may see a client's reset as a reset or as the end,
but always sees it.
"""

import asyncio
import random
import struct
from array import array
from collections import Counter
from dataclasses import dataclass

from tests.integrity.client.connection import Connection, Wrong

HEADER = struct.Struct("<4Q")
SEEN = struct.Struct("<5Q")
ALL_ONES = 2**64 - 1
LARGEST = 600_000


def pattern(flow: int, length: int) -> bytes:
    """Records of two words, the flow and the record's number, as in peer.c."""
    records = length // 16 + 1
    words = array("Q", [flow]) * (2 * records)
    words[1::2] = array("Q", range(records))
    return words.tobytes()[:length]


@dataclass
class Flow:
    """One connection to peer.c and what is expected of it."""

    port: int
    flow: int
    draw: random.Random
    out: int = 0
    sent: int = 0

    async def open(self, mode: str, out: int, read: int = 0) -> Connection:
        self.out = out
        connection = await Connection.open("127.0.0.1", self.port)
        await connection.send(HEADER.pack(ord(mode), self.flow, out, read))
        return connection

    async def send(self, c: Connection, length: int) -> None:
        """Sends our pattern in uneven pieces with pauses."""
        data = pattern(self.flow ^ ALL_ONES, length)
        while self.sent < length:
            end = min(
                length, self.sent + self.draw.choice((1, 100, 5000, 100_000)) + self.draw.randint(0, 99)
            )
            await c.send(data[self.sent : end])
            self.sent = end
            if self.draw.random() < 0.1:
                await asyncio.sleep(self.draw.random() * 0.01)

    async def receive(self, c: Connection) -> int:
        """Reads to the end of the stream; any error of it passes. Returns the bytes, all correct."""
        data, offset = pattern(self.flow, self.out), 0
        while piece := await c.reader.read(65536):
            if not data.startswith(piece, offset):
                raise Wrong(f"flow {self.flow}: other bytes in {offset}+{len(piece)}")
            offset += len(piece)
            if self.draw.random() < 0.05:
                await asyncio.sleep(self.draw.random() * 0.01)
        return offset

    async def seen(self) -> tuple[int, int, int, int]:
        """What the server saw: bytes received, wrong ones, errno of reading and of writing; waits until it
        is done."""
        for _ in range(1000):
            c = await Connection.open("127.0.0.1", self.port)
            await c.send(HEADER.pack(ord("S"), self.flow, 0, 0))
            received, wrong, reading, writing, done = SEEN.unpack(await c.reader.readexactly(SEEN.size))
            c.close()
            if done:
                return received, wrong, reading, writing
            await asyncio.sleep(0.01)
        raise Wrong(f"flow {self.flow}: the server still waits")


def size(draw: random.Random) -> int:
    return draw.choice(
        (0, 1, draw.randint(2, 2000), draw.randint(2001, 60_000), draw.randint(60_001, LARGEST))
    )


async def expect_all(f: Flow, received: int, length: int) -> None:
    """Everything arrived on both sides, and neither saw an error."""
    seen = await f.seen()
    if received != f.out or seen != (length, 0, 0, 0):
        raise Wrong(f"flow {f.flow}: received {received} of {f.out}; sent {length}, the server saw {seen}")


async def both_at_once(f: Flow) -> None:
    c, length = await f.open("D", size(f.draw)), size(f.draw)

    async def sending() -> None:
        await f.send(c, length)
        c.end_sending()

    _, received = await asyncio.gather(sending(), f.receive(c))
    await expect_all(f, received, length)
    c.close()


async def server_ends_first(f: Flow) -> None:
    c, length = await f.open("H", size(f.draw)), size(f.draw)
    received = await f.receive(c)
    await f.send(c, length)
    c.end_sending()
    await expect_all(f, received, length)
    c.close()


async def client_ends_first(f: Flow) -> None:
    c, length = await f.open("h", size(f.draw)), size(f.draw)
    await f.send(c, length)
    c.end_sending()
    await expect_all(f, await f.receive(c), length)
    c.close()


async def must_be_reset(f: Flow, mode: str, out: int, read: int, length: int) -> None:
    c = await f.open(mode, out, read)
    try:
        await f.send(c, length)
        received = await f.receive(c)
    except ConnectionError:
        c.close()
    else:
        raise Wrong(f"flow {f.flow}, mode {mode}: a clean end after {received} of {out} instead of a reset")
    received, wrong, *_ = await f.seen()
    if wrong or received > length:
        raise Wrong(f"flow {f.flow}: the server saw {wrong} wrong bytes of {received}")


async def server_reads_and_resets(f: Flow) -> None:
    read = size(f.draw)
    await must_be_reset(f, "R", 0, read, read + f.draw.randint(0, 50_000))


async def server_sends_and_resets(f: Flow) -> None:
    await must_be_reset(f, "r", size(f.draw), 0, 0)


async def server_leaves_input_unread(f: Flow) -> None:
    await must_be_reset(f, "U", 0, 0, f.draw.randint(1, 50_000))


async def client_resets(f: Flow) -> None:
    """While sending, while receiving, or idle. The server must notice, by an error or the end of its
    input."""
    c, length = await f.open(f.draw.choice("DW"), f.draw.randint(0, LARGEST)), size(f.draw)
    await f.send(c, length)
    if f.draw.random() < 0.5:
        await asyncio.sleep(f.draw.random() * 0.02)
    c.reset()
    received, wrong, *_ = await f.seen()
    if wrong or received > length:
        raise Wrong(f"flow {f.flow}: the server saw {wrong} wrong bytes of {received}, {length} were sent")


ORDERS = (
    both_at_once,
    both_at_once,
    server_ends_first,
    client_ends_first,
    server_reads_and_resets,
    server_sends_and_resets,
    server_leaves_input_unread,
    client_resets,
)


async def load(port: int, flows: int, concurrency: int, seed: int, orders=ORDERS) -> Counter[str]:
    """Runs flows of every order; any deviation raises."""
    counts: Counter[str] = Counter()
    numbers = iter(range(1, flows + 1))

    async def worker() -> None:
        for number in numbers:
            f = Flow(port, number, random.Random(seed * 1_000_003 + number))
            order = f.draw.choice(orders)
            try:
                await asyncio.wait_for(order(f), 60)
            except Exception as error:
                error.add_note(f"{order.__name__}, flow {number}, seed {seed}")
                raise
            counts[order.__name__] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(worker())
    return counts


async def echo(f: Flow) -> None:
    """Against an echo server: our own pattern back, while it is still being sent."""
    length = size(f.draw)
    c, data, offset = await Connection.open("127.0.0.1", f.port), pattern(f.flow ^ ALL_ONES, length), 0

    async def sending() -> None:
        await f.send(c, length)
        c.end_sending()

    task = asyncio.create_task(sending())
    while piece := await c.reader.read(65536):
        if not data.startswith(piece, offset):
            raise Wrong(f"flow {f.flow}: other bytes in {offset}+{len(piece)}")
        offset += len(piece)
    await task
    c.close()
    if offset != length:
        raise Wrong(f"flow {f.flow}: {offset} of {length} bytes came back")
