"""The client of mixed.c: every connection draws a way to live and to die, and compares what it reads.

Rules: what a flow carries, and how it may end, is known before it is opened; another byte or another end
raises. Nothing is retried. Sockets are used bare, since asyncio's streams cost more than the connection.
Client addresses take turns, so that no port has to be used twice within its TIME_WAIT.
"""

import asyncio
import contextlib
import enum
import errno
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.integrity.client.connection import RESET_ON_CLOSE, Wrong
from tests.integrity.raw.flows import ALL_ONES, pattern

HEADER = struct.Struct("<QQ3I6B6x")
COUNTS = struct.Struct("<4Q")
IP_BIND_ADDRESS_NO_PORT = 24
ADDRESSES = 200
MAY_BE_CUT, CHANGE_NONBLOCK, TIMEOUT, LEAVE_DIRTY = 1, 2, 4, 8
ENDINGS, WAITS, ANSWERS = 5, 6, 6
DEADLINE = 60
STATS = 255
# Bytes that a client's kernel takes although nobody reads them, and one that takes few.
SLOW, LARGE = 4096, 1_500_000


class Cut(Wrong):
    """An end that does not become the flow: wrong where everybody lives, to be expected of the dead."""


class End(enum.Enum):
    """How the server's direction may end, and whether all of the answer must have come before."""

    CLEAN = "all of it, then the end"
    RESET = "a beginning of it, then a reset"
    ANY = "a beginning of it, then an end or a reset"


@dataclass
class Flow:
    """One connection, its header and what has been read."""

    port: int
    number: int
    draw: random.Random
    way: int
    flags: int
    rounds: int = 1
    wanted: int = 0
    out: int = 0
    late: int = 0
    got: int = 0
    asked: int = 0
    sock: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self.wanted, self.out = size(self.draw), size(self.draw)
        self.loop = asyncio.get_running_loop()

    async def open(self, receive_buffer: int = 0) -> None:
        self.sock = sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.bind((f"127.0.1.{1 + self.number % ADDRESSES}", 0))
        await self.loop.sock_connect(sock, ("127.0.0.1", self.port))

    def header(self) -> bytes:
        magic = (self.number * 0x9E3779B97F4A7C15 ^ 0x4D6F644E6574) & ALL_ONES
        choices = (self.way, *map(self.draw.randrange, (ENDINGS, WAITS, ANSWERS)), self.rounds, self.flags)
        return HEADER.pack(magic, self.number, self.wanted, self.out, self.late, *choices)

    def ours(self, length: int) -> bytes:
        """The next bytes of our own pattern."""
        data = pattern(self.number ^ ALL_ONES, self.asked + length)[self.asked :]
        self.asked += length
        return data

    async def send(self, data: bytes) -> None:
        """In one piece mostly."""
        if len(data) > 1 and self.draw.random() < 0.2:
            cut = self.draw.randrange(1, len(data))
            await self.loop.sock_sendall(self.sock, data[:cut])
            await asyncio.sleep(self.draw.random() * 0.002)
            data = data[cut:]
        await self.loop.sock_sendall(self.sock, data)

    async def receive(self, total: int | None = None) -> bytes:
        """Reads until there are `total` bytes, or to the end; each is compared. The last piece."""
        expected = pattern(self.number, self.rounds * self.out)
        while self.got != total:
            most = 65536 if total is None else total - self.got
            piece = await self.loop.sock_recv(self.sock, most)
            if not piece and total is not None:
                raise Cut(f"the end after {self.got} of {total} bytes")
            if not expected.startswith(piece, self.got):
                raise Wrong(f"other bytes in {self.got}+{len(piece)} of {len(expected)}: {piece[:32]!r}")
            self.got += len(piece)
            if not piece:
                break
        return piece if total is None else b""

    async def end(self, allowed: End) -> None:
        """Reads to the end, which is as `allowed` says."""
        try:
            await self.receive()
        except ConnectionError as error:
            if allowed is End.CLEAN:
                raise Cut(f"{error!r} after {self.got} of {self.rounds * self.out}") from None
            return
        if allowed is End.RESET:
            raise Cut(f"a clean end after {self.got} of {self.out} bytes instead of a reset")
        if allowed is End.CLEAN and self.got != self.rounds * self.out:
            raise Cut(f"the end after {self.got} of {self.rounds * self.out} bytes")

    async def ask(self, more: int = 0) -> None:
        """The header, all requests with their answers but the last answer; `more` bytes behind the last
        request."""
        await self.send(self.header() + self.ours(self.wanted + (more if self.rounds == 1 else 0)))
        for number in range(1, self.rounds):
            await self.receive(number * self.out)
            await self.send(self.ours(self.wanted))

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.sock.close()


