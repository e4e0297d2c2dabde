"""The client of `generated.py`: mixed exchanges through module gzip, each body compared with its seed's."""

from __future__ import annotations

import asyncio
import hashlib
import random
import zlib
from collections import Counter
from pathlib import Path

from tests.http.generated import answer_of
from tests.http.scripted import GENERATED
from tests.lib.users import ordinary
from tests.servers.base import running


class Reader:
    """Responses, one after the other."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.reader = reader

    async def next(self, method: str) -> tuple[dict[str, str], bytes]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]
        fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in head)}
        if method == "HEAD":
            return fields, b""
        if fields.get("transfer-encoding") == "chunked":
            body = b""
            while count := int(await self.reader.readline(), 16):
                body += (await self.reader.readexactly(count + 2))[:-2]
            assert await self.reader.readline() == b"\r\n"
            return fields, body
        if "content-length" in fields:
            return fields, await self.reader.readexactly(int(fields["content-length"]))
        return fields, await self.reader.read()


async def _connection(port: int, seeds: list[int], chance: random.Random, counts: Counter[str]) -> None:
    """Asks for these on one connection, as far as they let it live, pipelined now and then."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    asked = []
    for seed in seeds:
        method = chance.choice(("GET", "GET", "GET", "HEAD"))
        accept = chance.choice(("Accept-Encoding: gzip\r\n", "Accept-Encoding: br;q=0.5, gzip\r\n", ""))
        asked.append((seed, method, f"{method} /{seed} HTTP/1.1\r\nHost: a\r\n{accept}\r\n".encode()))
    is_pipelined = chance.random() < 0.3
    if is_pipelined:
        writer.write(b"".join(request for _, _, request in asked))
    responses = Reader(reader)
    for seed, method, request in asked:
        if not is_pipelined:
            writer.write(request)
        fields, body = await responses.next(method)
        answer = answer_of(seed)
        ours = fields.get("content-encoding") == "gzip" and not answer.coded
        if method == "GET":
            found = zlib.decompress(body, 31) if ours else body
            assert hashlib.sha256(found).digest() == hashlib.sha256(answer.body).digest(), seed
        # The validator is weak exactly where the body is ours.
        assert fields["etag"] == (f'W/"{seed}"' if ours else f'"{seed}"'), seed
        counts["compressed" if ours else "as it was"] += 1
        counts[answer.framing] += 1
        if answer.framing == "close":
            break
    writer.close()


async def _all(port: int, exchanges: int, seed: int, counts: Counter[str]) -> None:
    chance = random.Random(seed)
    numbers = iter(range(1 << 62))

    async def one_after_the_other(mine: random.Random) -> None:
        while counts["compressed"] + counts["as it was"] < exchanges:
            await _connection(port, [next(numbers) for _ in range(mine.randint(1, 12))], mine, counts)

    await asyncio.gather(*(one_after_the_other(random.Random(chance.random())) for _ in range(24)))


def run(exchanges: int, www: Path, seed: int = 1) -> Counter[str]:
    """So many exchanges; how many of each kind there were."""
    counts: Counter[str] = Counter()
    with running(GENERATED, ordinary(), "gzip", www) as up:
        asyncio.run(_all(up.place.port, exchanges, seed, counts))
    return counts
