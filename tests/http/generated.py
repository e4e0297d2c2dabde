"""A server whose responses follow from their path, in every form of framing: `python generated.py PORT`.

/SEED: the seed chooses type, length and framing; `body_of` is what client and server agree on.
"""

from __future__ import annotations

import asyncio
import random
import sys
import zlib
from typing import NamedTuple

TYPES = ("text/html", "application/json", "image/png", "text/event-stream", "application/octet-stream")
WORDS = b"the quick brown fox jumps over a lazy dog and some more of it 0123456789 ".split()


class Answer(NamedTuple):
    """What a seed stands for."""

    type: str
    framing: str
    coded: bool
    body: bytes


def answer_of(seed: int) -> Answer:
    """The same for everybody."""
    chance = random.Random(seed)
    framing = chance.choice(("length", "length", "chunks", "chunks", "close"))
    length = chance.choice((0, 10, 900, 1100, 20_000, 20_000, 200_000))
    if chance.random() < 0.2:
        body = chance.randbytes(length)
    else:
        body = b" ".join(chance.choices(WORDS, k=length // 5))
    coded = chance.random() < 0.1
    return Answer(chance.choice(TYPES), framing, coded, zlib.compress(body, 1, 31) if coded else body)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, until it ends."""
    try:
        while line := await reader.readline():
            method, path, _ = line.decode().split(" ", 2)
            while (await reader.readline()).strip():
                pass
            seed = int(path[1:])
            answer = answer_of(seed)
            head = f'HTTP/1.1 200 OK\r\nContent-Type: {answer.type}\r\nETag: "{seed}"\r\n'
            if answer.coded:
                head += "Content-Encoding: gzip\r\n"
            head += {
                "length": f"Content-Length: {len(answer.body)}\r\n",
                "chunks": "Transfer-Encoding: chunked\r\n",
                "close": "Connection: close\r\n",
            }[answer.framing]
            writer.write(head.encode() + b"\r\n")
            if method != "HEAD":
                await send(writer, answer, random.Random(seed))
            await writer.drain()
            if answer.framing == "close":
                break
    except ConnectionError:
        pass
    finally:
        writer.close()


async def send(writer: asyncio.StreamWriter, answer: Answer, chance: random.Random) -> None:
    """The body, in pieces."""
    rest = answer.body
    while rest:
        count = chance.randint(1, max(2, len(answer.body)))
        piece, rest = rest[:count], rest[count:]
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if answer.framing == "chunks" else piece)
        await writer.drain()
    if answer.framing == "chunks":
        writer.write(b"0\r\n\r\n")


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
