"""Records of real processes: whose they are, how they change, who may change them (the errors are the
paper's).
"""

import errno
import json
import os
import struct
import subprocess
from pathlib import Path

import pytest

from tests.lib.modnet import Modnet, ended
from tests.lib.place import Place
from tests.lib.users import ordinary

APPLIER = Path(__file__).with_name("applier.py")
GENERATION, CHAIN, NAME = 8, 56, 32


def applied(modnet: Modnet, pid: int, *names: str) -> int:
    """What `apply` answers: 0 or an errno."""
    interpreter = modnet.argv()[0]
    done = subprocess.run(
        [interpreter, str(modnet.place.copy(APPLIER)), str(pid), *names],
        env=modnet.place.environment(),
        capture_output=True,
        text=True,
        check=True,
        **modnet.as_user(),
    )
    return int(done.stdout)


def page(modnet: Modnet, pid: int) -> bytes:
    return (modnet.runtime / "processes" / str(pid)).read_bytes()


def generation(modnet: Modnet, pid: int) -> int:
    return int(struct.unpack_from("<I", page(modnet, pid), GENERATION)[0])


def test_a_change_moves_the_generation_and_is_seen_in_the_same_file(modnet_as: Modnet) -> None:
    modnet = modnet_as
    running = modnet.server("forwarder")
    inode = (modnet.runtime / "processes" / str(running.pid)).stat().st_ino
    before = generation(modnet, running.pid)
    modnet("module", "start", "forwarder,as=second")
    assert applied(modnet, running.pid, "second", "forwarder") == 0
    after = page(modnet, running.pid)
    assert generation(modnet, running.pid) == before + 2
    assert [after[CHAIN + NAME * at :][:NAME].rstrip(b"\0") for at in range(3)] == [
        b"second",
        b"forwarder",
        b"",
    ]
    assert (modnet.runtime / "processes" / str(running.pid)).stat().st_ino == inode
    assert modnet("module", "stop", "second").returncode == 0
    ended(running)


def test_the_errors_are_those_of_the_call(modnet: Modnet) -> None:
    running = modnet.server("forwarder")
    assert applied(modnet, running.pid, "nosuch") == errno.ENOENT
    assert applied(modnet, running.pid, "../forwarder") == errno.EINVAL
    assert applied(modnet, running.pid, "forwarder", "forwarder") == errno.EINVAL
    assert applied(modnet, 4194303, "forwarder") == errno.ESRCH
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as plain:
        assert applied(modnet, plain.pid, "forwarder") == errno.EOPNOTSUPP
        plain.stdin.close()
    assert applied(modnet, plain.pid, "forwarder") == errno.ESRCH
    ended(running)


@pytest.mark.root
def test_another_owners_process_is_refused(modnet: Modnet) -> None:
    running = modnet.server("forwarder")
    stranger = Modnet(Place(ordinary()))
    try:
        assert applied(stranger, running.pid, "forwarder") == errno.EPERM
    finally:
        stranger.place.remove()
    ended(running)


@pytest.mark.root
def test_root_may_change_an_ordinary_users_process(modnet_as: Modnet) -> None:
    modnet = modnet_as
    running = modnet.server("forwarder")
    done = subprocess.run(
        [modnet.argv()[0], str(modnet.place.copy(APPLIER)), str(running.pid), "forwarder"],
        env=modnet.place.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "0\n"
    ended(running)


def test_it_is_its_owners_alone_and_whole_from_the_start(modnet: Modnet) -> None:
    running = modnet.server("forwarder")
    record = modnet.runtime / "processes" / str(running.pid)
    status = record.stat()
    assert (status.st_mode & 0o777, status.st_uid, status.st_size) == (0o600, os.geteuid(), 8192)
    assert [path.name for path in record.parent.iterdir()] == [record.name]
    ended(running)


def test_tokens_differ(modnet: Modnet) -> None:
    running = [modnet.server("forwarder") for _ in range(4)]
    tokens = {page(modnet, one.pid)[40:56] for one in running}
    assert len(tokens) == 4 and bytes(16) not in tokens
    for one in running:
        ended(one)


def test_the_child_of_a_forked_worker_has_the_trees_record(modnet: Modnet) -> None:
    """Also one that was made by exec: it finds the record by the environment."""
    script = "sh -c 'sh -c \"echo \\$\\$; cat; true\"; true'; true"
    running = modnet.popen("run", "-m", "forwarder", "--", "sh", "-c", script, stdin=subprocess.PIPE)
    leaf = int(running.stdout.readline())
    assert leaf != running.pid
    assert str(modnet.runtime / "processes" / str(running.pid)) in Path(f"/proc/{leaf}/maps").read_text()
    assert applied(modnet, leaf) == 0
    [process] = json.loads(modnet("ps", "--json").stdout)["processes"]
    assert (process["pid"], process["chain"]) == (running.pid, [])
    assert leaf in process["processes"]
    ended(running)
