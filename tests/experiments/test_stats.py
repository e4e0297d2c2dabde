"""Statistics, rounds and reports: pure."""

import itertools
import json

import pytest

from experiments.common import report, stats
from experiments.common.report import Check, Report


def test_median_and_quartiles_stand_between_the_extremes():
    found = stats.spread([4.0, 1.0, 3.0, 2.0, 5.0])
    assert (found.q1, found.median, found.q3, found.count) == (2.0, 3.0, 4.0, 5)


def test_one_round_is_its_own_spread():
    assert stats.spread([7.0]) == stats.Spread(7.0, 7.0, 7.0, 1)


def test_no_rounds_have_no_median():
    with pytest.raises(ValueError, match="no rounds"):
        stats.spread([])


def test_ratios_are_taken_within_a_round_not_between_medians():
    # The machine halves its speed in the second round: the ratio of each round is what holds.
    assert stats.ratios([80.0, 40.0, 79.0], [100.0, 50.0, 100.0]).median == pytest.approx(0.8)


def test_a_round_without_a_base_says_nothing():
    assert stats.ratios([1.0, 2.0], [0.0, 4.0]) == stats.Spread(0.5, 0.5, 0.5, 1)


def test_rounds_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="match"):
        stats.ratios([1.0], [1.0, 2.0])


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_each_round_runs_every_variant_once_and_none_is_always_first(count):
    orders = [stats.order(count, number) for number in range(2 * count)]
    assert all(sorted(order) == list(range(count)) for order in orders)
    assert len({order[0] for order in orders}) == count


def test_no_variant_always_follows_the_same_other():
    followers = {}
    for number in range(10):
        order = stats.order(5, number)
        for first, second in itertools.pairwise(order):
            followers.setdefault(second, set()).add(first)
    assert all(len(before) > 1 for before in followers.values())


@pytest.mark.parametrize(
    ("value", "bound", "ok"),
    [
        (0.74, ">= 0.74", True),
        (0.739, ">= 0.74", False),
        (1.36, "<= 1.35", False),
        (0, "== 0", True),
        (1, "== 0", False),
    ],
)
def test_a_bound_is_met_or_not(value, bound, ok):
    assert report.check("x", value, bound).ok is ok


def test_what_was_not_measured_meets_no_bound():
    assert report.check("x", None, ">= 0") == Check("x", None, ">= 0", False)


def test_an_unknown_relation_is_a_mistake_not_a_pass():
    with pytest.raises(ValueError, match="relation"):
        report.check("x", 1.0, "> 0")


def test_a_report_prints_one_object_with_the_five_keys():
    made = Report({"kernel": "6"}, {}, {}, [{"variant": "a"}], [report.check("x", 0.123456789, ">= 0.1")])
    found = json.loads(made.json())
    assert list(found) == ["machine", "build", "data", "rows", "checks"]
    assert found["checks"] == [{"name": "x", "value": 0.12346, "bound": ">= 0.1", "ok": True}]
