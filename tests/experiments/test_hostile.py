"""experiments/hostile: run whole, in its quick form; every attack comes about, nobody's request fails."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.hostile import plan

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_quick_run() -> None:
    argv = [sys.executable, "-m", "experiments.hostile", "--json", "--quick", "--rounds", "1"]
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert list(report) == ["machine", "build", "data", "rows", "checks"]
    cells = [(row["variant"], row["attack"]) for row in report["rows"]]
    assert cells == [(variant, attack) for variant in plan.VARIANTS for attack in plan.SITUATIONS]
    assert all(not row["errors"] and row["p99_us"]["median"] > 0 for row in report["rows"])
    # Memory does not depend on what else the machine does; latency does, and is for a quiet one.
    memory = [check for check in report["checks"] if check["name"].endswith("grows by")]
    assert len(memory) == len(plan.ATTACKS) and all(check["ok"] for check in memory), memory
    assert report["checks"][-1] == {"name": "rounds with errors", "value": 0.0, "bound": "== 0", "ok": True}
