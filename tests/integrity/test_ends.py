"""The client's end in all its forms: natively, with fresh and with pooled pairs an application is shown the
same, but for what ends.py names.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integrity import ends
from tests.lib.modnet import places

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "ends.md"


@pytest.fixture(scope="module")
def results() -> Iterator[dict[str, ends.Seen]]:
    """What every setting shows in every case."""
    for modnet in places():
        yield {setting: ends.seen(modnet, setting) for setting in ends.SETTINGS}


@pytest.mark.parametrize("setting", ends.SETTINGS[1:])
def test_every_end_is_shown_as_natively(setting: str, results: dict[str, ends.Seen]) -> None:
    expected = ends.expected(results["native"], setting)
    different = {
        f"{case}, {case.look} ({' → '.join(case.steps)})": {"shown": shown, "expected": expected[case]}
        for case, shown in results[setting].items()
        if shown != expected[case]
    }
    assert different == {}


def test_the_document_is_what_was_seen(results: dict[str, ends.Seen]) -> None:
    drawn = ends.document(results)
    if os.environ.get("MODNET_WRITE_DOCS") == "1":
        DOCUMENT.write_text(drawn)
    assert DOCUMENT.exists() and DOCUMENT.read_text() == drawn, (
        "out of date: MODNET_WRITE_DOCS=1 python -m pytest tests/integrity/test_ends.py"
    )
