"""Names, with real processes: races, deaths, what a power loss leaves, locks of stopped processes, other
users.
"""

import errno
import os
import random
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.control.holders import Holder, holding
from tests.lib.modnet import Modnet, ended
from tests.lib.process import until

RACERS = 50


def test_of_fifty_processes_that_race_for_a_name_one_wins(modnet_as: Modnet) -> None:
    racers = [Holder(modnet_as, "race") for _ in range(RACERS)]
    for racer in racers:
        racer.ready()
    for racer in racers:
        racer.take()
    answers = [racer.took() for racer in racers]
    assert sorted(answers) == [0] + [errno.EEXIST] * (RACERS - 1)
    for racer in racers:
        racer.end()


def test_fifty_races_after_a_kill_have_one_winner_each(modnet: Modnet) -> None:
    """The stale name of a killed process is the prize: two that repair it at once must not both get it."""
    for _ in range(10):
        holding(modnet, "race").kill()
        racers = [Holder(modnet, "race") for _ in range(5)]
        for racer in racers:
            racer.ready()
        for racer in racers:
            racer.take()
        assert [racer.took() for racer in racers].count(0) == 1
        for racer in racers:
            racer.end()


def test_a_killed_process_name_is_free_at_once(modnet_as: Modnet) -> None:
    for _ in range(5):
        holding(modnet_as, "m").kill()
    before = time.monotonic()
    holder = holding(modnet_as, "m")
    assert time.monotonic() - before < 5
    holder.end()


def test_whatever_a_power_loss_leaves_is_repaired(modnet: Modnet) -> None:
    """Files of a registration of which any part has reached the disk, as any kind of file."""
    source = random.Random(20261123)
    for _ in range(20):
        wreck(modnet, source)
        holder = holding(modnet, "m")
        assert sorted(path.name for path in (modnet.runtime / "modules" / "m").iterdir())[0] == "control"
        holder.end()
    wreck(modnet, source)
    assert modnet("ps").returncode == 0
    assert not modnet.files()


def wreck(modnet: Modnet, source: random.Random) -> None:
    place = modnet.runtime / "modules" / "m"
    place.parent.mkdir(mode=0o711, exist_ok=True)
    if source.random() < 0.1:
        place.write_text("not a directory")
        return
    place.mkdir(mode=0o711)
    for name in source.sample(["control", "steal.0", "steal.1", "steal.77", "x"], source.randint(0, 5)):
        match source.randrange(4):
            case 0:
                (place / name).write_bytes(source.randbytes(10))
            case 1:
                (place / name).mkdir()
            case 2:
                (place / name).symlink_to("/nonexistent")
            case 3:
                with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as bound:
                    bound.bind(str(place / name))


def test_a_stopped_process_that_holds_the_lock_is_named_and_nothing_hangs(modnet: Modnet) -> None:
    holding(modnet, "m").end()
    lock = modnet.runtime / "modules" / ".lock"
    hold = (
        "import fcntl,os,sys; f=open(sys.argv[1],'r+'); fcntl.flock(f,fcntl.LOCK_EX); f.truncate(); "
        "f.write(str(os.getpid())); f.flush(); print(1,flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as keeper:
        keeper.stdout.readline()
        keeper.send_signal(signal.SIGSTOP)
        holder = Holder(modnet, "m")
        holder.ready()
        before = time.monotonic()
        holder.take()
        answer = holder.answer()
        assert int(answer.split()[0]) == errno.ETIMEDOUT and f"kill -CONT {keeper.pid}" in answer
        assert f"process {keeper.pid} holds it" in modnet.refused("run", "-m", "forwarder", "--", "true")
        assert time.monotonic() - before < 20
        keeper.send_signal(signal.SIGCONT)
        keeper.stdin.close()
    holder.end()
    holding(modnet, "m").end()


def test_a_stopped_module_still_has_its_name(modnet: Modnet) -> None:
    holder = holding(modnet, "m")
    os.kill(holder.pid, signal.SIGSTOP)
    other = Holder(modnet, "m")
    other.ready()
    other.take()
    assert other.took() == errno.EEXIST
    other.end()
    os.kill(holder.pid, signal.SIGCONT)
    holder.end()


def test_the_directory_may_vanish_under_a_living_module(modnet: Modnet) -> None:
    """`rm -r` by hand: the next module makes it anew, the old one goes without touching what is not its
    own.
    """
    old = holding(modnet, "m")
    for path in sorted(modnet.runtime.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    modnet.runtime.rmdir()
    new = holding(modnet, "m")
    old.end()
    assert (modnet.runtime / "modules" / "m" / "control").exists()
    new.end()


@pytest.mark.root
def test_what_a_process_that_dropped_its_privileges_can_reach(modnet: Modnet) -> None:
    """The queues by name, and nothing else: neither the control socket, nor a list, nor a record."""
    running = modnet.server("forwarder")
    record = modnet.runtime / "processes" / str(running.pid)
    queue = next((modnet.runtime / "modules" / "forwarder").glob("steal.*"))
    tries = f"""
import os, socket
def attempt(what, call):
    try: call()
    except OSError as error: print(what, error.errno)
    else: print(what, 0)
def connect(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s: s.connect(path)
attempt("queue", lambda: connect({str(queue)!r}))
attempt("control", lambda: connect({str(queue.with_name("control"))!r}))
attempt("list", lambda: os.listdir({str(modnet.runtime / "modules")!r}))
attempt("record", lambda: open({str(record)!r}))
attempt("make", lambda: os.mkdir({str(modnet.runtime / "modules" / "mine")!r}))
attempt("remove", lambda: os.unlink({str(queue)!r}))
"""
    done = subprocess.run(
        ["/usr/bin/python3", "-c", tries],
        user=33,
        group=33,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    no = errno.EACCES
    assert done.stdout.split() == [
        "queue",
        "0",
        "control",
        str(no),
        "list",
        str(no),
        "record",
        str(no),
        "make",
        str(no),
        "remove",
        str(no),
    ]
    ended(running)


def test_an_empty_name_directory_is_swept_by_any_command(modnet: Modnet) -> None:
    holding(modnet, "m").kill()
    (modnet.runtime / "processes" / "4194304").write_bytes(b"")
    assert modnet("ps").returncode == 0
    until(lambda: not modnet.files(), 5, "the files to go")
