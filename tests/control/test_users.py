"""When a module that runs share ends: with its last user, however that one came about and went."""

import os
import signal
import subprocess

import pytest

from tests.lib import census
from tests.lib.modnet import SECONDS, Modnet, ended
from tests.lib.process import until


def lives(modnet: Modnet, name: str = "forwarder") -> bool:
    return census.module_pid(modnet.place, name) is not None


def test_a_daemon_keeps_it_when_its_starter_has_gone(modnet_as: Modnet) -> None:
    """Another session, another parent, no terminal: only the mapped record tells."""
    modnet = modnet_as
    reader, writer = os.pipe()
    script = "exec 3<&0; setsid sh -c 'echo daemon; cat' <&3 & exit 0"
    running = modnet.popen("run", "-m", "forwarder", "--", "sh", "-c", script, stdin=reader)
    os.close(reader)
    assert running.stdout.readline() == "daemon\n"
    running.wait(SECONDS)
    # It outlives two rounds of a module's looking for users, which a stopped clock cannot show: another user
    # comes and goes, which makes it look.
    for _ in range(2):
        assert modnet("run", "-m", "forwarder", "--", "true").returncode == 0
        assert lives(modnet)
    os.close(writer)
    running.communicate(timeout=SECONDS)
    until(lambda: not lives(modnet), 10, "the module to end")


def test_processes_that_may_not_be_looked_into_are_known_by_their_group(modnet_as: Modnet) -> None:
    """As workers that changed their user are, to a root without CAP_SYS_PTRACE."""
    modnet = modnet_as
    program = (
        "import ctypes, os, sys\n"
        "ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)\n"  # PR_SET_DUMPABLE
        "if os.fork(): os._exit(0)\n"
        "print('worker', flush=True)\n"
        "sys.stdin.read()\n"
    )
    interpreter = modnet.argv()[0]
    running = modnet.popen(
        "run",
        "-m",
        "forwarder",
        "--",
        interpreter,
        "-c",
        program,
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    assert running.stdout.readline() == "worker\n"
    running.wait(SECONDS)
    for _ in range(2):
        assert modnet("run", "-m", "forwarder", "--", "true").returncode == 0
        assert lives(modnet)
    running.communicate(timeout=SECONDS)
    until(lambda: not lives(modnet), 10, "the module to end")


def test_a_crowd_of_short_users(modnet: Modnet) -> None:
    keeper = modnet.server("forwarder")
    for _ in range(5):
        crowd = [modnet.popen("run", "-m", "forwarder", "--", "true") for _ in range(8)]
        assert [one.communicate(timeout=SECONDS) for one in crowd] == [("", "")] * 8
    assert lives(modnet)
    ended(keeper)


def test_a_module_whose_launcher_dies_before_it_uses_it_ends(modnet: Modnet) -> None:
    path = modnet.place.write(
        "slow.py", "import modnet, time\n\nclass Slow(modnet.Module):\n    def start(self): time.sleep(1)\n"
    )
    running = modnet.popen("run", "-m", f"{path}:Slow", "--", "true")

    def started() -> bool:
        return bool(modnet.running("modnet.host"))

    until(started, 20, "the module's process")
    running.kill()
    running.communicate(timeout=SECONDS)
    until(lambda: lives(modnet, "slow") or not started(), 20, "the module to register")
    # The fixture waits for its end.


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_janitor_is_not_needed(modnet: Modnet, number: signal.Signals) -> None:
    """Without it a killed command's record goes all the same, by the module that it has used."""
    running = modnet.server("forwarder")
    until(lambda: len(modnet.running("modnet.janitor")) == 1, 10, "the janitor")
    os.kill(*modnet.running("modnet.janitor"), number)
    running.kill()
    ended(running)


def test_one_janitor_serves_all(modnet: Modnet) -> None:
    many = [modnet.server("forwarder", f"forwarder,as=n{number}") for number in range(4)]

    def janitors() -> int:
        return len(modnet.running("modnet.janitor"))

    until(lambda: janitors() == 1, 10, "one janitor")
    for running in many:
        ended(running)
    until(lambda: janitors() == 0, 10, "its end")
