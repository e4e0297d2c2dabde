"""A redis client that writes, reads back and compares values of 0 B to 8 MB over many connections.

Rules: keys belong to one connection, so that an answer meant for another shows. Written on sockets, with no
client library, to choose how a connection ends.
"""

import asyncio
import random
from collections import Counter

from tests.integrity.client.connection import Connection, Wrong
from tests.integrity.client.tree import Blob, Tree


def command(*parts: bytes) -> bytes:
    """A command in redis' protocol."""
    return b"".join([b"*%d\r\n" % len(parts), *(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)])


async def bulk(c: Connection, expected: Blob) -> None:
    """Reads one bulk string and compares it."""
    head = await c.reader.readuntil(b"\r\n")
    if head[:1] != b"$":
        raise Wrong(f"{expected.name}: answered {head[:60]!r}")
    await c.body(int(head[1:]), expected)
    await c.reader.readexactly(2)


async def line(c: Connection, expected: bytes) -> None:
    answer = await c.reader.readuntil(b"\r\n")
    if answer != expected + b"\r\n":
        raise Wrong(f"{answer[:60]!r} instead of {expected!r}")


async def one(port: int, draw: random.Random, tree: Tree, number: int) -> str:
    """One connection: set and get, pipelined or not, and one of four ends."""
    c = await Connection.open("127.0.0.1", port)
    try:
        blobs = [tree.pick(draw) for _ in range(draw.randint(1, 4))]
        keys = [b"%d:%d" % (number, i) for i in range(len(blobs))]
        sets = [command(b"SET", key, blob.data, b"EX", b"60") for key, blob in zip(keys, blobs, strict=True)]
        gets = [command(b"GET", key) for key in keys]
        if draw.random() < 0.5:
            # All in one write: answers come while the values are still on their way.
            sending = asyncio.create_task(c.send(b"".join(sets + gets)))
            for _ in sets:
                await line(c, b"+OK")
            for blob in blobs:
                await bulk(c, blob)
            await sending
        else:
            for set_, get, blob in zip(sets, gets, blobs, strict=True):
                await c.send(set_)
                await line(c, b"+OK")
                await c.send(get)
                await bulk(c, blob)
        await c.send(command(b"DEL", *keys))
        await line(c, b":%d" % len(keys))
        end = draw.choice(("quit", "close", "reset", "reset in answer"))
        if end == "quit":
            await c.send(command(b"QUIT"))
            await line(c, b"+OK")
            await c.end()
        elif end == "reset":
            c.reset()
        elif end == "reset in answer":
            await c.send(command(b"ECHO", tree.pick(draw, 70_001).data))
            await c.reader.readuntil(b"\r\n")
            c.reset()
        return end
    finally:
        c.close()


async def load(port: int, tree: Tree, connections: int, concurrency: int, seed: int) -> Counter[str]:
    """Counts of the ends; any deviation raises."""
    counts: Counter[str] = Counter()
    numbers = iter(range(connections))

    async def worker() -> None:
        for number in numbers:
            draw = random.Random(seed * 1_000_003 + number)
            counts[await asyncio.wait_for(one(port, draw, tree, number), 60)] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(worker())
    return counts
