"""kill -9 at random moments, round after round in one registry: of a module, of a worker, of the master of a
server whose flows carry patterns of their own.

Rules: modules are started by themselves, so that they outlive the application and the application them.
After each round everybody who lives has let go of everything: flows, descriptors, memory of pools; what was
read was right. Waits for events; a moment that is random is no wait.
"""

import asyncio
import contextlib
import itertools
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field

from tests.integrity.death import command, kill_and_wait, steals_again
from tests.integrity.raw.build import HERE, mixed_server
from tests.integrity.traffic import Traffic, patterns
from tests.lib import census
from tests.lib.place import Place
from tests.lib.process import Program, listening, parents, reap_orphans, until
from tests.lib.users import Broken, User
from tests.lib.variants import VARIANTS, module_names
from tests.servers.base import Running, start

SERVER = mixed_server("prefork")
CORES = os.cpu_count() or 1
CLIENTS = 24
# What a process has open at rest: its own, and what each other process is worth. A client has for each core a
# connection and a bell; a module has these from each client and, for it, towards the next module; besides,
# idle pairs, which the flows of a worker, one after the other, leave for some seconds. What dead processes
# leave open adds up to more than this within a few dozen rounds.
IN_CLIENT = 24 + 4 * CORES
IN_MODULE = 30
PER_CLIENT = 4 * CORES + 12


@dataclass
class Ground:
    """Modules and an application that are up, and what has been seen of them."""

    place: Place
    variant: str
    draw: random.Random
    up: Running
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    killed: Counter[str] = field(default_factory=Counter)

    def traffic(self) -> contextlib.AbstractAsyncContextManager[Traffic]:
        return patterns(self.place, self.numbers, CLIENTS)

    def children(self) -> list[int]:
        """The master's own: workers, and the process that is passed connections."""
        return [pid for pid, (parent, state) in parents().items() if parent == self.up.pid and state != "Z"]

    def check_words(self) -> None:
        """The server finds wrong bytes too, and says so."""
        said = [line for path in self.place.logs.iterdir() for line in path.read_text().splitlines()]
        wrong = [line for line in said if line.startswith("wrong")]
        assert not wrong, wrong[:5]

    async def moment(self, flowing: Traffic) -> None:
        """Traffic flows; then a moment that nobody can foresee."""
        await flowing.more(CLIENTS)
        await asyncio.sleep(self.draw.random() * 0.1)


@contextlib.contextmanager
def ground(user: User, variant: str, seed: int) -> Iterator[Ground]:
    """Modules and application for a number of rounds; nothing is left of them afterwards."""
    place = Place(user)
    before = census.take(place)
    try:
        for module in VARIANTS[variant]:
            command(place, "module", "start", module)
        stand = Ground(place, variant, random.Random(seed), start(SERVER, place, variant, HERE))
        yield stand
        stand.up.program.stop()
        command(place, "module", "stop", "--all")
        census.wait_same(place, before)
    finally:
        census.sweep(before)
        Program.running[:] = [p for p in Program.running if p.place is not place]
        reap_orphans()
        place.remove()


async def module(stand: Ground) -> None:
    """A module dies and comes back: what was in it is cut, what comes after its death is not."""
    name, spec = stand.draw.choice(
        list(zip(module_names(stand.variant), VARIANTS[stand.variant], strict=True))
    )
    async with stand.traffic() as flowing:
        await stand.moment(flowing)
        death = await asyncio.to_thread(kill_and_wait, stand.up.modules()[name])
        await flowing.more(2 * CLIENTS)
        await asyncio.to_thread(command, stand.place, "module", "start", spec)
        stolen = stand.up.stolen()
        await asyncio.to_thread(steals_again, stand.up, stolen)
        await asyncio.to_thread(until, lambda: census.flows(stand.place, name) > 0, 20, f"flows in {name}")
        await flowing.more(2 * CLIENTS)
    assert not flowing.worse_than_cut(), flowing.worse_than_cut()[:5]
    assert not flowing.failed(death), f"opened after the death of {name}: {flowing.failed(death)[:5]}"


