"""Late binding against its model, long: a hundred thousand steps of each kind."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.revoke.late_model import SETTINGS
from tests.revoke.test_late_model import FlowModel, SocketModel

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

LONG = settings(SETTINGS, max_examples=2500, stateful_step_count=40)


class TestSocket(SocketModel.TestCase):
    """Sockets of this process."""

    settings = LONG


class TestFlow(FlowModel.TestCase):
    """Flows through a revocable module."""

    settings = LONG
