"""What one connection does. Each scenario is a coroutine; SCENARIOS gives its share and how it may end.

Rules: randomness comes from the connection's own generator, so that a seed and a number repeat a
connection. A scenario returns `ok` or `gone`; other ends are exceptions that `load` names. It must not
decide what is allowed: that is the table's, and the server's traits'.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.integrity.client.connection import Connection, Wrong
from tests.integrity.client.tree import Blob, Tree
from tests.servers.base import Traits


@dataclass(frozen=True)
class Target:
    """The server under load."""

    host: str
    port: int
    tree: Tree
    traits: Traits


class Run:
    """One connection's luck: its number, generator and target."""

    def __init__(self, target: Target, seed: int, number: int) -> None:
        self.target, self.number = target, number
        self.draw = random.Random(seed * 1_000_003 + number)
        self.connection: Connection | None = None

    async def open(self, receive_buffer: int = 0) -> Connection:
        self.connection = await Connection.open(self.target.host, self.target.port, receive_buffer)
        return self.connection

    def pick(self, smallest: int = 0, largest: int = 8_000_000) -> Blob:
        return self.target.tree.pick(self.draw, smallest, largest)


def get(blob: Blob, close: bool) -> bytes:
    end = "Connection: close\r\n\r\n" if close else "\r\n"
    return f"GET /{blob.name} HTTP/1.1\r\nHost: test\r\n{end}".encode()


async def close(run: Run) -> str:
    """One request, `Connection: close`."""
    c, blob = await run.open(), run.pick()
    await c.send(get(blob, True))
    await c.response(blob)
    await c.end()
    return "ok"


async def keep_alive(run: Run) -> str:
    """Several requests; the server or the client closes."""
    c, count, server_ends = await run.open(), run.draw.randint(2, 6), run.draw.random() < 0.6
    for i in range(count):
        blob = run.pick()
        await c.send(get(blob, server_ends and i == count - 1))
        await c.response(blob)
    if server_ends:
        await c.end()
    return "ok"


async def pipelined(run: Run) -> str:
    """Requests in one write, answers in order."""
    c, blobs = await run.open(), [run.pick(0, 70_000) for _ in range(run.draw.randint(2, 12))]
    await c.send(b"".join(get(blob, i == len(blobs) - 1) for i, blob in enumerate(blobs)))
    for blob in blobs:
        await c.response(blob)
    await c.end()
    return "ok"


async def unread(run: Run) -> str:
    """Requests behind one that says close: the server ends with input unread, which may reset."""
    c, blob = await run.open(), run.pick(0, 10_000)
    await c.send(get(blob, True) + get(run.pick(), False) * run.draw.randint(1, 40))
    await c.response(blob)
    await c.end()
    return "ok"


async def paused(run: Run) -> str:
    """A request in pieces, an answer read in pieces, rests between requests."""
    c = await run.open()
    for last in (False, True):
        blob = run.pick(0, 300_000)
        request = get(blob, last)
        cut = run.draw.randint(1, len(request) - 1)
        await c.send(request[:cut])
        await asyncio.sleep(run.draw.random() * 0.05)
        await c.send(request[cut:])
        await c.response(blob, (run.draw, 0.02))
        await asyncio.sleep(run.draw.random() * 0.05)
    await c.end()
    return "ok"


async def half_closed(run: Run) -> str:
    """The client ends its direction right after the request."""
    c, blob = await run.open(), run.pick()
    await c.send(get(blob, run.draw.random() < 0.5))
    c.end_sending()
    await c.response(blob)
    await c.end()
    return "ok"


async def slow(run: Run) -> str:
    """A small receive buffer and a reader that dawdles: the server is stopped by back-pressure."""
    c, blob = await run.open(receive_buffer=4096), run.pick(70_001, 1_000_000)
    await c.send(get(blob, True))
    await c.response(blob, (run.draw, 0.05))
    await c.end()
    return "ok"


