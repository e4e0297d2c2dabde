"""Mixed exchanges, generated: every body is what it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.http.exchanges import run


@pytest.mark.timeout(120)
def test_mixed_exchanges_are_intact(tmp_path: Path) -> None:
    counts = run(1_500, tmp_path)
    print(dict(counts))
    assert counts["compressed"] > 200 and counts["as it was"] > 200
    assert all(counts[framing] > 50 for framing in ("length", "chunks", "close"))


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_mixed_exchanges_are_intact(tmp_path: Path) -> None:
    counts = run(100_000, tmp_path, seed=2)
    print(dict(counts))
    assert counts["compressed"] + counts["as it was"] >= 100_000
