"""A program on a real terminal: what it shows, keys, and the picture of it."""

import os
import sys
from pathlib import Path

from PIL import Image

from experiments.common.terminal import Terminal, png
from tests.lib.process import until

PROGRAM = r"""
import sys
print("\x1b[1mbold\x1b[0m \x1b[7mback\x1b[0m \u28ff", flush=True)
print("read", sys.stdin.readline().strip(), flush=True)
sys.stdin.readline()
"""


def test_what_a_program_shows_and_hears(tmp_path: Path) -> None:
    with Terminal(tmp_path, [sys.executable, "-c", PROGRAM], os.environ, columns=40, lines=10) as terminal:
        until(lambda: "bold back" in terminal.screen(), 20, "its words")
        assert "\x1b[1m" in terminal.screen(styled=True) and "\x1b" not in terminal.screen()
        terminal.press("x")
        terminal.press("Enter")
        until(lambda: "read x" in terminal.screen(), 20, "its answer")
        assert terminal.lives()
        terminal.press("Enter")
        until(lambda: not terminal.lives(), 20, "its end")
    assert not list(tmp_path.iterdir())


def inks(image: Image.Image, box: tuple[int, int, int, int]) -> set:
    return {ink for _, ink in image.crop(box).getcolors(1 << 16)}


def colours(image: Image.Image, column: int, row: int = 0) -> set[tuple[int, int, int]]:
    """Of one character; the margin is twelve pixels."""
    width = (image.width - 24) // 10
    box = (12 + column * width, 12 + row * 20, 12 + (column + 1) * width, 12 + (row + 1) * 20)
    return inks(image, box)


def test_a_screen_is_drawn_character_by_character(tmp_path: Path) -> None:
    screen = "a \x1b[7m \x1b[0m\u28ff\u2840\nsecond\n\n\n"
    image = Image.open(png(screen, tmp_path / "made/x.png", columns=10))
    nothing = colours(image, 1)
    assert len(nothing) == 1, "a blank is background alone"
    assert len(colours(image, 0)) > 2, "a letter has ink, and its edges"
    assert len(colours(image, 2)) == 1 and colours(image, 2) != nothing, "reversed, it is all ink"
    assert len(colours(image, 3)) > 1
    # Dot 7 alone is at the lower left.
    width = (image.width - 24) // 10
    left, above = 12 + 4 * width, 12
    assert inks(image, (left, above, left + width, above + 13)) == nothing
    assert inks(image, (left, above + 14, left + width, above + 20)) != nothing
    assert image.height == 24 + 2 * 20, "empty last lines are left out"
