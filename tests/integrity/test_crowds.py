"""Many flows and slow ones: a module's memory stays under its bound, and an idle flow costs it less than 2
KB.

Rules: memory is the module's resident size as /proc gives it, compared with what it was before the crowd
came. The crowd is a process of its own. A module needs two descriptors a flow; where the hard limit allows
fewer flows than asked for and may not be raised, as many as it allows are made, and a warning says so.
"""

import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lib import census
from tests.lib.process import until
from tests.lib.users import root
from tests.lib.variants import NATIVE
from tests.servers.base import Running, Server, idle, running
from tests.servers.static import NGINX_SERVER, nginx_command

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(300)]

# What one flow's send queues may hold: one per direction, as the engine's default configures them.
QUEUE = 2 * 256 * 1024
# The interpreter's own allocations between two measurements.
NOISE = 4 << 20
BOTH = [NATIVE, "forwarder"]
# What nginx, a module and the interpreter have open besides their flows, with room to spare.
OTHERS = 1000


def descriptors_to_be_had(wanted: int) -> int:
    """The hard limit of descriptors that a child can be given: `wanted`, or less where it may not be
    raised."""
    probe = subprocess.run(
        ["prlimit", f"--nofile={wanted}:{wanted}", "true"], capture_output=True, timeout=10
    )
    return wanted if probe.returncode == 0 else min(wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def flows_to_be_had(wanted: int) -> int:
    """As many flows as one module process can hold here."""
    possible = (descriptors_to_be_had(2 * wanted + OTHERS) - OTHERS) // 2
    if possible < wanted:
        warnings.warn(
            f"{possible} flows instead of {wanted}: the hard limit of descriptors is too low", stacklevel=2
        )
    return min(wanted, possible)


def crowded(flows: int) -> Server:
    return replace(
        NGINX_SERVER,
        command=lambda place, www: nginx_command(place, www, flows + OTHERS),
        descriptors=descriptors_to_be_had(2 * flows + OTHERS),
    )


@pytest.fixture(scope="module")
def zeros() -> Iterator[Path]:
    """A gigabyte and 10 KB of nothing: sparse, but every byte of it has to travel."""
    # Not below pytest's own directory, which is closed to the server's workers.
    with tempfile.TemporaryDirectory(prefix="mn-zeros-") as path:
        directory = Path(path)
        directory.chmod(0o755)
        for name, size in (("giga", 1 << 30), ("small", 10_000)):
            with (directory / name).open("wb") as file:
                file.truncate(size)
        yield directory


class Crowd:
    """A running crowd.py."""

    def __init__(self, up: Running, kind: str, count: int, path: str = "/small", rounds: int = 0) -> None:
        script = str(Path(__file__).with_name("crowd.py"))
        self.process = subprocess.Popen(
            [sys.executable, script, kind, str(up.place.port), str(count), path, str(rounds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def says(self) -> dict[str, float]:
        """The next line; fails with the crowd's own words if there is none."""
        assert self.process.stdout and self.process.stderr
        line = self.process.stdout.readline()
        if not line:
            pytest.fail(f"the crowd gave up: {self.process.stderr.read()}")
        said: dict[str, float] = json.loads(line)
        return said

    def go(self) -> str:
        """Ends the crowd; returns the rest of what it says."""
        out, err = self.process.communicate(timeout=120)
        assert self.process.returncode == 0, err
        return out


@contextlib.contextmanager
def crowd(up: Running, *arguments, **named) -> Iterator[Crowd]:
    people = Crowd(up, *arguments, **named)
    try:
        yield people
    finally:
        people.process.kill()
        people.process.communicate()


def memory(up: Running) -> dict[int, int]:
    return {pid: census.resident(pid) for pid in up.modules().values()}


def warmed(up: Running) -> dict[int, int]:
    """Memory after some flows have come and gone: what the interpreter and the engine load on first use is
    there."""
    with crowd(up, "active", 100, rounds=1) as people:
        people.says()
        people.says()
        people.go()
    return memory(up)


@pytest.mark.parametrize("variant", BOTH)
@pytest.mark.parametrize("clients", [1, 1000])
def test_slow_clients_do_not_fill_a_module(clients: int, variant: str, zeros: Path) -> None:
    with running(crowded(clients), root(), variant, zeros) as up:
        before = warmed(up)
        with crowd(up, "slow", clients, "/giga") as people:
            people.says()
            peak = dict.fromkeys(before, 0)

            def watched() -> bool:
                for pid, size in memory(up).items():
                    peak[pid] = max(peak[pid], size)
                return people.process.poll() is not None

            # Five seconds of a crowd that never ends by itself.
            with pytest.raises(Exception, match="still waiting"):
                until(watched, 5, "the crowd's end, which must not come")
            read = json.loads(people.go())["read"]
            assert read >= clients * 2 * 1024, f"{read} bytes read: the slow clients were starved"
        for pid, size in peak.items():
            growth = size - before[pid]
            print(f"{clients} slow clients, {variant}: {growth / clients:.0f} bytes a client")
            assert growth <= clients * QUEUE + NOISE


@pytest.mark.parametrize("variant", BOTH)
def test_an_idle_flow_costs_less_than_2_kb(variant: str, zeros: Path) -> None:
    flows = flows_to_be_had(20_000)
    with running(crowded(flows), root(), variant, zeros) as up:
        before = warmed(up)
        stolen = up.stolen()
        handled = 0 if variant == NATIVE else census.handled(up.place, up.pid)
        with crowd(up, "idle", flows) as people:
            assert people.says()["standing"] == flows
            if variant != NATIVE:
                # On a busy machine a burst of accepts may fill the steal queue: those pass without it.
                until(lambda: census.handled(up.place, up.pid) - handled == flows, 60, "every accept")
                flows = up.stolen() - stolen
                assert flows > 1000
                (module,) = before
                until(lambda: census.descriptors(module) >= 2 * flows, 60, "the module to have them all")
            for pid, size in memory(up).items():
                each = (size - before[pid]) / flows
                print(f"idle flows, {variant}: {each:.0f} bytes each")
                assert each < 2048
            people.go()
        idle(dict.fromkeys(before, 200), 30)


@pytest.mark.parametrize("variant", BOTH)
def test_10000_active_flows(variant: str, zeros: Path) -> None:
    flows = flows_to_be_had(10_000)
    with running(crowded(flows), root(), variant, zeros) as up:
        before = warmed(up)
        with crowd(up, "active", flows, rounds=3) as people:
            people.says()
            answers = people.says()
            print(f"{variant}: {answers}")
            assert answers["answers"] == 3 * flows
            people.go()
        idle(dict.fromkeys(before, 200), 30)
