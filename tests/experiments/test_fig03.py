"""Figure 3: what is measured where, rows and checks from made-up samples, and one tiny real run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import fig03
from experiments.fig03 import analysis, measure, plan

REPOSITORY = Path(fig03.__file__).parents[2]
SMALL = plan.Cell("100B", "new", "unshaped")


def sample(requests_per_s, busy_us=50.0, **changes):
    values = {"bytes_per_s": 1.0, "p50_us": 10.0, "p99_us": 20.0, "busy": 1.0, "client_busy": 0.5, **changes}
    return measure.Sample(requests_per_s=requests_per_s, busy_us=busy_us, **values)


def results(**variants):
    return {
        SMALL: {
            name.replace("_", "-"): [sample(*values) for values in rounds]
            for name, rounds in variants.items()
        }
    }


def by_name(checks, part):
    (found,) = [check for check in checks if part in check.name]
    return found


def test_the_full_plan_measures_every_size_mode_and_link():
    cells = plan.cells(plan.Selection(plan.VARIANTS))
    assert {(c.size, c.mode, c.link) for c in cells} == {
        (s, m, ln) for s in plan.SIZES for m in plan.MODES for ln in plan.LINKS
    }
    assert set(cells[SMALL]) == set(plan.VARIANTS)
    assert all(names[0] == plan.NATIVE for names in cells.values())


def test_the_checked_cells_are_those_that_the_checks_use():
    cells = plan.cells(plan.Selection(plan.VARIANTS, checked_only=True))
    made = {cell: {name: [sample(1.0)] for name in names} for cell, names in cells.items()}
    assert len(analysis.checks(made)) == 29
    assert {check.name.split(":")[0] for check in analysis.checks(made)} == {
        *map(str, cells),
        "rounds with errors",
    }


def test_a_selection_narrows_and_native_stays_as_the_base():
    cells = plan.cells(plan.Selection(("forwarder",), sizes=("1MB",), modes=("new",), links=("1gbit",)))
    assert cells == {plan.Cell("1MB", "new", "1gbit"): ("native", "forwarder")}


def test_rows_carry_ratios_spread_and_the_paper():
    rows = analysis.rows(results(native=[(100, 50), (200, 50)], forwarder=[(80, 60), (150, 70)]))
    native, forwarder = rows
    assert native["ratio"]["median"] == 1.0 and native["paper"] is None
    assert forwarder["ratio"] == {"median": 0.775, "q1": 0.7625, "q3": 0.7875}
    assert forwarder["busy_ratio"]["median"] == 1.3
    assert forwarder["paper"]["ratio"] == [0.75, 0.85]
    assert forwarder["ok"] and forwarder["rounds"] == 2


def test_checks_hold_the_figures_to_their_bounds():
    checks = analysis.checks(
        results(native=[(100, 50)], forwarder=[(86, 70)], prototype=[(85, 66)], haproxy=[(50, 80)])
    )
    assert by_name(checks, "requests_per_s of forwarder / native").ok
    assert by_name(checks, "requests_per_s of forwarder / haproxy").ok
    assert not by_name(checks, "busy_us of forwarder / native").ok
    assert not by_name(checks, "requests_per_s of forwarder / prototype").ok
    assert not any("nginx-proxy" in check.name for check in checks), "what was not measured is not judged"


def test_errors_spoil_a_row_and_every_check_on_it():
    made = results(native=[(100, 50)], forwarder=[(90, 50)])
    made[SMALL]["forwarder"] = [sample(90.0, errors={"read": 3})]
    (row,) = [row for row in analysis.rows(made) if row["variant"] == "forwarder"]
    assert not row["ok"] and row["errors"] == {"read": 3} and row["ratio"] is None
    checks = analysis.checks(made)
    assert [check.ok for check in checks] == [False] * len(checks)
    assert by_name(checks, "rounds with errors").value == 1


def test_the_paper_s_values_are_those_of_section_5_2():
    values = {name: plan.paper(name, SMALL) for name in plan.VARIANTS}
    assert {name: value["ratio"] for name, value in values.items() if value} == {
        "forwarder": [0.75, 0.85],
        "nginx-proxy": [0.5, 0.5],
        "chain-5": [0.48, 0.48],
        "chain-10": [0.25, 0.25],
    }
    assert plan.paper("forwarder", plan.Cell("1MB", "keep", "unshaped")) is None


def run(*arguments):
    argv = [sys.executable, "-m", "experiments.fig03", *arguments]
    return subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=110)


@pytest.mark.root
@pytest.mark.slow
def test_a_tiny_run_prints_one_object_with_every_part():
    done = run(
        *("--json", "--rounds", "2", "--seconds", "0.4", "--variants", "haproxy", "--sizes", "100B,1MB"),
        *("--modes", "new,keep", "--links", "1gbit"),
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert list(report) == ["machine", "build", "data", "rows", "checks"]
    assert [(r["variant"], r["size"], r["mode"]) for r in report["rows"]] == [
        (variant, size, mode)
        for mode in ("new", "keep")
        for size in ("100B", "1MB")
        for variant in ("native", "haproxy")
    ]
    for row in report["rows"]:
        assert row["ok"] and row["rounds"] == 2 and row["link"] == "1gbit", row
        assert 0 < row["p50_us"]["median"] <= row["p99_us"]["median"]
        assert row["busy_us"]["median"] > 0 and 0 < row["busy"]["median"] <= 1
        # 1 Gbit/s of frames is the bound, give or take what was under way when the clock started.
        assert row["bytes_per_s"]["median"] < 150e6
        assert (row["processes_us"].get("haproxy", 0) > 5) == (row["variant"] == "haproxy")
    assert report["checks"] == [{"name": "rounds with errors", "value": 0.0, "bound": "== 0", "ok": True}]


@pytest.mark.root
@pytest.mark.slow
def test_late_binding_and_another_build_are_measured_in_the_same_rounds():
    done = run(
        *("--json", "--rounds", "1", "--seconds", "0.4", "--variants", "forwarder,late", "--sizes", "1MB"),
        *("--modes", "new", "--links", "unshaped", "--before", str(REPOSITORY)),
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {row["variant"] for row in report["rows"]} == {"native", "forwarder", "late", "before"}
    assert all(row["ok"] for row in report["rows"]), report["rows"]
    assert report["build"]["before"] == report["build"]["commit"]
    assert by_bound(report, ">= 0.95").endswith("late / forwarder")
    assert by_bound(report, ">= 0.98").endswith("forwarder / before")


def by_bound(report, bound):
    (found,) = [check["name"] for check in report["checks"] if check["bound"] == bound]
    return found


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--variants", "nativ"), "nativ"),
        (("--sizes", "2GB"), "2GB"),
        (("--rounds", "0", "--variants", "native"), "--rounds"),
        (("--seconds", "0.01", "--variants", "native"), "--seconds"),
        (("--quick", "--sizes", "100KB"), "nothing to measure"),
        (("--variants", "before"), "--before"),
        (("--before", "/tmp"), "make build"),
    ],
)
def test_a_mistake_is_named(arguments, word):
    done = run(*arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert word in done.stderr.splitlines()[-1]
