"""The experiments of one question run whole, in their quick form: every round is answered, the object has
every part."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.parametrize(("name", "variants"), [("apart", 3), ("inline", 15), ("yield", 20)])
def test_a_quick_run(name: str, variants: int) -> None:
    argv = [sys.executable, "-m", f"experiments.{name}", "--json", "--quick", "--rounds", "1"]
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert list(report) == ["machine", "build", "data", "rows", "checks"]
    assert len(report["rows"]) == variants
    assert all(not row["errors"] and row["p50_us"]["median"] > 0 for row in report["rows"])
    assert report["checks"][-1] == {"name": "rounds with errors", "value": 0.0, "bound": "== 0", "ok": True}
