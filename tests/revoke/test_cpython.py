"""CPython's own tests of sockets, over revocable ones."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.integrity import cpython

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_cpython_s_socket_tests_pass_over_revocable_sockets() -> None:
    argv = [cpython.python(), str(Path(__file__).with_name("cpython_socket.py"))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=110)
    assert "FAILED" not in done.stdout, done.stdout + done.stderr[-2000:]
    ran = re.search(r"ran (\d+) skipped \d+ revocable (\d+)", done.stdout)
    assert ran and int(ran[1]) > 100 and int(ran[2]) > 100, done.stdout + done.stderr[-2000:]
