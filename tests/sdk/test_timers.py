"""`Module.every`: calls at intervals, in one thread, until the module ends."""

import threading

import pytest
from modnet import Module
from modnet.testing import running

PATIENCE = 20


class Ticking(Module):
    """Counts, and says when it has counted to three."""

    def __init__(self, settings=None):
        super().__init__(settings)
        self.ticks = []
        self.enough = threading.Event()

    def start(self):
        self.timer = self.every(0.001, self.tick, "word")

    def tick(self, word):
        self.ticks.append((word, threading.current_thread().name))
        if len(self.ticks) == 3:
            self.enough.set()


def test_a_timer_calls_with_its_arguments_in_a_thread_of_its_own():
    with running(Ticking()) as module:
        assert module.enough.wait(PATIENCE)
    assert set(module.ticks) == {("word", "modnet-timers")}


def test_no_call_comes_after_the_end():
    with running(Ticking()) as module:
        assert module.enough.wait(PATIENCE)
    count = len(module.ticks)
    assert not any(thread.name == "modnet-timers" for thread in threading.enumerate())
    assert len(module.ticks) == count


def test_a_timer_that_is_cancelled_is_not_called_while_others_are():
    class Two(Ticking):
        def start(self):
            self.every(0.001, lambda: self.ticks.append(("never", ""))).cancel()
            super().start()

    with running(Two()) as module:
        assert module.enough.wait(PATIENCE)
    assert ("never", "") not in module.ticks


def test_one_that_raises_is_told_and_called_again(caplog):
    class Failing(Ticking):
        def tick(self, word):
            super().tick(word)
            raise RuntimeError("no luck")

    with running(Failing()) as module:
        assert module.enough.wait(PATIENCE)
    assert "no luck" in caplog.text


def test_one_that_would_end_its_thread_is_told_and_called_again(caplog):
    class Leaving(Ticking):
        def tick(self, word):
            super().tick(word)
            raise SystemExit("of no use here")

    with running(Leaving()) as module:
        assert module.enough.wait(PATIENCE)
    assert "of no use here" in caplog.text


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_an_interval_that_is_none_is_refused(seconds):
    with pytest.raises(ValueError, match="above 0"):
        Module().every(seconds, print)
