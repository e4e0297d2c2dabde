"""The policy `adaptive` against every fixed level in the model of downloads.py: Figure 4 without noise."""

import functools
from pathlib import Path

import pytest
from modnet.modules._levels import Adaptive, Machine

from experiments.common import traces
from experiments.fig04 import plan
from tests.http.downloads import Link, fixed, mean_s

LEVELS = (1, 2, 3, 6, 8)


def adaptive_s(link, clients, each):
    """Mean time with the policy, once its machine has seen the network."""
    machine = Machine(1)
    policies = functools.partial(lambda: Adaptive(machine, 0, 9).level)
    mean_s(policies, link, clients, 1, machine)
    return mean_s(policies, link, clients, each, machine)


def test_the_model_has_links_and_a_processor_that_bound_what_is_possible():
    # 3 MB at level 1 are 426 KB, for which 2 Mbit/s take 1.78 s; eight bodies share one processor.
    assert mean_s(fixed(1), Link.steady(2), 1) == pytest.approx(1.78, rel=0.02)
    one, eight = (mean_s(fixed(9), Link.steady(2400), clients) for clients in (1, 8))
    assert eight == pytest.approx(8 * one, rel=0.1)
    assert mean_s(fixed(1), Link(((0.5, 2.0), (0.5, 240.0))), 1) == pytest.approx(0.51, rel=0.05)


@pytest.mark.parametrize(
    ("mbit", "clients"), [(240, 4), (240, 8), (50, 20), (10, 4), (10, 40), (2, 4), (2, 40)]
)
def test_at_any_rate_it_is_as_good_as_the_best_level(mbit, clients):
    link = Link.steady(mbit)
    best = min(mean_s(fixed(level), link, clients) for level in LEVELS)
    assert adaptive_s(link, clients, 1) <= 1.03 * best


PHASES = (0.0, 0.37, 0.74)
"""When all begins. What one turn lets pass decides about all that follows: of one phase alone nothing can be
said within a tenth.
"""


@pytest.mark.parametrize("turns", [((0.3, 240.0), (5.0, 2.0)), ((2.0, 4.0), (0.3, 240.0))])
def test_on_a_link_that_changes_it_is_better_than_any_level(turns):
    links = [Link(turns, begin) for begin in PHASES]
    best = min(sum(mean_s(fixed(level), link, 4, 12) for link in links) for level in LEVELS)
    assert sum(adaptive_s(link, 4, 12) for link in links) < best


@pytest.mark.parametrize(
    ("turns", "times"), [(((1.0, 4.0), (0.05, 240.0)), 1.1), (((0.05, 240.0), (1.5, 2.0)), 1.25)]
)
def test_on_a_link_that_changes_faster_than_it_is_asked_it_is_near_the_best_level(turns, times):
    # Four bodies share the processor, and each is asked after 3.6 ms of its own: once or twice in a turn of
    # 50 ms. That is enough to send all four by level 1, and too short to find out. What a network had is
    # believed until a connection has shown something else, which costs a tenth here: where 40 clients begin
    # together at 2 Mbit/s the same makes it a tenth faster.
    links = [Link(turns, begin) for begin in PHASES]
    best = min(sum(mean_s(fixed(level), link, 4, 12) for link in links) for level in LEVELS)
    assert sum(adaptive_s(link, 4, 12) for link in links) < times * best


def test_on_links_that_change_as_recorded_ones_it_is_better_than_any_level():
    recorded = [traces.find(name, Path("/nonexistent"))[0] for name in plan.TRACES]
    parts = [plan.changing(steps, number) for number, steps in enumerate(recorded)]
    links = [Link(tuple((step.seconds, step.mbit) for step in part)) for part in parts]
    best = min(sum(mean_s(fixed(level), link, 4, 8) for link in links) for level in LEVELS)
    assert sum(adaptive_s(link, 4, 8) for link in links) < best
