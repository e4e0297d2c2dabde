"""docs/revocation.md: what is shown, runs; and the docstrings of `modnet.revoke`."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from modnet.testing import Playback

PAGE = Path(__file__).parents[2] / "docs/revocation.md"


def test_the_page_s_code_runs_from_top_to_bottom() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    shown: dict[str, Any] = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), shown)
    playback = Playback(shown["Packed"]())
    playback.outbound(b"some bytes")
    assert playback.flow.journal.take_back(playback.flow, 5) == b"bytes"


@pytest.mark.parametrize("name", ["modnet.revoke", "modnet.revoke.journal"])
def test_docstring_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), raise_on_error=False)
    assert result.attempted > 0 and result.failed == 0
