"""A line of values drawn in characters: braille dots, two columns and four rows in each. Pure."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["chart"]

# Bit of the dot at (column, row) of a character, from the top (Unicode's order of braille dots).
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


def chart(values: Sequence[float | None], width: int, height: int) -> list[str]:
    """`height` lines of `width` characters: the newest values on the right, from 0 at the bottom to the
    largest at the top. Unknown values leave a gap.
    """
    shown: list[float | None] = [None] * max(0, 2 * width - len(values))
    shown += values[-2 * width :]
    top = max((value for value in shown if value is not None), default=0.0) or 1.0
    cells = [[0] * width for _ in range(height)]
    rows = 4 * height
    before: int | None = None
    for column, value in enumerate(shown):
        if value is None:
            before = None
            continue
        level = min(rows - 1, max(0, round(value / top * (rows - 1))))
        # A steep step is drawn as a line, not as two dots far apart.
        low, high = sorted((level, level if before is None else before))
        for one in range(low, high + 1):
            row = rows - 1 - one
            cells[row // 4][column // 2] |= _DOTS[column % 2][row % 4]
        before = level
    return ["".join(chr(0x2800 + bits) if bits else " " for bits in line) for line in cells]
