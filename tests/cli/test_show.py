"""`modnet ps`, `doctor`, `completion`, `--version`, `--help`: what they print, on a terminal and in a
pipe.
"""

import json
import os
import pty
import subprocess

import pytest
from modnet import trial

from tests.lib import counters
from tests.lib.modnet import Modnet, ended


def test_ps_shows_processes_chains_modules_and_every_counter(modnet: Modnet) -> None:
    running = modnet.server("forwarder", "forwarder,as=second")
    shown = json.loads(modnet("ps", "--json").stdout)
    [process] = shown["processes"]
    assert process["pid"] == running.pid
    assert process["chain"] == ["forwarder", "second"]
    assert running.pid in process["processes"] and len(process["processes"]) == 2
    assert "echo here; cat" in process["command"]
    assert tuple(process["counters"]) == counters.NAMES
    assert {one["name"] for one in shown["modules"]} == {"forwarder", "second"}
    assert shown["flows"] == []
    plain = modnet("ps", "--flows").stdout
    assert "\x1b" not in plain
    assert f"{running.pid}" in plain and "forwarder second" in plain
    assert all(name in plain for name in counters.NAMES)
    ended(running)


def test_ps_without_anything_is_quiet_in_a_pipe(modnet: Modnet) -> None:
    done = modnet("ps")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert json.loads(modnet("ps", "--json").stdout) == {"processes": [], "modules": [], "flows": []}


def on_a_terminal(modnet: Modnet, *arguments: str) -> str:
    ours, theirs = pty.openpty()
    with modnet.popen(*arguments, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        out = b""
        try:
            while chunk := os.read(ours, 65536):
                out += chunk
        except OSError:
            pass  # EIO: nobody has the other end any more
        process.wait(30)
    os.close(ours)
    return out.decode()


def test_on_a_terminal_it_says_what_to_do_next(modnet: Modnet) -> None:
    assert "modnet run -m MODULE" in on_a_terminal(modnet, "ps")
    assert "modnet run -m MODULE" in on_a_terminal(modnet, "module", "list")
    assert "\x1b[" in on_a_terminal(modnet, "doctor")


def test_doctor_names_each_capability_with_reason_and_remedy(modnet_as: Modnet) -> None:
    done = modnet_as("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert {
        "build",
        "kernel",
        "shim",
        "preload",
        "runtime directory",
        "descriptors",
        "static programs",
    } <= set(checks)
    assert all(check["why"] for check in checks.values())
    needed = [check for check in checks.values() if check["needed"]]
    assert done.returncode == int(not all(check["ok"] for check in needed))
    assert done.returncode == 0, [check for check in needed if not check["ok"]]
    assert "CAPABILITY" in modnet_as("doctor").stdout


def test_doctor_says_no_and_what_to_do(modnet: Modnet) -> None:
    given = modnet.place.environment() | {"MODNET_RUNTIME_DIR": "/proc/none"}
    done = modnet("doctor", "--json", env=given)
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert done.returncode == 1
    assert not checks["runtime directory"]["ok"] and checks["runtime directory"]["todo"]
    assert checks["shim"]["ok"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script(modnet: Modnet, shell: str) -> None:
    assert "_MODNET_COMPLETE" in modnet("completion", shell).stdout


def test_bash_completes_subcommands_modules_and_settings(modnet: Modnet) -> None:
    def completed(words: str) -> set[str]:
        given = modnet.place.environment() | {
            "_MODNET_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
        }
        lines = modnet(env=given).stdout.splitlines()
        return {line.partition(",")[2] for line in lines if line}

    assert {"run", "ps", "doctor"} <= completed("modnet ")
    assert completed("modnet run -m thr") == {"throttle"}
    assert "throttle,rate=" in completed("modnet run -m throttle,ra")
    assert completed("modnet run -m nosuch,x") == set()


def test_version_says_how_it_was_built(modnet: Modnet) -> None:
    out = modnet("--version").stdout
    assert out.startswith("modnet ") and ("release build" in out or "debug build" in out)


def test_help_of_everything(modnet: Modnet) -> None:
    for words in (
        [],
        ["run"],
        ["apply"],
        ["module"],
        ["module", "start"],
        ["ps"],
        ["doctor"],
        ["completion"],
        ["tap"],
    ):
        done = modnet(*words, "--help")
        assert done.returncode == 0 and done.stdout.startswith("Usage: modnet"), done


def test_a_reader_that_goes_is_no_error(modnet: Modnet) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with modnet.popen("doctor", stdout=writer, stderr=subprocess.PIPE) as process:
        os.close(writer)
        assert process.communicate(timeout=30)[1] == ""


def test_doctor_removes_a_directory_that_a_janitor_is_still_at_work_in(tmp_path, monkeypatch) -> None:
    """Files come and go below it: a removal that meets one is begun anew."""
    runtime = tmp_path / "r"
    runtime.mkdir()
    late = [runtime / "one", runtime / "two"]
    real = os.rmdir

    def rmdir(path, **more):
        if late:
            late.pop().touch()
        real(path, **more)

    monkeypatch.setattr(os, "rmdir", rmdir)
    trial._remove(runtime)
    assert not late and not runtime.exists()