async def worker(stand: Ground) -> None:
    """One of the application's processes dies; its modules and the other processes live on."""
    modules = stand.up.modules()
    async with stand.traffic() as flowing:
        await stand.moment(flowing)
        death = await asyncio.to_thread(kill_and_wait, stand.draw.choice(stand.children()))
        await flowing.more(4 * CLIENTS)
    assert not flowing.worse_than_cut(), flowing.worse_than_cut()[:5]
    assert not flowing.failed(death), f"opened after the worker's death: {flowing.failed(death)[:5]}"
    assert stand.up.modules() == modules


async def master(stand: Ground) -> None:
    """The whole application dies, and is started again; its modules live on."""
    modules, dying = stand.up.modules(), [stand.up.pid, *stand.children()]
    async with stand.traffic() as flowing:
        await stand.moment(flowing)
        await asyncio.to_thread(kill_and_wait, stand.up.pid)
        # The kernel kills the workers with their master.
        await asyncio.to_thread(until, lambda: not any(map(living, dying)), 20, "the workers' end")
        await asyncio.to_thread(until, lambda: not listening(stand.place.port), 20, "the listener's end")
        stand.check_words()
        stand.up.program.process.wait()
        Program.running.remove(stand.up.program)
        stand.up = await asyncio.to_thread(start, SERVER, stand.place, stand.variant, HERE)
        again = time.monotonic()
        await flowing.more(2 * CLIENTS)
    worse = [e for e in flowing.worse_than_cut() if e.outcome != "refused"]
    assert not worse, worse[:5]
    assert not flowing.failed(again), f"opened after the new start: {flowing.failed(again)[:5]}"
    assert stand.up.modules() == modules


def living(pid: int) -> bool:
    return parents().get(pid, (0, "Z"))[1] != "Z"


def held(stand: Ground) -> list[str]:
    """What somebody who lives has and should not have, at rest."""
    found = []
    modules = stand.up.modules()
    for name in modules:
        if flows := census.flows(stand.place, name):
            found.append(f"{name} has {flows} flows")
    clients = len(stand.children()) + 1
    everybody = {stand.up.pid: "master", **dict.fromkeys(stand.children(), "worker")}
    everybody |= {pid: name for name, pid in modules.items()}
    for pid, name in everybody.items():
        # A module shares memory with each living client and core, and with the next module as often.
        most = 2 * CORES * (clients + 1) if name in modules else 2 * CORES * len(modules)
        if max(census.pools(pid)) > most:
            found.append(f"{name} {pid}: {census.pools(pid)} fds and mappings of pools, at most {most}")
        most = IN_MODULE + PER_CLIENT * clients if name in modules else IN_CLIENT
        if (now := census.descriptors(pid)) > most:
            found.append(f"{name} {pid}: {now} descriptors, at most {most}")
    return found


def rest(stand: Ground) -> None:
    """Everybody lets go, soon."""
    try:
        until(lambda: not held(stand), 20, "everybody to let go")
    except Broken as error:
        raise Broken(f"{error}: {held(stand)}") from None


Victim = Callable[[Ground], Coroutine[None, None, None]]
VICTIMS: dict[str, tuple[Victim, ...]] = {
    # Where one kind dies again and again the others live long, and what they do not let go of adds up.
    "module": (module,),
    "worker": (worker,),
    "master": (master,),
    "any": (module, worker, worker, master),
}


def rounds(
    user: User, variant: str, victims: str, count: int, seed: int, say: Callable[[str], None] = print
) -> None:
    """`count` rounds, each with one of `victims`: all of them by turns, then by chance."""
    choices = VICTIMS[victims]
    with ground(user, variant, seed) as stand:
        for number in range(count):
            victim = choices[number] if number < len(choices) else stand.draw.choice(choices)
            try:
                asyncio.run(victim(stand))
                rest(stand)
                stand.check_words()
            except BaseException as error:
                error.add_note(f"round {number} ({victim.__name__}), seed {seed}\n{stand.place.logged()}")
                raise
            stand.killed[victim.__name__] += 1
            reap_orphans()
            say(f"{variant}, round {number + 1}: {dict(stand.killed)}")
