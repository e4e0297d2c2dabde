"""The types of the extension are those of the binary."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_stub_says_what_the_binary_has() -> None:
    command = [sys.executable, "-m", "mypy.stubtest", "modnet._native", "--concise"]
    done = subprocess.run(
        command, cwd=ROOT, env={"MYPYPATH": "python", "PYTHONPATH": "python"}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
