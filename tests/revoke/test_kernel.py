"""The kernel yank as Python has it: what comes back, what is refused, who may not."""

import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from modnet import _native, calls

from experiments.kernel_yank.stream import Stream
from tests.inspect.conftest import Enabled, enabled, place  # noqa: F401 - fixtures
from tests.lib.users import REPOSITORY, User, interpreter, ordinary, python_path

root = pytest.mark.root


@contextlib.contextmanager
def pair(family: int = socket.AF_INET) -> Iterator[tuple[socket.socket, socket.socket]]:
    """(ours, peer), with little room at the peer, so that something stays unsent."""
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.create_server((host, 0), family=family) as listener, socket.socket(family) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        peer.settimeout(30)
        peer.connect(listener.getsockname())
        ours, _ = listener.accept()
        with ours:
            ours.setblocking(False)
            yield ours, peer


def fill(ours: socket.socket, stream: Stream) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            stream.written(ours.send(stream.next(1 << 16)))


def drain(peer: socket.socket, stream: Stream) -> None:
    while data := peer.recv(1 << 16):
        stream.arrived(data)


@root
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_the_last_bytes_come_back_and_the_others_arrive(family: int) -> None:
    stream = Stream()
    with pair(family) as (ours, peer):
        fill(ours, stream)
        for most in (1, 1000, 70_000):
            taken = _native.kernel_yank(ours.fileno(), most)
            assert len(taken) == most
            stream.yanked(taken)
        ours.close()
        drain(peer, stream)
    assert stream.outstanding == 0 and stream.total > 0


@root
def test_a_peek_shows_what_the_next_yank_takes() -> None:
    stream = Stream()
    with pair() as (ours, _):
        fill(ours, stream)
        shown = _native.kernel_yank(ours.fileno(), 5000, peek=True)
        assert shown == stream.last(5000)
        assert _native.kernel_yank(ours.fileno(), 5000) == shown


@root
def test_nothing_unsent_is_nothing() -> None:
    with pair() as (ours, _):
        assert _native.kernel_yank(ours.fileno(), 10) == b""


@root
def test_what_it_cost_is_told_and_counted() -> None:
    before = _native.kernel_yank_counts()
    with pair() as (ours, _):
        fill(ours, Stream())
        taken, costs = _native.kernel_yank_costs(ours.fileno(), 1000)
        assert len(taken) == 1000
        assert 0 < costs["gap_us"] < costs["total_us"]
        assert costs["kept"] > 0 and costs["window"] > 0
    after = _native.kernel_yank_counts()
    assert after["done"] == before["done"] + 1 and after["covered"] == before["covered"] + 1


@root
def test_a_refusal_has_an_errno_and_a_reason_and_is_counted() -> None:
    before = _native.kernel_yank_counts()["refused"]
    with socket.socketpair()[0] as unix, pytest.raises(OSError, match="no plain TCP socket") as refused:
        _native.kernel_yank(unix.fileno(), 1)
    assert refused.value.errno == errno.EOPNOTSUPP
    with pair() as (ours, _):
        fill(ours, Stream())
        ours.shutdown(socket.SHUT_WR)
        with pytest.raises(BlockingIOError, match="not open for writing"):
            _native.kernel_yank(ours.fileno(), 1)
    assert _native.kernel_yank_counts()["refused"] == before + 2


@pytest.mark.parametrize("fd", [-1, 1 << 20])
def test_a_closed_descriptor_is_an_error(fd: int) -> None:
    with pytest.raises(OSError) as closed:
        _native.kernel_yank(fd, 1)
    assert closed.value.errno == errno.EBADF


# As anybody may run it: an error of the kernel yank, and doctor's line.
DENIED = """
import errno, json, socket
from modnet import _native, doctor
with socket.create_server(("127.0.0.1", 0)) as listener:
    peer = socket.create_connection(listener.getsockname())
    ours, _ = listener.accept()
ours.setblocking(False)
try:
    while True:
        ours.send(bytes(65536))
except BlockingIOError:
    pass
try:
    _native.kernel_yank(ours.fileno(), 10)
    said = None
except OSError as error:
    said = [errno.errorcode[error.errno], error.strerror]
check = doctor._kernel_yank()
print(json.dumps([said, check.ok, check.why, check.todo]))
"""


def test_without_the_capability_it_is_named() -> None:
    user: User = ordinary()
    change = {} if user.is_self else {"user": user.uid, "group": user.gid, "extra_groups": []}
    done = subprocess.run(
        [interpreter(user), "-c", DENIED],
        env={"PYTHONPATH": python_path(user), "PATH": os.environ["PATH"]},
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
        **change,
    )
    said, ok, why, todo = json.loads(done.stdout)
    assert said[0] == "EPERM" and "CAP_NET_ADMIN" in said[1] and "\n" not in said[1]
    assert not ok and "CAP_NET_ADMIN" in why and todo


@root
def test_doctor_tries_it() -> None:
    from modnet import doctor

    check = doctor._kernel_yank()
    assert check.ok and not check.needed, check.why
    assert "came back" in check.why and " ms" in check.why


@root
def test_nothing_is_left_when_the_process_has_ended() -> None:
    code = "from modnet import _native; assert _native.kernel_yank_probe()[2]"
    # In a namespace where nobody else listens.
    script = f"ip link set lo up && {sys.executable} -c '{code}' && ss -ltnH"
    done = subprocess.run(["unshare", "-n", "sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == ""


def test_the_documentation_lists_every_refusal() -> None:
    listed = set()
    for line in (REPOSITORY / "docs/kernel-yank.md").read_text().splitlines():
        if line.startswith("| E"):
            name, reason = (cell.strip() for cell in line.strip("|").split("|"))
            listed.add((getattr(errno, name), reason))
    assert listed == set(_native.kernel_yank_refusals())


@root
def test_inspection_goes_on(enabled: Enabled, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("MODNET_BPF_DIR", str(enabled.directory))
    with pair() as (ours, _):
        tcp = calls.map_state(ours.fileno())
        fill(ours, Stream())
        before = tcp.snapshot()
        assert len(_native.kernel_yank(ours.fileno(), 1000)) == 1000
        after = tcp.snapshot()
        assert (tcp.source, tcp.reason) == ("bpf", None)
    assert after.cookie == before.cookie
    assert after.write_seq == (before.write_seq - 1000) % (1 << 32)
