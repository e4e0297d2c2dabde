"""kill -9 of everything that takes part, under traffic: each function is one round on servers that are up.

Rules: a process counts as dead when the kernel says so (pidfd), not when the signal was sent; only
connections opened before that may fail. Nothing may hang, ever.
"""

import asyncio
import os
import select
import signal
import subprocess
import time

from tests.integrity.client.tree import Tree
from tests.integrity.traffic import Traffic, traffic
from tests.lib import census
from tests.lib.place import Place
from tests.lib.process import parents, until
from tests.lib.users import Broken
from tests.servers.base import Running


def kill_and_wait(pid: int) -> float:
    """SIGKILL; returns the time at which the process was dead."""
    handle = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        if not select.select([handle], [], [], 20)[0]:
            raise Broken(f"process {pid} survives SIGKILL")
        return time.monotonic()
    finally:
        os.close(handle)


def modnet(up: Running, *arguments: str) -> str:
    """Runs the `modnet` command as the server's user, in its registry."""
    return command(up.place, *arguments)


def command(place: Place, *arguments: str) -> str:
    """The same where no server is up."""
    user = place.user
    other = {} if user.is_self else {"user": user.uid, "group": user.gid, "extra_groups": [user.gid]}
    done = subprocess.run(
        place.modnet(*arguments),
        env=place.environment(),
        cwd=place.directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        **other,
    )
    if done.returncode:
        raise Broken(f"modnet {' '.join(arguments)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def steals_again(up: Running, before: int) -> None:
    until(lambda: up.stolen() > before, 20, f"{up.server.name} to steal again")


async def module(ups: list[Running], tree: Tree) -> None:
    """The module that all `ups` share dies; connections pass; started again, it gets them again."""
    ((name, pid),) = ups[0].modules().items()
    assert all(up.modules() == {name: pid} for up in ups), "the servers share one module"
    flows: list[Traffic] = []

    async def one(up: Running, died: asyncio.Future[float]) -> None:
        async with traffic(up.place, tree) as flowing:
            flows.append(flowing)
            await flowing.more(100)
            death = await died
            await flowing.more(200)
            stolen = up.stolen()
            await started.wait()
            await flowing.more(100)
            await asyncio.to_thread(steals_again, up, stolen)
        assert not flowing.worse_than_cut(), flowing.worse_than_cut()[:5]
        assert not flowing.failed(death), f"opened after the death at {death}: {flowing.failed(death)[:5]}"

    async def kill() -> None:
        while len(flows) < len(ups) or any(len(f.ended) < 100 for f in flows):
            await asyncio.sleep(0.01)
        died.set_result(await asyncio.to_thread(kill_and_wait, pid))
        while any(sum(e.opened > died.result() for e in f.ended) < 200 for f in flows):
            await asyncio.sleep(0.01)
        await asyncio.to_thread(modnet, ups[0], "module", "start", name)
        started.set()

    died: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    started = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(kill())
        for up in ups:
            group.create_task(one(up, died))


async def graceful_stop(up: Running, tree: Tree) -> None:
    """A module that is told to stop lets its flows end: not one connection notices."""
    ((name, pid),) = up.modules().items()
    async with traffic(up.place, tree) as flowing:
        await flowing.more(100)
        await asyncio.to_thread(modnet, up, "module", "stop", name, "--drain", "60")
        assert parents().get(pid, (0, "Z"))[1] == "Z", "stop returned before the module had ended"
        stolen = up.stolen()
        await flowing.more(100)
        assert up.stolen() == stolen
        await asyncio.to_thread(modnet, up, "module", "start", name)
        await flowing.more(100)
        await asyncio.to_thread(steals_again, up, stolen)
    assert set(flowing.counts()) == {"ok"}, flowing.counts()


async def link(up: Running, tree: Tree, name: str, spec: str) -> None:
    """One module of a chain dies: its neighbour passes it over; started again, it is in the chain again."""
    others = {other: pid for other, pid in up.modules().items() if other != name}
    async with traffic(up.place, tree) as flowing:
        await flowing.more(100)
        death = await asyncio.to_thread(kill_and_wait, up.modules()[name])
        await flowing.more(200)
        await asyncio.to_thread(modnet, up, "module", "start", spec)
        await asyncio.to_thread(until, lambda: census.flows(up.place, name) > 0, 20, f"flows in {name}")
        await flowing.more(100)
    assert not flowing.worse_than_cut(), flowing.worse_than_cut()[:5]
    assert not flowing.failed(death), f"opened after {death}: {flowing.failed(death)[:5]}"
    assert {other: up.modules()[other] for other in others} == others


async def worker(up: Running, tree: Tree) -> None:
    """One of the server's workers dies; its connections end, and new ones reach the others."""
    children = [pid for pid in up.family() if pid != up.pid]
    modules = up.modules()
    async with traffic(up.place, tree) as flowing:
        await flowing.more(100)
        death = await asyncio.to_thread(kill_and_wait, children[0])
        await flowing.more(200)
    assert not flowing.worse_than_cut(), flowing.worse_than_cut()[:5]
    # What was in the dead worker's hands was opened before it died; a listening socket outlives a worker.
    assert not flowing.failed(death), flowing.failed(death)[:5]
    assert up.modules() == modules


async def master(up: Running, tree: Tree) -> None:
    """The command itself dies; its workers serve on, with their module, until they are killed too."""
    children = [pid for pid in up.family() if pid != up.pid]
    modules = up.modules()
    async with traffic(up.place, tree) as flowing:
        await flowing.more(100)
        death = await asyncio.to_thread(kill_and_wait, up.pid)
        await flowing.more(200)
        assert up.modules() == modules, "the module went before its last user"
        for pid in children[:-1]:
            await asyncio.to_thread(kill_and_wait, pid)
        last_alone = time.monotonic()
        await flowing.more(100)
        # The end of the last is refused connections, so the traffic ends first.
        flowing.stopped = True
    await asyncio.to_thread(kill_and_wait, children[-1])
    assert not flowing.worse_than_cut(), flowing.worse_than_cut()[:5]
    assert not flowing.failed(last_alone), flowing.failed(last_alone)[:5]
    assert death < last_alone


async def everything_at_once(up: Running, tree: Tree) -> None:
    """Master, workers and modules die together."""
    async with traffic(up.place, tree) as flowing:
        await flowing.more(100)
        flowing.stopped = True
        for pid in [*up.family(), *up.modules().values()]:
            await asyncio.to_thread(kill_and_wait, pid)
    hung = [e for e in flowing.ended if e.outcome not in ("ok", "short", "reset", "refused")]
    assert not hung, hung[:5]