async def upload(run: Run) -> str:
    """A body to the server, in pieces, and its hash or itself back."""
    traits, c, blob = run.target.traits, await run.open(), run.pick()
    if traits.upload == "put":
        name = Blob(f"uploads/{run.number}", blob.data)
        await send_body(run, c, f"PUT /{name.name}", blob)
        await c.response(Blob("", b""))
        await c.send(get(name, True))
        await c.response(name)
        await c.end()
        return "ok"
    how = run.draw.choice(("hash", "echo"))
    path = f"{traits.scripts}/{how}{traits.suffix}"
    expected = blob if how == "echo" else Blob("digest", blob.digest.hex().encode())
    # An echo comes back while the body is still being sent: both directions at once.
    sending = asyncio.create_task(send_body(run, c, f"POST {path}", blob))
    try:
        await c.response(expected)
        await sending
    finally:
        sending.cancel()
    return "ok"


async def send_body(run: Run, c: Connection, request: str, blob: Blob) -> None:
    head = (
        f"{request} HTTP/1.1\r\nHost: test\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Length: {len(blob.data)}\r\n\r\n"
    ).encode()
    cut = run.draw.randint(0, len(blob.data))
    await c.send(head + blob.data[:cut])
    if run.draw.random() < 0.3:
        await asyncio.sleep(run.draw.random() * 0.02)
    await c.send(blob.data[cut:])


async def reset_early(run: Run) -> str:
    """Gone before, in the middle of, or right after the request."""
    c, request = await run.open(), get(run.pick(), run.draw.random() < 0.5)
    await c.send(request[: run.draw.choice((0, run.draw.randint(1, len(request) - 1), len(request)))])
    await asyncio.sleep(run.draw.choice((0, run.draw.random() * 0.01)))
    if run.draw.random() < 0.7:
        c.reset()
    return "gone"


async def reset_in_body(run: Run) -> str:
    """A reset in the middle of an answer."""
    c, blob = await run.open(), run.pick(10_001)
    await c.send(get(blob, run.draw.random() < 0.5))
    await c.beginning(blob, run.draw.randint(1, 60_000))
    c.reset()
    return "gone"


async def reset_in_upload(run: Run) -> str:
    """A reset in the middle of a body to the server."""
    traits, c, blob = run.target.traits, await run.open(), run.pick(10_001)
    path = (
        f"PUT /uploads/{run.number}"
        if traits.upload == "put"
        else f"POST {traits.scripts}/hash{traits.suffix}"
    )
    head = f"{path} HTTP/1.1\r\nHost: test\r\nContent-Length: {len(blob.data)}\r\n\r\n".encode()
    await c.send(head + blob.data[: run.draw.randint(0, len(blob.data) - 1)])
    c.reset()
    return "gone"


async def server_resets(run: Run) -> str:
    """The server resets in the middle of its answer."""
    c = await run.open()
    await c.send(f"GET {run.target.traits.reset} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
    await c.response(Blob("zeros", bytes(1 << 20)))
    raise Wrong("a whole answer where the server resets")


@dataclass(frozen=True)
class Scenario:
    """A share of the connections, and the outcomes that a client may see natively."""

    run: Callable[[Run], Awaitable[str]]
    share: float
    allowed: frozenset[str]
    needs: str = ""

    def permitted(self, traits: Traits) -> frozenset[str]:
        special = {half_closed: traits.half_close, unread: traits.unread}
        return special.get(self.run, self.allowed)


OK = frozenset({"ok"})
SCENARIOS: dict[str, Scenario] = {
    s.run.__name__: s
    for s in (
        Scenario(close, 0.24, OK),
        Scenario(keep_alive, 0.18, OK),
        Scenario(pipelined, 0.08, OK),
        Scenario(unread, 0.04, OK),
        Scenario(paused, 0.05, OK),
        Scenario(half_closed, 0.08, OK),
        Scenario(slow, 0.03, OK),
        Scenario(upload, 0.12, OK, "upload"),
        Scenario(reset_early, 0.08, frozenset({"gone"})),
        Scenario(reset_in_body, 0.06, frozenset({"gone"})),
        Scenario(reset_in_upload, 0.02, frozenset({"gone", "reset"}), "upload"),
        Scenario(server_resets, 0.02, frozenset({"reset"}), "reset"),
    )
}
