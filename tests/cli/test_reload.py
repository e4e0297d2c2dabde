"""`modnet module reload` and SIGHUP: the filter's rules are read anew, and wrong ones change nothing."""

import json
import os
import signal
import time
from pathlib import Path

from tests.lib import census
from tests.lib.modnet import Modnet, ended
from tests.lib.process import until

NATIVE = "[[rule]]\nport = 1\nmodules = []\n"
ABSENT = "[[rule]]\nmodules = ['gzip2']\n"


def log_of(modnet: Modnet) -> Path:
    return Path(json.loads(modnet("module", "show", "filter", "--json").stdout)["log"])


def test_mistakes_are_told_before_anything_starts(modnet: Modnet) -> None:
    rules = modnet.place.write("rules.toml", "[[rule]]\nmodules = []\npaht = '/'\n")
    told = modnet.refused("run", "-m", f"filter,rules={rules}", "--", "true")
    assert told.startswith(f"modnet: {rules}:3: a rule has no 'paht'"), told
    rules = modnet.place.write("rules.toml", ABSENT)
    told = modnet.refused("run", "-m", f"filter,rules={rules}", "--", "true")
    assert told == (
        f"modnet: {rules}:1: no module named gzip2 is running; start it with: modnet module start gzip2"
    )
    assert census.module_pid(modnet.place, "filter") is None


def test_rules_are_read_anew_or_refused(modnet: Modnet) -> None:
    rules = modnet.place.write("rules.toml", NATIVE)
    running = modnet.server(f"filter,rules={rules}")
    done = modnet("module", "reload", "filter")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    rules.write_text(ABSENT)
    assert "no module named gzip2 is running" in modnet.refused("module", "reload", "filter")
    rules.write_text("[[rule]]\nmodules = [\n")
    assert f"{rules}:2: " in modnet.refused("module", "reload", "filter")
    ended(running)


def test_a_hangup_does_the_same_and_says_so_in_the_log(modnet: Modnet) -> None:
    rules = modnet.place.write("rules.toml", NATIVE)
    running = modnet.server(f"filter,rules={rules}")
    log, pid = log_of(modnet), census.module_pid(modnet.place, "filter")
    assert pid is not None
    os.kill(pid, signal.SIGHUP)
    until(lambda: "SIGHUP: read anew" in log.read_text(), 10, "the word that it was read")
    rules.write_text(ABSENT)
    os.kill(pid, signal.SIGHUP)
    until(lambda: "no module named gzip2 is running" in log.read_text(), 10, "what is wrong")
    assert census.module_pid(modnet.place, "filter") == pid
    ended(running)
    until(lambda: census.module_pid(modnet.place, "filter") is None, 10, "the module to end")
    log.unlink()
    log.parent.rmdir()


def test_a_module_without_files_says_so(modnet: Modnet) -> None:
    running = modnet.server("forwarder", "throttle,rate=1MB")
    for name in ("forwarder", "throttle"):
        assert "nothing to read anew" in modnet.refused("module", "reload", name)
    assert "no module named 'absent' is running" in modnet.refused("module", "reload", "forwarder", "absent")
    pid = census.module_pid(modnet.place, "throttle")
    assert pid is not None
    os.kill(pid, signal.SIGHUP)
    # As a terminal that hangs up: what is to be shown is that nothing happens.
    time.sleep(0.5)
    assert census.module_pid(modnet.place, "throttle") == pid
    ended(running)
