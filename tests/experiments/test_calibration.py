"""The machine's floor: every call is measured, and a switch is what remains of a round trip."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.calibration import __main__ as calibration

REPOSITORY = Path(calibration.__file__).parents[2]


def test_a_switch_is_half_a_round_trip_less_the_pipe_s_own_calls():
    rows = [
        {"name": "pipe: write and read 1 byte", "ns": 400.0},
        {"name": "to another process and back, same core", "ns": 2800.0},
        {"name": "to another process and back, two cores", "ns": 60800.0},
    ]
    assert [(row["name"], row["ns"]) for row in calibration.switches(rows)] == [
        ("one process switch, same core", 1000.0),
        ("one wake-up of another core", 30000.0),
    ]


@pytest.mark.slow
def test_every_call_has_a_price_on_this_machine():
    done = subprocess.run(
        [sys.executable, "-m", "experiments.calibration", "--json"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert list(report) == ["machine", "build", "data", "rows", "checks"]
    ns = {row["name"]: row["ns"] for row in report["rows"]}
    assert len(ns) == 18
    least = ns["the least system call (getppid)"]
    assert ns["socketpair, close both"] > 5 * least > 0
    assert ns["pass 2 descriptors, close them"] > ns["message of 64 bytes, no descriptor"]
