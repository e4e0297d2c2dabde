"""Revocation's experiment: what is measured, rows and checks from made-up decisions, and a tiny real run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import revocation
from experiments.revocation import analysis, loopback, measure, plan, sender

REPOSITORY = Path(revocation.__file__).parents[2]


def decision(unsent=0, reaction_s=0.05, rtt_us=40_000, **changes):
    values = {"flight": 60_000, "min_rtt_us": 1_000, "mss": 1448, **changes}
    return measure.Decision(unsent=unsent, rtt_us=rtt_us, reaction_s=reaction_s, **values)


def run(goodput=1e6, *decisions):
    return measure.Run(goodput, 0.1, list(decisions) or [decision()])


def by_name(checks, part):
    (found,) = [check for check in checks if part in check.name]
    return found


def test_over_loopback_the_two_are_compared_within_a_round():
    (found,) = loopback.checks({"forwarder": [100.0, 50.0, 80.0], "late": [96.0, 47.0, 80.0]})
    assert (found.value, found.ok) == (0.96, True)
    (found,) = loopback.checks({"forwarder": [100.0, 50.0, 80.0], "late": [90.0, 47.0, 60.0]})
    assert not found.ok
    (found,) = loopback.checks({"forwarder": [100.0, 50.0], "late": [100.0, 0.0]})
    assert (found.value, found.ok) == (None, False)


def test_every_way_is_measured_on_every_link_those_of_a_control_together():
    cases = plan.cases(("1", "10"), plan.CONTROLS, plan.WAYS)
    assert len(cases) == len(set(cases)) == 2 * len(plan.CONTROLS) * len(plan.WAYS)
    assert [case.control for case in cases] == sorted([case.control for case in cases], reverse=True)


def test_what_may_be_beyond_recall_is_a_millisecond_or_two_segments():
    assert plan.Case(1, "cubic", "late").bound(1448) == 2896
    assert plan.Case(100, "cubic", "late").bound(1448) == 12_500


def test_a_plain_buffer_is_asked_as_often_as_it_can_answer():
    length = plan.Length()
    assert [plan.Case(mbit, "bbr", "plain").decisions(length) for mbit in plan.RATES] == [1, 7, 30]
    assert plan.Case(1, "bbr", "late").decisions(length) == 30


def test_decisions_come_at_the_same_random_moments_for_the_same_seed():
    once, again = (list(sender.times(1.0, 5, 0.1, 7)) for _ in range(2))
    assert once == again and once != list(sender.times(1.0, 5, 0.1, 8))
    gaps = [b - a for a, b in zip([1.0, *once], once, strict=False)]
    assert all(0.05 <= gap <= 0.15 for gap in gaps)


def test_rows_compare_goodput_with_the_plain_way_of_the_same_round():
    plain, late = (plan.Case(10, "cubic", way) for way in ("plain", "late"))
    rows = analysis.rows({plain: [run(100), run(200)], late: [run(99), run(202)]})
    assert rows[1]["of_plain"]["median"] == 1.0
    assert rows[0]["of_plain"]["median"] == 1.0
    assert analysis.rows({late: [run(99)]})[0]["of_plain"] is None


def test_what_is_in_the_path_is_not_in_queues():
    case = plan.Case(10, "cubic", "late")
    assert analysis.in_queues(case, decision(flight=60_000, min_rtt_us=8_000)) == 50_000
    assert analysis.in_queues(case, decision(flight=1_000, min_rtt_us=8_000)) == 0


def test_checks_hold_late_binding_to_the_issue_s_bounds_and_the_others_to_none():
    plain, late, h2o = (plan.Case(10, "bbr", way) for way in ("plain", "late", "h2o"))
    checks = analysis.checks(
        {
            plain: [run(100, decision(unsent=900_000, reaction_s=0.78))],
            late: [run(98, decision(unsent=2896, reaction_s=0.044), decision(unsent=2897, reaction_s=None))],
            h2o: [run(50, decision(unsent=99_999))],
        }
    )
    assert not any("h2o" in check.name for check in checks)
    assert by_name(checks, "plain: reaction").ok
    assert not by_name(checks, "late: unsent").ok
    assert not by_name(checks, "late: goodput").ok
    later = by_name(checks, "late: reaction")
    assert later.ok and later.value == pytest.approx(4.0)
    assert by_name(checks, "never came").value == 1


def test_new_content_that_the_next_decision_has_taken_back_is_counted_apart():
    late = plan.Case(10, "bbr", "late")
    taken = [decision(reaction_s=None, overtaken=True), decision()]
    (row,) = analysis.rows({late: [run(98, *taken)]})
    assert (row["overtaken"], row["never_seen"]) == (1, 0)
    assert by_name(analysis.checks({late: [run(98, *taken)]}), "never came").ok


def test_only_all_of_the_new_content_counts_as_taken_back():
    old = bytes(5000)
    assert sender.has_new(old + sender.new(3) + old, 3)
    assert not sender.has_new(sender.new(3)[1:] + old, 3)
    assert not sender.has_new(old, 0)


def test_tcp_info_says_what_the_kernel_has_not_sent():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as near:
        near.connect(listener.getsockname())
        far, _ = listener.accept()
        near.setblocking(False)
        sent = near.send(bytes(16 << 20))
        info = sender.Info(near)
        far.close()
    assert 0 < info.unsent < sent and info.mss > 0 and info.cwnd > 0
    assert info.row(5, 6, False)["unsent"] == info.unsent


def ask(*arguments):
    argv = [sys.executable, "-m", "experiments.revocation", *arguments]
    return subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=110)


@pytest.mark.root
@pytest.mark.slow
def test_a_tiny_run_prints_one_object_with_every_part():
    done = ask(
        *("--json", "--rates", "10", "--controls", "cubic", "--rounds", "1"),
        *("--goodput", "2", "--decisions", "3", "--every", "0.1"),
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert list(report) == ["machine", "build", "data", "rows", "checks"]
    rows = {row["way"]: row for row in report["rows"]}
    assert tuple(rows) == plan.WAYS
    plain = rows.pop("plain")
    assert plain["unsent"]["median"] > 400_000 and plain["reaction_ms"]["median"] > 400
    for row in rows.values():
        assert row["decisions"] == 3 and row["unsent"]["median"] < 100_000, row
        assert row["reaction_ms"]["median"] < plain["reaction_ms"]["median"], row
    # 10 Mbit/s, and a bucket's burst, which is a tenth of what goes in so long.
    assert all(row["goodput"] < 1.25 * 1.25e6 for row in report["rows"])
    assert {check["ok"] for check in report["checks"]} <= {True, False}


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--rates", "3"), "'3'"),
        (("--ways", "plane"), "plane"),
        (("--rounds", "0"), "--rounds"),
        (("--decisions", "256"), "--decisions"),
        (("--goodput", "0.1"), "--goodput"),
    ],
)
def test_a_mistake_is_named(arguments, word):
    done = ask(*arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert word in done.stderr.splitlines()[-1]
