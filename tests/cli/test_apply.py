"""`modnet apply`: another chain for a running process and its children."""

import json
import os
import subprocess

import pytest

from tests.lib.modnet import Modnet, ended
from tests.lib.process import until
from tests.lib.users import ordinary


def chains(modnet: Modnet) -> dict[int, list[str]]:
    shown = json.loads(modnet("ps", "--json").stdout)
    return {process["pid"]: process["chain"] for process in shown["processes"]}


def modules(modnet: Modnet) -> set[str]:
    return {one["name"] for one in json.loads(modnet("module", "list", "--json").stdout)}


def done(modnet: Modnet, *arguments: str) -> None:
    result = modnet(*arguments)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_modules_are_started_and_end_when_they_leave_the_chain(modnet: Modnet) -> None:
    running = modnet.server()
    assert chains(modnet) == {running.pid: []}
    done(modnet, "apply", str(running.pid), "forwarder", "forwarder,as=second")
    assert chains(modnet) == {running.pid: ["forwarder", "second"]}
    done(modnet, "apply", str(running.pid), "forwarder,as=second")
    assert chains(modnet) == {running.pid: ["second"]}
    until(lambda: modules(modnet) == {"second"}, 10, "the module that left the chain to end")
    done(modnet, "apply", str(running.pid), "--none")
    assert chains(modnet) == {running.pid: []}
    until(lambda: modules(modnet) == set(), 10, "the last module to end")
    ended(running)


def test_the_chain_of_a_child_is_that_of_its_tree(modnet: Modnet) -> None:
    command = ("sh", "-c", "sh -c 'echo $$; cat'; true")
    running = modnet.popen("run", "-m", "forwarder", "--", *command, stdin=subprocess.PIPE)
    child = int(running.stdout.readline())
    assert child != running.pid
    done(modnet, "apply", str(child), "forwarder,as=second")
    assert chains(modnet) == {running.pid: ["second"]}
    ended(running)


def test_processes_are_found_by_their_command_line(modnet: Modnet) -> None:
    first, second = modnet.server("forwarder"), modnet.server("forwarder")
    other = modnet.popen("run", "-m", "forwarder", "--", "sh", "-c", "echo other; cat", stdin=subprocess.PIPE)
    assert other.stdout.readline() == "other\n"
    done(modnet, "apply", "--match", "echo here", "--none")
    assert chains(modnet) == {first.pid: [], second.pid: [], other.pid: ["forwarder"]}
    for running in (first, second, other):
        ended(running)


def test_the_policy_stays_unless_it_is_given(modnet: Modnet) -> None:
    running = modnet.server("forwarder", options=("--fail", "closed"))

    def closed() -> bool:
        return json.loads(modnet("ps", "--json").stdout)["processes"][0]["fail_closed"]

    assert closed()
    done(modnet, "apply", str(running.pid), "forwarder,as=second")
    assert closed()
    done(modnet, "apply", str(running.pid), "--fail", "open", "forwarder")
    assert not closed()
    ended(running)


def test_a_process_that_was_not_started_by_modnet_run_is_refused(modnet: Modnet) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as plain:
        assert "was not started by modnet run" in modnet.refused("apply", str(plain.pid), "forwarder")
        plain.stdin.close()


def test_a_mistake_changes_nothing(modnet: Modnet) -> None:
    running = modnet.server("forwarder")
    assert "'forwarder'" in modnet.refused("apply", str(running.pid), "forwardr")
    assert "rate" in modnet.refused("apply", str(running.pid), "forwarder", "throttle")
    assert chains(modnet) == {running.pid: ["forwarder"]}
    ended(running)


@pytest.mark.root
def test_another_users_process_is_refused(modnet: Modnet) -> None:
    running = modnet.server("forwarder")
    user = ordinary()
    stranger = Modnet(type(modnet.place)(user))
    try:
        said = stranger.refused("apply", str(running.pid), "forwarder")
        assert f"belongs to user {os.geteuid()}" in said
    finally:
        stranger.place.remove()
    ended(running)
