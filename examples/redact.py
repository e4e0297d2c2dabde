"""Replaces words in what the application sends by stars, wherever TCP cuts them.

    modnet run -m examples/redact.py,word=secret,word=password -- python3 -m http.server

Shows settings, state of a flow, and holding bytes back: the end of a piece may be the beginning of a word,
so as much of it as could be one waits for the next piece. Stars are as many as letters: Content-Length
stays right.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import modnet


class Redact(modnet.Module):
    """Puts stars in place of words."""

    @dataclass(frozen=True)
    class Settings:
        """The words, in UTF-8; upper and lower case are different."""

        word: tuple[str, ...]

        def __post_init__(self) -> None:
            if not all(self.word):
                raise ValueError("word must not be empty")

    settings: Settings

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        # The longest first: of two words that begin alike it is the longer that is to go.
        self._words = sorted((word.encode() for word in settings.word), key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, self._words)))

    def opened(self, flow: modnet.Flow) -> None:
        flow.held = b""

    def outbound(self, flow: modnet.Flow, data: memoryview) -> bytes:
        text = flow.held + data
        done, cut = self._redact(text, len(text) - self._open_end(text))
        flow.held = text[cut:]
        return done

    def outbound_end(self, flow: modnet.Flow) -> bytes:
        return self._redact(flow.held, len(flow.held))[0]

    def _open_end(self, text: bytes) -> int:
        """How many bytes at the end may be the beginning of a word, or of a longer one."""
        longest = min(len(self._words[0]) - 1, len(text))
        for length in range(longest, 0, -1):
            if any(len(word) > length and text.endswith(word[:length]) for word in self._words):
                return length
        return 0

    def _redact(self, text: bytes, end: int) -> tuple[bytes, int]:
        """The words that begin before `end` replaced, and how much of `text` that took."""
        done = bytearray()
        at = 0
        while (match := self._pattern.search(text, at)) is not None and match.start() < end:
            done += text[at : match.start()] + b"*" * len(match[0])
            at = match.end()
        end = max(at, end)
        return bytes(done + text[at:end]), end
