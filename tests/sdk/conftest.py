"""What the SDK's tests share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A runtime directory; pytest's own is too long for a socket's path."""
    with tempfile.TemporaryDirectory(prefix="mn-") as name:
        # Root's must let workers in that have dropped their privileges.
        Path(name).chmod(0o711)
        yield Path(name)
