"""A folder that every user can read, for what servers serve; it ends with its `with` block.

Rejected: pytest's `tmp_path`, opened to others: every run of pytest that begins closes the folders above it.
"""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path


@contextlib.contextmanager
def served(files: Mapping[str, bytes]) -> Iterator[Path]:
    """A folder with these in it."""
    with tempfile.TemporaryDirectory(prefix="mn-www-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for file, data in files.items():
            (folder / file).write_bytes(data)
        yield folder
