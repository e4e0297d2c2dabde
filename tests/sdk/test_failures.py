"""Exceptions in hooks: said once with their traceback, then counted."""

from __future__ import annotations

import logging
import threading

import pytest
from modnet._failures import INTERVAL, Failures
from modnet.module import Module
from modnet.testing import Playback


def raised(error: Exception) -> Exception:
    """The exception with a traceback."""
    try:
        raise error
    except Exception as caught:
        return caught


def other(error: Exception) -> Exception:
    """From another line."""
    try:
        raise error
    except Exception as caught:
        return caught


def test_the_first_of_a_kind_has_a_traceback_and_later_ones_are_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 100.0
    failures = Failures(clock=lambda: now)
    for _ in range(5):
        failures.report("Shout", "outbound", "flow 7", raised(KeyError("x")))
    assert [record.getMessage() for record in caplog.records] == [
        "Shout.outbound failed on flow 7: KeyError: 'x'"
    ]
    assert caplog.records[0].levelno == logging.ERROR
    assert caplog.records[0].name == "modnet"
    assert caplog.records[0].exc_info is not None
    now += INTERVAL
    failures.report("Shout", "outbound", "flow 8", raised(KeyError("y")))
    assert caplog.records[1].getMessage() == (
        "Shout.outbound failed on flow 8: KeyError: 'y' (4 more like it since the last such line)"
    )
    assert caplog.records[1].exc_info is None
    assert failures.total == 6


def test_another_hook_type_or_line_is_another_kind(caplog: pytest.LogCaptureFixture) -> None:
    failures = Failures(clock=lambda: 0.0)
    failures.report("M", "outbound", "1", raised(KeyError()))
    failures.report("M", "inbound", "1", raised(KeyError()))
    failures.report("M", "outbound", "1", raised(ValueError()))
    failures.report("M", "outbound", "1", other(KeyError()))
    failures.report("M", "outbound", "1", KeyError())
    assert len(caplog.records) == 5


def test_what_is_remembered_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    failures = Failures(clock=lambda: 0.0)
    for number in range(2000):
        failures.report("M", f"hook{number}", "1", raised(KeyError()))
    assert len(failures._kinds) <= 256


def test_a_module_reports_even_if_its_init_never_called_the_parents(caplog: pytest.LogCaptureFixture) -> None:
    class Own(Module):
        def __init__(self, settings: object) -> None:
            pass

    module = Own(None)
    flow = Playback(module, peer=None).flow
    threads = [
        threading.Thread(target=module._hook_failed, args=("outbound", flow, raised(KeyError())))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert module.__dict__["_failures"].total == 8
    assert [record.getMessage() for record in caplog.records] == [
        f"Own.outbound failed on flow {flow.id} from an unknown peer: KeyError: "
    ]
