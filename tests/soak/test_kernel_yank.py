"""The kernel yank for long: a hundred thousand steps against the model, all trials of the experiment."""

import json
import subprocess
import sys

import pytest
from hypothesis import settings

from tests.lib.users import REPOSITORY
from tests.revoke.test_kernel_model import SETTINGS, KernelYank

pytestmark = [pytest.mark.soak, pytest.mark.root]


@pytest.mark.timeout(1800)
class TestKernelYankForLong(KernelYank.TestCase):
    """Two thousand connections of fifty steps."""

    settings = settings(SETTINGS, max_examples=2000, stateful_step_count=50)


@pytest.mark.timeout(7200)
def test_in_ten_thousand_trials_no_byte_is_wrong_and_nothing_is_reset():
    argv = [sys.executable, "-m", "experiments.kernel_yank", "--parts", "trials", "--json"]
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    assert sum(row["took"] + sum(row["refused"].values()) for row in report["rows"]) >= 10_000
    assert [check for check in report["checks"] if not check["ok"]] == []
