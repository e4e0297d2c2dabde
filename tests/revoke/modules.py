"""Modules that transform what passes and can give it back, and one that cannot."""

from __future__ import annotations

import base64
import zlib
from typing import Any

from modnet import Module


class Upper(Module):
    """As long as before: what is taken back is as long as what was made of it."""

    revocable = True

    def opened(self, flow: Any) -> None:
        flow.original = bytearray()

    def outbound(self, flow: Any, data: memoryview) -> bytes:
        flow.original += data
        return bytes(data).upper()

    def yank_requested(self, flow: Any, length: int) -> bytes:
        taken = len(flow.yank(length))
        at = len(flow.original) - taken
        original = bytes(flow.original[at:])
        del flow.original[at:]
        return original


class Framed(Module):
    """Bytes become lines of their own; a line goes or stays whole, and what stays of it is made anew."""

    revocable = True

    def opened(self, flow: Any) -> None:
        flow.lines = []

    def encode(self, data: bytes) -> bytes:
        raise NotImplementedError

    def outbound(self, flow: Any, data: memoryview) -> bytes:
        return b"".join(self._line(flow, bytes(data[at : at + 3000])) for at in range(0, len(data), 3000))

    def _line(self, flow: Any, original: bytes) -> bytes:
        line = self.encode(original) + b"\n"
        flow.lines.append((original, line))
        return line

    def yank_requested(self, flow: Any, length: int) -> bytes:
        with flow.lock():
            return self._take(flow, length)

    def _take(self, flow: Any, length: int) -> bytes:
        first, wanted, made = len(flow.lines), 0, 0
        while first > 0 and wanted < length:
            first -= 1
            wanted += len(flow.lines[first][0])
            made += len(flow.lines[first][1])
        taken = flow.yank(made)
        # Of the first, some may have gone: then all of it stays.
        lost = made - len(taken)
        while first < len(flow.lines) and lost > 0:
            line = len(flow.lines[first][1])
            if lost < line:
                flow.write(taken[: line - lost])
            taken = taken[max(0, line - lost) :]
            lost = max(0, lost - line)
            first += 1
        back = b"".join(original for original, _ in flow.lines[first:])
        del flow.lines[first:]
        keep, back = back[: max(0, len(back) - length)], back[max(0, len(back) - length) :]
        if keep:
            flow.write(self._line(flow, keep))
        return back


class Base64(Framed):
    """Longer than before."""

    def encode(self, data: bytes) -> bytes:
        return base64.b64encode(data)


class Packed(Framed):
    """Shorter than before."""

    def encode(self, data: bytes) -> bytes:
        return zlib.compress(data).hex().encode()


class Deaf(Module):
    """Changes what passes, and gives nothing back."""

    def outbound(self, flow: Any, data: memoryview) -> bytes:
        return bytes(data).swapcase()