def size(draw: random.Random) -> int:
    kind = draw.random()
    if kind < 0.85:
        return draw.randint(0, 2000)
    return draw.randint(2001, 60_000) if kind < 0.99 else draw.randint(60_001, 400_000)


async def plain(f: Flow) -> None:
    await f.open()
    await f.ask()
    await f.end(End.CLEAN)


async def server_half(f: Flow) -> None:
    f.late = f.draw.randint(0, 5000)
    await plain(f)
    await f.send(f.ours(f.late))


async def client_half(f: Flow) -> None:
    await f.open()
    await f.ask()
    f.sock.shutdown(socket.SHUT_WR)
    await f.end(End.CLEAN)


async def linger(f: Flow) -> None:
    await f.open()
    await f.ask()
    await f.end(End.RESET)


async def unread(f: Flow) -> None:
    await f.open()
    # The last piece may find the connection reset already.
    with contextlib.suppress(ConnectionError):
        await f.ask(more=f.draw.randint(1, 5000))
        await f.end(End.RESET)


async def after_the_end(f: Flow) -> None:
    """Bytes for a server that has closed: nobody may ever read them."""
    await plain(f)
    with contextlib.suppress(ConnectionError):
        for _ in range(f.draw.randint(1, 3)):
            await f.loop.sock_sendall(f.sock, f.ours(f.draw.randint(1, 20_000)))
            await asyncio.sleep(0)


async def around_the_end(f: Flow) -> None:
    """The same, at a moment that may lie before the close, within it, or behind it."""
    await f.open()
    await f.ask()
    with contextlib.suppress(ConnectionError):
        for _ in range(f.draw.randint(1, 3)):
            await asyncio.sleep(f.draw.choice((0, f.draw.random() * 0.003)))
            await f.loop.sock_sendall(f.sock, f.ours(f.draw.randint(1, 20_000)))
    await f.end(End.ANY)


async def client_resets(f: Flow) -> None:
    """Before its header is whole, before the request is, before the answer, within it, behind it."""
    await f.open()
    data = f.header() + f.ours(f.wanted)
    with contextlib.suppress(ConnectionError):
        await f.send(data[: f.draw.choice((0, f.draw.randrange(HEADER.size), *[len(data)] * 3))])
        if f.draw.random() < 0.5:
            await asyncio.sleep(f.draw.random() * 0.003)
        if f.draw.random() < 0.5 and f.asked and f.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
            with contextlib.suppress(BlockingIOError):
                piece = f.sock.recv(1 + f.draw.randrange(2000))
                if not pattern(f.number, f.out).startswith(piece):
                    raise Wrong(f"other bytes before our reset: {piece[:32]!r}")
    f.reset()


async def blocked_thread(f: Flow) -> None:
    """The thread that is blocked while its number is closed gets what we send, and nobody else does."""
    f.late = f.draw.randint(1, 300)
    await f.open()
    await f.ask()
    await f.receive(f.out)
    if f.draw.random() < 0.5:
        await asyncio.sleep(f.draw.random() * 0.003)
    await f.loop.sock_sendall(f.sock, f.ours(f.late))
    await f.end(End.CLEAN)


async def blocked_sendfile(f: Flow) -> None:
    f.out = LARGE
    await f.open(SLOW)
    await f.ask()
    await asyncio.sleep(f.draw.random() * 0.005)
    await f.end(End.CLEAN)


@dataclass(frozen=True)
class Way:
    """A number of mixed.h's `enum way`, the client's part in it, and how often it is drawn."""

    name: str
    number: int
    client: Callable
    share: int = 10
    # Several requests may come before the last.
    keeps: bool = True
    flags: int = 0


