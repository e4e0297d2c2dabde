"""A connection whose yanker was killed: others who have it get it back, by a yank or by `modnet doctor`."""

import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from modnet import _native

from tests.revoke.test_kernel import pair

pytestmark = pytest.mark.root

# Takes the last bytes of its socket and writes them again, until it is killed.
YANKER = """
import socket, sys
from modnet import _native
ours = socket.socket(fileno=int(sys.argv[1]))
ours.setblocking(True)
while True:
    ours.sendall(_native.kernel_yank(ours.fileno(), 100_000))
    # The first has made the guard, which takes a hundred times as long as a yank.
    if sys.stdout: print("ready", flush=True); sys.stdout = None
"""
SURVIVOR = """
import sys
from modnet import _native
print(len(_native.kernel_yank(int(sys.argv[1]), 0)), flush=True)
sys.stdin.readline()
print(len(_native.kernel_yank(int(sys.argv[1]), 1000)))
"""
END = b"the end"


@pytest.fixture
def journals(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for journals that is this test's."""
    folder = Path(tempfile.mkdtemp(prefix="mn-yank-", dir="/dev/shm"))
    monkeypatch.setenv("MODNET_YANK_JOURNAL", str(folder))
    yield folder
    shutil.rmtree(folder)


def pattern(length: int) -> bytes:
    return random.Random(length).randbytes(length)


# Less than the send buffer holds, so that a yanker that writes again what it took never waits.
LENGTH = 500_000
_SO_SNDBUFFORCE = 32


def fill(ours: socket.socket, data: bytes) -> None:
    """Writes all of it; the peer does not read, so most of it stays unsent."""
    ours.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, 8 << 20)
    assert ours.send(data) == len(data)


def killed(ours: socket.socket, after_s: float) -> None:
    """A process that yanks is killed at some moment; the socket has its blocking mode again."""
    number = ours.fileno()
    argv = [sys.executable, "-c", YANKER, str(number)]
    with subprocess.Popen(argv, pass_fds=[number], stdout=subprocess.PIPE, text=True) as yanker:
        assert yanker.stdout.readline() == "ready\n"
        with contextlib.suppress(subprocess.TimeoutExpired):
            yanker.wait(after_s)
        assert yanker.poll() is None, "it failed by itself"
        yanker.kill()
    ours.setblocking(False)


class Survivor:
    """Another process that has the socket, has yanked before, and takes a thousand bytes when told to."""

    def __init__(self, ours: socket.socket) -> None:
        number = ours.fileno()
        self.process = subprocess.Popen(
            [sys.executable, "-c", SURVIVOR, str(number)],
            pass_fds=[number],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == "0\n"

    def yank(self) -> int:
        out, _ = self.process.communicate("\n", timeout=30)
        return int(out)

    def __enter__(self) -> "Survivor":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def received(peer: socket.socket) -> bytes:
    return b"".join(iter(lambda: peer.recv(1 << 16), b""))


@pytest.mark.parametrize("number", range(20))
def test_killed_at_any_moment_it_comes_back(journals: Path, number: int) -> None:
    data = pattern(LENGTH)
    with pair() as (ours, peer), contextlib.ExitStack() as stack:
        fill(ours, data)
        survivor = stack.enter_context(Survivor(ours))
        killed(ours, 0.02 + random.Random(number).random() / 500)
        if number % 2:
            outcomes = _native.kernel_yank_rescue()
            # It comes from either that has it: from whom, their numbers decide.
            holders = {os.getpid(), survivor.process.pid}
            assert all(pid in holders and "dead" not in became for pid, became in outcomes), outcomes
        # Whoever yanks finds the socket as it should be, rescued or not.
        assert survivor.yank() == 1000
        with ThreadPoolExecutor(1) as reading:
            got = reading.submit(received, peer)
            ours.settimeout(30)
            ours.sendall(END)
            ours.close()
            peer_got = got.result(60)
    assert peer_got.endswith(END)
    kept = len(peer_got) - len(END)
    assert peer_got[:kept] == data[:kept], "in order, and nothing twice"
    assert LENGTH - 101_000 <= kept <= LENGTH - 1000, "no more is gone than two yanks took"


def test_a_child_does_not_use_its_parent_s_yanker(journals: Path) -> None:
    with pair() as (ours, _peer), pair() as (other, _other_peer):
        fill(ours, pattern(LENGTH)), fill(other, bytes(LENGTH))
        before = _native.kernel_yank(ours.fileno(), 5000)
        theirs = {folder.name for folder in journals.iterdir()}
        child = os.fork()
        if child == 0:
            # It ends its own way: nothing of pytest's.
            os._exit(0 if _native.kernel_yank(other.fileno(), 9000) == bytes(9000) else 1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert theirs <= {folder.name for folder in journals.iterdir()}, "the parent's journal is there"
        again = _native.kernel_yank(ours.fileno(), 5000)
        assert len(before) == len(again) == 5000 and before != again


def test_doctor_says_where_nothing_is_written_down() -> None:
    code = "from modnet import doctor; print(doctor._kernel_yank().why)"
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"MODNET_YANK_JOURNAL": place},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for place in ("off", "/proc")
    ]
    assert "leaves no way back (MODNET_YANK_JOURNAL=off)" in said[0]
    assert "leaves no way back (/proc is " in said[1]


def test_doctor_brings_back_what_a_killed_one_has_left(journals: Path) -> None:
    with pair() as (ours, _peer):
        fill(ours, pattern(LENGTH))
        for _ in range(40):
            killed(ours, 0.02)
            folders = list(journals.iterdir())
            code = "from modnet import doctor; print(doctor._kernel_yank().why)"
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            assert not [folder for folder in folders if folder.exists()], "journals of the dead are removed"
            if f"a connection of process {os.getpid()}, left by a killed one" in done.stdout:
                break
        else:
            pytest.fail("40 processes that did nothing but yank were killed, and none in the middle")
