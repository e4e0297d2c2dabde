"""`modnet module`: start, stop, list, show."""

import json
import os
import signal
import time
from pathlib import Path

from tests.lib import census
from tests.lib.modnet import Modnet, ended
from tests.lib.process import until

TALK = "import modnet\n\nclass Talk(modnet.Module):\n    def start(self):\n        "


def pid_of(modnet: Modnet, name: str) -> int:
    found = census.module_pid(modnet.place, name)
    assert found is not None
    return found


def test_a_started_module_stays_until_it_is_stopped(modnet: Modnet) -> None:
    done = modnet("module", "start", "forwarder,as=mine")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    before = pid_of(modnet, "mine")
    assert "running already" in modnet.refused("module", "start", "forwarder,as=mine")
    ended(modnet.server("mine"))
    # Longer than a module without users waits: what is to be shown is that nothing happens.
    time.sleep(2.5)
    assert pid_of(modnet, "mine") == before
    assert modnet("module", "stop", "mine").returncode == 0
    assert census.module_pid(modnet.place, "mine") is None


def test_a_bare_name_is_the_module_that_was_started_under_it(modnet: Modnet) -> None:
    """`throttle` cannot be started without a rate, and need not be."""
    modnet("module", "start", "throttle,rate=1MB")
    ended(modnet.server("throttle"))
    assert modnet("module", "stop", "throttle").returncode == 0


def test_stop_waits_for_all_and_takes_several(modnet: Modnet) -> None:
    names = ["a", "b", "c"]
    for name in names:
        modnet("module", "start", f"forwarder,as={name}")
    pids = [pid_of(modnet, name) for name in names]
    assert modnet("module", "stop", "a", "b", "--drain", "0").returncode == 0
    assert modnet("module", "stop", "--all").returncode == 0
    assert not any(_runs(pid) for pid in pids)
    assert modnet("module", "stop", "--all").returncode == 0


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_signal_stops_it_too(modnet: Modnet) -> None:
    modnet("module", "start", "forwarder")
    os.kill(pid_of(modnet, "forwarder"), signal.SIGTERM)
    until(lambda: census.module_pid(modnet.place, "forwarder") is None, 10, "the module to end")


def test_a_module_that_is_stopped_by_a_signal_is_named_and_nothing_hangs(modnet: Modnet) -> None:
    modnet("module", "start", "forwarder")
    pid = pid_of(modnet, "forwarder")
    os.kill(pid, signal.SIGSTOP)
    try:
        before = time.monotonic()
        assert "does not answer" in modnet.refused("module", "stop", "forwarder")
        assert "does not answer" in modnet("module", "list").stdout
        assert time.monotonic() - before < 20
    finally:
        os.kill(pid, signal.SIGCONT)
    assert modnet("module", "stop", "forwarder").returncode == 0


def test_the_list_shows_what_runs_and_what_could(modnet: Modnet) -> None:
    assert modnet("module", "list").stdout == ""
    running = modnet.server("forwarder,as=mine")
    [row] = json.loads(modnet("module", "list", "--json").stdout)
    assert (row["name"], row["running"], row["persistent"]) == ("mine", True, False)
    assert (row["pid"], row["users"]) == (pid_of(modnet, "mine"), [running.pid])
    assert "mine" in modnet("module", "list").stdout
    known = json.loads(modnet("module", "list", "--available", "--json").stdout)
    assert {"forwarder", "tap", "throttle", "mine"} <= {one["name"] for one in known}
    ended(running)


def test_show_tells_settings_and_log(modnet: Modnet) -> None:
    described = json.loads(modnet("module", "show", "throttle", "--json").stdout)
    assert not described["running"] and "rate" in [one["name"] for one in described["settings"]]
    running = modnet.server("throttle,rate=1MB")
    shown = json.loads(modnet("module", "show", "throttle", "--json").stdout)
    assert shown["settings"]["rate"] == 1_000_000
    assert shown["log"] == str(modnet.runtime / "log" / "throttle.log")
    assert "throttle" in modnet("module", "show", "throttle").stdout
    ended(running)


def test_what_a_module_prints_is_in_its_log(modnet: Modnet) -> None:
    path = modnet.place.write("talk.py", TALK + "print('started', flush=True)\n")
    ended(modnet.server(str(path)))
    log = modnet.runtime / "log" / "talk.log"
    until(lambda: census.module_pid(modnet.place, "talk") is None, 10, "the module to end")
    assert log.read_text().endswith(" started\n")
    log.unlink()
    log.parent.rmdir()


def test_a_log_is_bounded(modnet: Modnet) -> None:
    path = modnet.place.write("talk.py", TALK + "for _ in range(20000): print('x' * 300)\n")
    ended(modnet.server(str(path)))
    until(lambda: census.module_pid(modnet.place, "talk") is None, 10, "the module to end")
    logs = sorted((modnet.runtime / "log").iterdir())
    assert [log.name for log in logs] == ["talk.log", "talk.log.1"]
    assert all(log.stat().st_size <= 1 << 20 for log in logs)
    for log in logs:
        log.unlink()
    logs[0].parent.rmdir()


def test_what_can_be_set_is_a_table_that_can_be_read(modnet: Modnet) -> None:
    lines = modnet("module", "show", "throttle").stdout.splitlines()
    at = lines.index("") + 1
    assert lines[at].split() == ["SETTING", "TYPE", "HELP", "DEFAULT"]
    assert lines[at + 1].startswith("rate ") and lines[at + 1].endswith("  must be given")
    assert not any("{" in line or "[" in line for line in lines)


def test_the_lists_of_subcommands_have_whole_sentences(modnet: Modnet) -> None:
    for group in ((), ("module",), ("inspect",), ("tap",)):
        said = modnet(*group, "--help").stdout
        assert "..." not in said.partition("Commands:")[2], said


def test_show_has_the_modules_own_counters(modnet: Modnet, tmp_path: Path) -> None:
    running = modnet.server(f"tap,file={tmp_path / 'flows.tap'}")
    shown = json.loads(modnet("module", "show", "tap", "--json").stdout)
    assert shown["own_counters"] == {"records": 1, "lost_records": 0, "lost_bytes": 0, "write_errors": 0}
    assert "lost_records" in modnet("module", "show", "tap").stdout
    ended(running)
