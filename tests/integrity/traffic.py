"""Traffic in the background while something is killed: who opened when, and how each connection ended.

Rules: times are `time.monotonic()`. Every connection has a deadline, so that a hang becomes an outcome; well
before it what there is to see is printed, once. What is allowed depends on when a connection was opened,
which the test decides.
"""

import asyncio
import contextlib
import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from tests.integrity.client.load import outcome_of
from tests.integrity.client.scenarios import Run, Target
from tests.integrity.raw import mixed
from tests.lib.place import Place
from tests.lib.scene import scene
from tests.servers.base import Traits

# Mostly whole requests, some that last (a slow reader), so that a kill finds flows in every state.
MIX = ("close", "close", "keep_alive", "paused", "slow")
# Open for so long, a connection hangs: a third of the deadlines.
LONG = 20.0


@dataclass(frozen=True)
class Ended:
    """One connection: when it began, its outcome, and what would repeat it."""

    opened: float
    outcome: str
    what: str = ""


@dataclass
class Traffic:
    """Connections so far."""

    target: Target
    ended: list[Ended] = field(default_factory=list)
    stopped: bool = False
    # When each client's present connection was opened.
    since: dict[int, float] = field(default_factory=dict)
    # What there was to see when one had been open for too long.
    seen: str = ""

    async def client(self, number: int) -> None:
        draw = random.Random(number)
        while not self.stopped:
            self.opens(number)
            run, name = Run(self.target, number, len(self.ended)), draw.choice(MIX)
            outcome = await outcome_of(run, name)
            self.ends(number, outcome, f"{name}, seed {number}, number {run.number}")

    def opens(self, client: int) -> None:
        self.since[client] = time.monotonic()

    def ends(self, client: int, outcome: str, what: str) -> None:
        opened = self.since.pop(client)
        after = time.monotonic() - opened
        self.ended.append(Ended(opened, outcome, f"{what}, ended {after:.4f} s later"))

    async def look_out(self, place: Place) -> None:
        """Waits until a connection has been open for too long, and prints what there is to see."""
        while all(time.monotonic() - since < LONG for since in self.since.values()):
            await asyncio.sleep(LONG / 20)
        self.seen = await asyncio.to_thread(scene, place)
        print(f"a connection is open for {LONG:g} s\n{self.seen}")

    async def more(self, count: int, seconds: float = 30) -> None:
        """Waits until `count` connections that were opened from now on have ended."""
        start = time.monotonic()
        while sum(e.opened >= start for e in self.ended) < count:
            if time.monotonic() > start + seconds:
                raise TimeoutError(f"fewer than {count} connections in {seconds} s: {self.counts()}")
            await asyncio.sleep(0.01)

    def counts(self) -> Counter[str]:
        return Counter(e.outcome for e in self.ended)

    def failed(self, first: float, last: float = float("inf")) -> list[Ended]:
        """Connections opened in [first, last) that did not end well."""
        return [e for e in self.ended if first <= e.opened < last and e.outcome != "ok"]

    def worse_than_cut(self) -> list[Ended]:
        """Connections with an end that not even a kill explains: hangs, wrong bytes, refused connects."""
        return [e for e in self.ended if e.outcome not in ("ok", "short", "reset")]


@dataclass
class Patterns(Traffic):
    """The same to the mixed server: every flow has a pattern and a way of its own."""

    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def client(self, number: int) -> None:
        while not self.stopped:
            self.opens(number)
            outcome, what = await mixed.outcome(self.target.port, next(self.numbers))
            self.ends(number, outcome, what)
            if outcome == "refused":
                # Nobody listens at the moment; other tasks have to find out when somebody does.
                await asyncio.sleep(0.01)


def traffic(place: Place, tree, clients: int = 24) -> contextlib.AbstractAsyncContextManager[Traffic]:
    """Clients of an HTTP server that make connections one after the other until the block ends."""
    return flowing_in(Traffic(Target("127.0.0.1", place.port, tree, Traits())), place, clients)


def patterns(place: Place, numbers: Iterator[int], clients: int = 24):
    """Clients of the mixed server, who take their flows' numbers from `numbers`."""
    target = Target("127.0.0.1", place.port, None, Traits())
    return flowing_in(Patterns(target, numbers=numbers), place, clients)


@contextlib.asynccontextmanager
async def flowing_in(flowing: Traffic, place: Place, clients: int) -> AsyncIterator[Traffic]:
    looking = asyncio.create_task(flowing.look_out(place))
    tasks = [asyncio.create_task(flowing.client(n)) for n in range(clients)]
    try:
        yield flowing
    finally:
        flowing.stopped = True
        await asyncio.gather(*tasks)
        looking.cancel()
