"""The files that servers serve: sizes from 0 B to 8 MB, most of them small, from one seed.

Rules: the same seed makes the same tree. A name begins with the size, so that a log tells what was asked for.
"""

import functools
import hashlib
import random
from dataclasses import dataclass
from pathlib import Path

# (share of the requests, smallest, largest, files). Skewed so that 10,000 connections take minutes, not
# hours: the mean is some 80 KB, and one request in a hundred is for megabytes.
BANDS = (
    (0.04, 0, 0, 1),
    (0.14, 1, 100, 12),
    (0.32, 101, 1460, 24),
    (0.25, 1461, 10_000, 16),
    (0.15, 10_001, 70_000, 12),
    (0.07, 70_001, 300_000, 8),
    (0.02, 300_001, 1_000_000, 4),
    (0.01, 1_000_001, 8_000_000, 4),
)


@dataclass(frozen=True)
class Blob:
    """Bytes with their digest; `name` is the path below the server's root."""

    name: str
    data: bytes

    @functools.cached_property
    def digest(self) -> bytes:
        return hashlib.sha256(self.data).digest()


class Tree:
    """The files of one seed, written below `directory`."""

    def __init__(self, directory: Path, seed: int) -> None:
        draw = random.Random(seed)
        self.bands: list[list[Blob]] = []
        for _, smallest, largest, count in BANDS:
            sizes = [draw.randint(smallest, largest) for _ in range(count)]
            if largest == BANDS[-1][2]:
                sizes[-1] = largest
            blobs = [Blob(f"{size}-{number}", draw.randbytes(size)) for number, size in enumerate(sizes)]
            for blob in blobs:
                (directory / blob.name).write_bytes(blob.data)
            self.bands.append(blobs)

    def pick(self, draw: random.Random, smallest: int = 0, largest: int = 8_000_000) -> Blob:
        """A blob by the bands' shares, from the bands that lie within the limits."""
        fit = [i for i, (_, low, high, _) in enumerate(BANDS) if low >= smallest and high <= largest]
        band = draw.choices(fit, [BANDS[i][0] for i in fit])[0]
        return draw.choice(self.bands[band])