WAYS = (
    Way("plain", 0, plain, 60),
    Way("dup, the original goes", 1, plain),
    Way("dup, the duplicate goes", 2, plain),
    Way("dup2", 3, plain),
    Way("F_DUPFD", 4, plain),
    Way("fork, the child answers", 5, plain, 3),
    Way("fork, the parent answers", 6, plain, 3),
    Way("posix_spawn", 7, plain, 2),
    Way("posix_spawn, inherited", 8, plain, 2),
    Way("vfork and exec", 9, plain, 2),
    Way("passed to a process", 10, plain),
    Way("passed to itself", 11, plain),
    Way("half-close by the server", 12, server_half),
    Way("half-close by the client", 13, client_half),
    Way("SO_LINGER 0", 14, linger, keeps=False, flags=MAY_BE_CUT),
    Way("unread input", 15, unread, keeps=False, flags=MAY_BE_CUT),
    Way("blocked in recv", 16, blocked_thread, 5, keeps=False),
    Way("blocked in read", 17, blocked_thread, 5, keeps=False),
    Way("blocked in sendfile", 18, blocked_sendfile, 1, keeps=False),
    Way("bytes after the end", 0, after_the_end, 40),
    Way("bytes around the end", 0, around_the_end, 20, keeps=False, flags=MAY_BE_CUT),
    Way("bytes around the end of a duplicate", 1, around_the_end, keeps=False, flags=MAY_BE_CUT),
    Way("reset by the client", 0, client_resets, 20, keeps=False, flags=MAY_BE_CUT),
    Way("reset of a duplicate", 3, client_resets, 5, keeps=False, flags=MAY_BE_CUT),
    Way("reset of a child's", 5, client_resets, 1, keeps=False, flags=MAY_BE_CUT),
    Way("reset of a passed one", 10, client_resets, 5, keeps=False, flags=MAY_BE_CUT),
)


def drawn(port: int, number: int, draw: random.Random) -> tuple[Way, Flow]:
    (way,) = draw.choices(WAYS, [w.share for w in WAYS])
    flags = way.flags
    for flag, share in ((CHANGE_NONBLOCK, 0.3), (TIMEOUT, 0.2), (LEAVE_DIRTY, 0.3)):
        flags |= flag if draw.random() < share else 0
    rounds = draw.randint(2, 4) if way.keeps and draw.random() < 0.15 else 1
    return way, Flow(port, number, draw, way.number, flags, rounds)


async def load(
    port: int, numbers: range, concurrency: int = 64, say: Callable[[int], None] = lambda done: None
) -> Counter[str]:
    """Makes a connection for each of `numbers`; any deviation raises, with what repeats the draw."""
    counts: Counter[str] = Counter()
    waiting = iter(numbers)

    async def worker() -> None:
        for number in waiting:
            way, f = drawn(port, number, random.Random(number))
            try:
                async with asyncio.timeout(DEADLINE):
                    await way.client(f)
            except Exception as error:
                error.add_note(f"flow {number}: {way.name}, {f.rounds} rounds, flags {f.flags}")
                raise
            finally:
                f.sock.close()
            counts[way.name] += 1
            say(counts.total())

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(worker())
    return counts


async def outcome(port: int, number: int) -> tuple[str, str]:
    """What became of a connection of which any end may come early, since somebody is killed: in a word of
    `client.load`, and in many."""
    way, f = drawn(port, number, random.Random(number))
    f.flags |= MAY_BE_CUT
    said = f"flow {number}, {way.name}, {f.rounds} rounds, flags {f.flags}"
    try:
        async with asyncio.timeout(DEADLINE):
            await way.client(f)
        return "ok", said
    except ConnectionRefusedError:
        return "refused", said
    except Cut as error:
        return "short", f"{said}: {error}"
    except ConnectionError as error:
        return "reset", f"{said}: {error!r}"
    except TimeoutError:  # before OSError, which it is
        return "hang", f"{said}: {f.got} bytes of {f.out}"
    except OSError as error:
        # What shutdown says where the connection has been reset.
        if error.errno != errno.ENOTCONN:
            raise
        return "reset", f"{said}: {error!r}"
    except Wrong as error:
        return "wrong", f"{said}: {error}"
    finally:
        f.sock.close()


def counted(port: int, seconds: float = 20) -> tuple[int, int]:
    """What the server found wrong, and cut, once every connection but the asking one has ended."""
    magic = 0x4D6F644E6574
    deadline = time.monotonic() + seconds
    while True:
        with socket.create_connection(("127.0.0.1", port), timeout=seconds) as asking:
            asking.sendall(HEADER.pack(magic, 0, 0, 0, 0, STATS, 0, 0, 0, 1, MAY_BE_CUT))
            begun, finished, wrong, cut = COUNTS.unpack(asking.recv(COUNTS.size, socket.MSG_WAITALL))
            assert asking.recv(1) == b""
        if finished == begun - 1:
            return wrong, cut
        if time.monotonic() > deadline:
            raise Wrong(f"{begun - 1 - finished} connections still open in the server after {seconds} s")
        time.sleep(0.01)
