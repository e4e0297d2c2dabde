"""The kernel yank's experiment: what it takes for wrong, what it plans and judges, and tiny real runs."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from experiments import kernel_yank
from experiments.kernel_yank import analysis, measure, plan, resume
from experiments.kernel_yank.connection import Found
from experiments.kernel_yank.stream import Stream, WrongBytes, content

REPOSITORY = Path(kernel_yank.__file__).parents[2]


def written(*lengths: int) -> Stream:
    stream = Stream()
    for length in lengths:
        stream.written(length)
    return stream


def test_what_was_written_arrives():
    stream = written(10, 20)
    stream.arrived(content(0, 25))
    stream.arrived(content(25, 5))
    assert (stream.outstanding, stream.total) == (0, 30)


def test_what_was_yanked_is_passed_over():
    stream = written(30)
    stream.yanked(bytes(content(20, 10)))
    stream.written(5)
    stream.arrived(bytes(content(0, 20)) + bytes(content(30, 5)))
    assert stream.outstanding == 0


def test_a_yank_may_reach_over_a_hole_of_an_earlier_one():
    stream = written(30)
    stream.yanked(bytes(content(20, 10)))
    stream.written(5)
    stream.yanked(bytes(content(15, 5)) + bytes(content(30, 5)))
    stream.arrived(content(0, 15))
    assert stream.outstanding == 0


@pytest.mark.parametrize(
    "wrong",
    [
        bytes(content(1, 10)),
        bytes(content(0, 9)) + b"\x00\x01",
        bytes(content(0, 31)),
        bytes(content(0, 10)) * 2,
    ],
    ids=["lost", "changed", "beyond the end", "doubled"],
)
def test_what_is_not_the_stream_is_wrong(wrong: bytes):
    with pytest.raises(WrongBytes):
        written(30).arrived(wrong)


def test_a_yank_of_other_bytes_is_wrong():
    with pytest.raises(WrongBytes):
        written(30).yanked(bytes(content(19, 10)))


def test_every_link_family_control_script_and_option_is_planned():
    cases = plan.cases(tuple(plan.LINKS))
    assert {(c.link, c.options) for c in cases} == {(k, o) for k in plan.LINKS for o in plan.OPTIONS}
    assert sum(plan.trials_of(case, tuple(plan.LINKS), 10_000) for case in cases) >= 9_990
    scripts = plan.scripts(cases[0], 1)
    some = [next(scripts) for _ in range(80)]
    yanked = {(s.family, s.control, s.kind) for s in some if s.yanks}
    assert yanked == {(f, c, k) for f in plan.FAMILIES for c in plan.CONTROLS for k in plan.SCRIPTS}
    assert sum(not script.yanks for script in some) == 20


def test_where_stalls_are_compared_every_second_connection_is_a_control():
    scripts = plan.scripts(plan.Case("lossy", "both"), 1)
    assert [bool(next(scripts).yanks) for _ in range(4)] == [True, False, True, False]
    assert plan.loses_much("tbf 10", "neither") and not plan.loses_much("tbf 10", "no sack")
    assert not plan.loses_much("loopback", "neither")


def found(yanks: int = 8, **fields) -> Found:
    return Found(plan.Script("ipv4", "cubic", "bulk", yanks, 1), **fields)


def judged(link: str, *connections: Found) -> dict[str, analysis.Check]:
    rows = analysis.rows({plan.Case(link, "both"): connections}, [], [])
    return {check.name: check for check in analysis.checks(rows)}


def test_one_wrong_byte_or_reset_fails_the_run_in_a_control_too():
    checks = judged("loopback", found(wrong="a wrong byte"), found(0, reset="reset by peer"))
    assert (checks["wrong bytes"].value, checks["wrong bytes"].ok) == (1, False)
    assert (checks["resets"].value, checks["resets"].ok) == (1, False)


def test_a_stall_fails_a_link_that_loses_little_and_a_control_s_does_not():
    name = "connections that stalled > 1 s, links that lose little"
    assert not judged("tbf 10", found(stall_s=1.5))[name].ok
    assert not judged("tbf 10", found(hung=True))[name].ok
    assert judged("tbf 10", found(stall_s=0.9), found(0, stall_s=1.5))[name].ok


def test_on_a_lossy_link_more_stalls_than_the_control_has_fail_and_chance_does_not():
    calm, bad = {"stall_s": 0.1}, {"stall_s": 2.0}
    (name,) = (name for name in judged("lossy", found()) if "lose much" in name)

    def share(yanked: int, control: int) -> analysis.Check:
        many = [found(**(bad if i < yanked else calm)) for i in range(100)]
        few = [found(0, **(bad if i < control else calm)) for i in range(100)]
        return judged("lossy", *many, *few)[name]

    assert share(10, 8).ok and share(5, 20).ok
    assert not share(40, 8).ok
    assert not judged("lossy", found())[name].ok, "without a control nothing can be said"


def test_costs_are_held_to_the_issue_s_bounds():
    costs = [measure.Cost(10_000, [149.0], [20.0]), measure.Cost(1_000_000, [501.0], [20.0])]
    checks = {check.name: check for check in analysis.checks(analysis.rows({}, costs, []))}
    assert checks["10 KB, median µs"].ok and not checks["1,000 KB, median µs"].ok


def test_what_arrives_is_counted_from_the_yank_on():
    run = resume.Resumed("cubic", "no yank", [(-0.5, 100), (-0.1, 200), (0.05, 250), (0.2, 900)])
    assert (run.within(0.1), run.within(0.3)) == (50, 700)


def run(*arguments: str) -> subprocess.CompletedProcess:
    argv = [sys.executable, "-m", "experiments.kernel_yank", *arguments]
    return subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=110)


@pytest.mark.root
@pytest.mark.slow
def test_a_tiny_run_prints_one_object_with_every_part():
    done = run("--quick", "--json", "--links", "loopback,htb 50", "--trials", "32")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert list(report) == ["machine", "build", "data", "rows", "checks"]
    kinds = Counter(row["kind"] for row in report["rows"])
    assert kinds == {"trials": 8, "cost": 4, "resume": 6}
    trials = [row for row in report["rows"] if row["kind"] == "trials"]
    assert all(row["took"] >= plan.YANKS for row in trials)
    assert not any(row["wrong"] or row["resets"] or row["hung"] for row in trials)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(("--links", "isdn"), "isdn"), (("--parts", "al"), "al"), (("--trials", "3"), "--trials")],
)
def test_a_mistake_is_named(arguments: tuple[str, ...], word: str):
    done = run(*arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert word in done.stderr.splitlines()[-1]
