"""A real terminal (tmux) that a program runs in: what it shows, keys for it, and a picture of it.

Rule: every terminal is a tmux server of its own, at a socket in a folder of the caller's; `close` ends it. It
must not know what runs in it.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.segment import Segment
from rich.text import Text

from experiments.common.errors import ExperimentError

_BACKGROUND, _INK, _DIM = (24, 26, 31), (214, 218, 224), (128, 134, 144)
_COLOURS = {"cyan": (86, 182, 194), "red": (224, 108, 117), "green": (152, 195, 121)}
_POINTS, _MARGIN = 15, 12
_BRAILLE = 0x2800
# Place of each bit's dot in a character, from the left and the top, of 2 by 4 (Unicode's order).
_DOTS = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))


@dataclass
class Terminal:
    """`argv` in a terminal of so many characters. A context manager."""

    folder: Path
    argv: Sequence[str]
    environment: Mapping[str, str]
    columns: int = 160
    lines: int = 40
    socket: Path = field(init=False)

    def __enter__(self) -> Terminal:
        self.socket = self.folder / "tmux"
        environment = {**self.environment, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        size = ("-x", str(self.columns), "-y", str(self.lines))
        argv = ["tmux", "-S", str(self.socket), "-f", "/dev/null", "new-session", "-d", *size]
        try:
            done = subprocess.run(
                [*argv, shlex.join(self.argv)], env=environment, capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            raise ExperimentError("tmux is missing: apt-get install tmux") from None
        if done.returncode:
            raise ExperimentError(f"tmux does not start: {done.stderr.strip()}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tmux("kill-server")
        self.socket.unlink(missing_ok=True)

    def screen(self, styled: bool = False) -> str:
        """What it shows; `styled` with the escape sequences of its colours."""
        return self._tmux("capture-pane", "-p", *(["-e"] if styled else []))

    def press(self, key: str) -> None:
        """A key, by tmux's name of it."""
        self._tmux("send-keys", key)

    def lives(self) -> bool:
        """Whether the program still runs."""
        return bool(self._tmux("list-sessions"))

    def _tmux(self, *words: str) -> str:
        argv = ["tmux", "-S", str(self.socket), *words]
        return subprocess.run(argv, text=True, capture_output=True, timeout=30, check=False).stdout


def png(screen: str, path: Path, columns: int) -> Path:
    """Draws a styled screen, character by character. Its empty last lines are left out."""
    # Late: they come with matplotlib, which not every run needs.
    from matplotlib import get_data_path
    from PIL import Image, ImageDraw, ImageFont

    fonts = {
        bold: ImageFont.truetype(
            str(Path(get_data_path(), f"fonts/ttf/DejaVuSansMono{'-Bold' * bold}.ttf")), _POINTS
        )
        for bold in (False, True)
    }
    width, height = round(fonts[False].getlength("M")), round(_POINTS * 1.3)
    lines = screen.rstrip().splitlines()
    size = (2 * _MARGIN + width * columns, 2 * _MARGIN + height * len(lines))
    image = Image.new("RGB", size, _BACKGROUND)
    draw = ImageDraw.Draw(image)
    for row, line in enumerate(lines):
        for column, (character, ink, paper, bold) in enumerate(_characters(line)):
            x, y = _MARGIN + column * width, _MARGIN + row * height
            if paper != _BACKGROUND:
                draw.rectangle((x, y, x + width - 1, y + height - 1), fill=paper)
            bits = ord(character) - _BRAILLE
            if 0 <= bits < 256:
                # By hand: fonts have these too large or not at all.
                for bit, (across, down) in enumerate(_DOTS):
                    if bits >> bit & 1:
                        at_x, at_y = x + width * (0.25 + 0.5 * across), y + height * (0.125 + 0.25 * down)
                        draw.ellipse((at_x - 1.2, at_y - 1.2, at_x + 1.2, at_y + 1.2), fill=ink)
            elif character != " ":
                draw.text((x, y), character, font=fonts[bold], fill=ink)
    path.parent.mkdir(exist_ok=True)
    image.save(path, optimize=True)
    return path


_Colour = tuple[int, int, int]


def _characters(line: str) -> Iterator[tuple[str, _Colour, _Colour, bool]]:
    """Each character of a line with its ink, its paper, and whether it is bold."""
    console = Console(width=1000, color_system="truecolor")
    for segment in Text.from_ansi(line).render(console):
        assert isinstance(segment, Segment)
        style = segment.style
        name = style.color.name if style and style.color else ""
        ink = _DIM if style and style.dim else _COLOURS.get(name, _INK)
        paper = _BACKGROUND
        if style and style.reverse:
            ink, paper = paper, ink
        for character in segment.text.rstrip("\n"):
            yield character, ink, paper, bool(style and style.bold)
