"""Inspection's experiment: what is measured, errors and checks from made-up moments, and tiny real runs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from modnet.estimate.snapshot import seq_diff

from experiments import inspection, net
from experiments.common import traces
from experiments.common.shaping import Shape
from experiments.inspection import analysis, measure, plan, reader, transfer

REPOSITORY = Path(inspection.__file__).parents[2]


def moment(at_s, truth=100.0, said=100.0, queued=True):
    others = dict.fromkeys(measure.ESTIMATORS, said)
    return measure.Moment(at_s, truth, others, 0.5, queued)


def test_the_full_plan_measures_every_rate_control_and_place():
    cases = plan.cases(plan.Selection())
    steady = {(c.link, c.control, c.place) for c in cases if c.kind == "steady"}
    assert steady == {(str(r), c, p) for r in plan.RATES for c in plan.CONTROLS for p in plan.PLACES}
    assert {(c.link, c.place) for c in cases if c.kind == "trace"} == {(t, "router") for t in plan.TRACES}
    assert len(cases) == len(set(cases))


def test_an_error_is_the_share_of_the_truth_in_either_direction():
    assert analysis.error(moment(0, said=80.0), "rate") == pytest.approx(0.2)
    assert analysis.error(moment(0, said=120.0), "rate") == pytest.approx(0.2)
    assert analysis.error(moment(0, said=None), "rate") is None


def test_silence_is_counted():
    found = analysis.errors([moment(0, said=None), moment(1, said=90.0)], "pair")
    assert found == {"median": 0.1, "p90": 0.1, "worst": 0.1, "silent": 0.5}
    assert analysis.errors([moment(0, said=None)], "pair")["median"] is None


def test_a_step_is_judged_a_second_after_it():
    moments = [moment(i / 8, truth=100.0 if i < 16 else 10.0) for i in range(50)]
    assert [m.at_s for m in analysis.settled(moments)] == [3.0, 3.125]


def test_steady_and_traces_are_judged_while_data_is_queued_and_responses_at_their_beginning():
    run = measure.Run([moment(0), moment(1, queued=False)], starts=[moment(2)])
    for kind, times in (("steady", [0]), ("trace", [0]), ("responses", [2])):
        case = plan.Case(kind, "1", "cubic", "router")
        assert [m.at_s for m in analysis.judged(case, run)] == times


def test_checks_hold_the_bandwidth_s_median_error_to_the_issue_s_bounds():
    case = plan.Case("steady", "1", "cubic", "router")
    run = measure.Run([moment(0, said=93.0)], fresh=[moment(0, said=85.0)])
    steady, thirtieth = analysis.checks({case: run})
    assert (steady.value, steady.bound, steady.ok) == (0.07, "<= 0.05", False)
    assert (thirtieth.value, thirtieth.bound, thirtieth.ok) == (0.15, "<= 0.2", True)


def test_a_case_without_any_estimate_fails_its_check():
    case = plan.Case("responses", "1", "cubic", "router")
    (check,) = analysis.checks({case: measure.Run(starts=[moment(0, said=None)])})
    assert check.value is None and not check.ok


@pytest.mark.root
@pytest.mark.parametrize("source", reader.SOURCES)
def test_readings_are_consistent_and_reach_the_last_byte(source):
    with reader.enabled(source), net.Hosts(router=True) as hosts:
        hosts.shape(Shape(20))
        found = transfer.fresh(hosts)
    last = found.readings[-1]
    assert {reading.source for reading in found.readings} == {source}
    assert last.bytes_acked == plan.FRESH_BYTES and last.mss == 1448
    assert last.snd_una == last.snd_nxt == last.write_seq
    for before, after in zip(found.readings, found.readings[1:], strict=False):
        assert before.updated_ns <= after.updated_ns
        assert before.bytes_acked <= after.bytes_acked and before.delivered <= after.delivered
        assert seq_diff(after.snd_nxt, after.snd_una) >= 0 and seq_diff(after.write_seq, after.snd_nxt) >= 0


@pytest.mark.root
@pytest.mark.parametrize("place", plan.PLACES)
def test_a_transfer_s_bandwidth_is_the_link_s(place):
    length = plan.Length(steady_s=2.0, fresh=0)
    case = plan.Case("steady", "5", "cubic", place)
    with reader.enabled("bpf"):
        run = measure.Bench(length, {}).run([case], lambda: None)[case]
    assert not run.fresh
    assert analysis.errors(analysis.judged(case, run), "bandwidth")["median"] < 0.05


@pytest.mark.root
def test_a_replayed_trace_is_the_truth_of_its_moments():
    length = plan.Length(trace_s=2.0)
    case = plan.Case("trace", "img1", "cubic", "router")
    steps = [traces.Step(1.0, 4), traces.Step(1.0, 2), traces.Step(1.0, 8)]
    with reader.enabled("sampled"):
        run = measure.Bench(length, {"img1": steps}).run([case], lambda: None)[case]
    truths = list(dict.fromkeys(m.truth for m in run.moments))
    assert truths == [Shape(4).payload, Shape(2).payload]
    assert run.moments[-1].said["bandwidth"] == pytest.approx(Shape(2).payload, rel=0.2)


def run(*arguments):
    argv = [sys.executable, "-m", "experiments.inspection", *arguments]
    return subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=110)


@pytest.mark.root
@pytest.mark.slow
def test_a_tiny_run_prints_one_object_with_every_part(tmp_path):
    done = run(
        *("--quick", "--json", "--rates", "10", "--controls", "bbr", "--traces", "img1"),
        *("--seconds", "1", "--trace-seconds", "2", "--traces-from", str(tmp_path)),
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert list(report) == ["machine", "build", "data", "rows", "checks"]
    assert [row["kind"] for row in report["rows"]] == ["steady", "at 30", "step", "responses", "trace"]
    assert {row["control"] for row in report["rows"]} == {"bbr"}
    assert report["rows"][0]["error"]["pair"]["median"] is not None, "the kernel tells of packets"
    assert all(row["error"]["bandwidth"]["median"] is not None for row in report["rows"])
    assert "generated" in report["data"]["traces"]["img1"]
    assert [check["bound"] for check in report["checks"]] == [
        f"<= {bound}" for bound in (0.05, 0.2, 0.2, 0.15, 0.12)
    ]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--rates", "3"), "'3'"),
        (("--kinds", "stedy"), "stedy"),
        (("--seconds", "0.1"), "--seconds"),
        (("--trace-seconds", "0"), "--trace-seconds"),
    ],
)
def test_a_mistake_is_named(arguments, word):
    done = run(*arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert word in done.stderr.splitlines()[-1]
