"""Adds a header to the first HTTP/1 response of each connection.

    modnet run -m header,name=X-Served-Through,value=modnet -- python3 -m http.server

Only the status line is looked at. From there on the direction is native again, so that a long answer costs
no more than without the module; finding the responses after the first would need HTTP framing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import modnet

__all__ = ["Header"]

_START = b"HTTP/1."
# Apache's limit for a request line; a longer status line is none.
_LONGEST = 8190


class Header(modnet.Module):
    """Adds one header."""

    @dataclass(frozen=True)
    class Settings:
        """The header."""

        name: str = field(default="X-Served-Through", metadata={"help": "the header's name"})
        value: str = field(default="modnet", metadata={"help": "the header's value"})

        def __post_init__(self) -> None:
            if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", self.name):
                raise ValueError(f"{self.name!r} cannot be the name of a header")
            if not (self.value.isascii() and self.value.isprintable()):
                raise ValueError("value must be printable ASCII")

    settings: Settings

    def opened(self, flow: modnet.Flow) -> None:
        """Nothing is held yet."""
        flow.held = b""

    def outbound(self, flow: modnet.Flow, data: memoryview) -> bytes:
        """Waits for the end of the status line, puts the header behind it, and goes native."""
        text: bytes = flow.held + data
        line, end, rest = text.partition(b"\r\n")
        begins = text[: len(_START)] == _START[: len(text)]
        if not end and begins and len(text) <= _LONGEST:
            flow.held = text
            return b""
        flow.held = b""
        flow.forward("outbound")
        if not (end and begins):
            return text
        return line + f"\r\n{self.settings.name}: {self.settings.value}\r\n".encode() + rest

    def outbound_end(self, flow: modnet.Flow) -> bytes:
        """What waited for a line's end that never came."""
        held: bytes = flow.held
        return held
