"""Inspection's costs: what is compared with what, from made-up samples, and tiny real runs."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from experiments import inspection
from experiments.common import load
from experiments.common.errors import ExperimentError
from experiments.fig03.measure import Sample
from experiments.inspection import cost, reads, watched

REPOSITORY = Path(inspection.__file__).parents[2]
CELL = cost.CELLS[0]


def sample(busy_us=50.0, requests_per_s=1000.0, **errors):
    return Sample(requests_per_s, 1e6, 100.0, 200.0, busy_us, 1.0, 0.5, errors)


def found(**busy):
    """Three rounds of each variant; the machine is twice as slow in the second."""
    return {CELL: {name: [sample(us * slow) for slow in (1, 2, 1)] for name, us in busy.items()}}


def test_the_hook_s_own_cost_is_no_cost_of_inspection():
    rounds = found(off=50.0, opened=60.0, none=50.25, all=61.5)
    assert cost.cost(rounds, CELL, cost.NONE).median == pytest.approx(1.005)
    assert cost.cost(rounds, CELL, cost.ALL).median == pytest.approx(1.03)
    assert [(check.bound, check.ok) for check in cost.checks(rounds)] == [
        ("<= 1.01", True),
        ("<= 1.05", True),
    ]


def test_a_cost_above_its_bound_fails():
    checks = cost.checks(found(off=50.0, opened=50.0, none=51.0, all=53.0))
    assert [check.ok for check in checks] == [False, False]


def test_a_round_in_which_flows_were_not_inspected_as_they_should_proves_nothing():
    rounds = found(off=50.0, opened=50.0, none=50.0, all=50.0)
    rounds[CELL][cost.ALL][1] = replace(rounds[CELL][cost.ALL][1], errors={"inspected": 0})
    assert [(check.value, check.ok) for check in cost.checks(rounds)] == [(None, False)] * 2


def test_reads_are_held_to_the_issue_s_bounds():
    figures = {"Rust": {"field": 0.5, "snapshot": 51.0}, "C": {"field": 0.3}, "Python": {}}
    assert [check.ok for check in reads.checks(figures)] == [True, True, False, False]
    assert [(row["language"], row["ns"]) for row in reads.rows(figures)] == [
        ("Rust", 0.5),
        ("C", 0.3),
        ("Rust", 51.0),
    ]


def flow(number, **more):
    plain = {
        "flow": number,
        "peer": f"10.0.0.2:{1000 + number}",
        "local": "10.0.0.1:80",
        "chain": ["forwarder"],
        "rate_outbound": 1000.0,
        "cwnd": 10,
        "srtt_us": 500,
        "retransmits": 0,
        "source": "sampled",
    }
    return plain | more


def odd(**more):
    """What is odd where the first flow is as `more` says."""
    flows = [flow(number, **(more if number == 0 else {})) for number in range(load.CONNECTIONS)]
    known = 1000.0 * load.CONNECTIONS
    return watched.oddities(flows, "10.0.0.2", 80, (0.9 * known, 1.1 * known))


def test_what_top_shows_is_held_against_what_is_known():
    assert odd() == []
    assert len(odd(peer="10.0.0.3:1000")) == len(odd(peer="10.0.0.2:1001")) == 1
    assert len(odd(local="10.0.0.1:81")) == len(odd(cwnd=0)) == len(odd(srtt_us=None)) == 1
    assert len(odd(rate_outbound=1e6)) == len(odd(chain=["other"])) == 1
    assert len(odd(rate_outbound=None)) == 0 and len(odd(rate_outbound=-50_000.0)) == 1
    assert len(watched.oddities([flow(1)], "10.0.0.2", 80, (1000.0, 1000.0))) == 1


def test_a_rate_is_held_against_the_windows_of_the_look():
    readings = [(at / 8, received) for at, received in enumerate([0, 100, 200, 500, 800, 800, 800])]
    assert watched.extremes(readings, 0.25) == (0.0, 2400.0)
    assert watched.extremes(readings, 0.75) == pytest.approx((800 / 0.75, 800 / 0.75))
    with pytest.raises(ExperimentError):
        watched.extremes(readings, 1.0)


def test_requests_with_top_are_compared_within_a_round():
    samples = {
        watched.ALONE: [sample(requests_per_s=r) for r in (1000.0, 500.0)],
        watched.WATCHED: [sample(requests_per_s=r) for r in (990.0, 490.0)],
    }
    first, odd_ones = watched.checks({CELL: samples}, [])
    assert (first.value, first.ok, odd_ones.ok) == (0.985, True, True)
    assert not watched.checks({CELL: samples}, ["a flow too many"])[1].ok


def run(module, *arguments):
    argv = [sys.executable, "-m", f"experiments.inspection.{module}", *arguments]
    return subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=170, check=False)


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("module", "arguments", "rows"),
    [
        ("reads", (), 13),
        ("cost", ("--rounds", "1", "--seconds", "0.3"), 8),
        ("watched", ("--rounds", "1", "--seconds", "1"), 4),
    ],
)
def test_a_tiny_run_prints_one_object_with_every_part(module, arguments, rows):
    done = run(module, "--quick", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert list(report) == ["machine", "build", "data", "rows", "checks"] and len(report["rows"]) == rows
    assert not any(row.get("errors") for row in report["rows"]), report["rows"]
    assert all(check["value"] is not None for check in report["checks"]), report["checks"]
    if module == "watched":
        assert report["data"]["odd"] == []


@pytest.mark.parametrize("module", ["cost", "watched"])
def test_a_mistake_is_named(module):
    done = run(module, "--rounds", "0")
    assert done.returncode == 2 and done.stdout == ""
    assert "--rounds" in done.stderr.splitlines()[-1]
