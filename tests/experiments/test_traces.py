"""Traces: what a log's lines mean, and that a replay is in time, ends early, and does not hide failures."""

import os
import statistics
import threading
from pathlib import Path

import pytest

from experiments.common import traces
from experiments.common.errors import ExperimentError

SHARED = Path(os.environ.get("MODNET_TRACES") or Path(__file__).parents[3] / "shared/data/traces")


def write(tmp_path, text):
    path = tmp_path / "trace.log"
    path.write_text(text)
    return path


def test_a_line_s_bandwidth_is_its_bytes_over_its_milliseconds(tmp_path):
    path = write(tmp_path, "1285675666 310761 59.889623 10.763866 250000 1000\n1 2 0 0 125000 2000\n")
    assert traces.read(path) == [traces.Step(1.0, 2.0), traces.Step(2.0, 0.5)]


def test_what_is_slower_than_the_least_is_raised_to_it_and_gaps_are_cut(tmp_path):
    path = write(tmp_path, "1 2 0 0 0 30000\n")
    assert traces.read(path) == [traces.Step(5.0, 0.128)]
    assert traces.read(path, least_mbit=1) == [traces.Step(5.0, 1)]


@pytest.mark.parametrize("text", ["", "1 2 3\n", "1 2 0 0 100 0\n", "1 2 0 0 many 1000\n"])
def test_what_is_no_trace_is_named(tmp_path, text):
    with pytest.raises(ExperimentError, match=r"trace\.log"):
        traces.read(write(tmp_path, text))


def test_a_missing_trace_is_named(tmp_path):
    with pytest.raises(ExperimentError, match="absent"):
        traces.read(tmp_path / "absent.log")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the recorded traces are not here")
@pytest.mark.parametrize(
    ("name", "lines", "mbit"), [("img1", 457, 2.765), ("img2", 390, 1.995), ("img3", 1036, 1.569)]
)
def test_the_paper_s_traces_have_the_paper_s_figures(name, lines, mbit):
    steps = traces.read(SHARED / f"{name}.log", least_mbit=0)
    assert len(steps) == lines
    assert sum(step.mbit for step in steps) / lines == pytest.approx(mbit, abs=0.001)


@pytest.mark.parametrize("name", traces.PAPER)
def test_a_generated_trace_has_the_paper_s_figures_and_is_the_same_every_time(name):
    length, mean, cv = traces.PAPER[name]
    steps, origin = traces.find(name, None)
    rates = [step.mbit for step in steps]
    assert len(rates) == length and "generated" in origin
    assert statistics.fmean(rates) == pytest.approx(mean, rel=0.05)
    assert statistics.pstdev(rates) / statistics.fmean(rates) == pytest.approx(cv, rel=0.35)
    assert traces.find(name, None)[0] == steps


def test_a_trace_in_the_folder_comes_first(tmp_path):
    (tmp_path / "img1.log").write_text("1 2 0 0 125000 1000\n")
    steps, origin = traces.find("img1", tmp_path)
    assert steps == [traces.Step(1.0, 1.0)] and origin == str(tmp_path / "img1.log")


def test_a_trace_that_is_nowhere_is_named(tmp_path):
    with pytest.raises(ExperimentError, match="img9"):
        traces.find("img9", tmp_path)


def test_a_replay_sets_each_rate_in_turn_and_says_when():
    done: list[float] = []
    with traces.Replay(done.append, [traces.Step(0.01, mbit) for mbit in (1, 2, 3)]) as replay:
        assert replay.wait(10)
    assert done == [1, 2, 3] == [mbit for _, mbit in replay.rates]
    assert sorted(at for at, _ in replay.rates) == [at for at, _ in replay.rates]


def test_a_replay_ends_with_its_context():
    begun = threading.Event()
    with traces.Replay(lambda mbit: begun.set(), [traces.Step(1000, 1), traces.Step(1, 2)]) as replay:
        assert begun.wait(10)
    assert [mbit for _, mbit in replay.rates] == [1]
    assert replay.wait(0)


def test_a_replay_that_cannot_set_a_rate_says_so():
    def refuse(mbit):
        raise OSError(os.EX_NOPERM, "no")

    with pytest.raises(OSError), traces.Replay(refuse, [traces.Step(1000, 1)]) as replay:
        replay.wait(10)
