"""What a connection carries: bytes that tell their place, with holes where some were yanked. Pure.

    stream = Stream()
    sent = connection.send(stream.next(65536))
    stream.written(sent)
    stream.yanked(connection_yanked)        # must be the last ones written
    stream.arrived(data)                    # must be the next ones that were not yanked

Rule: content is never used twice, so a byte that is lost, doubled, moved or changed shows. It must
not do I/O.
"""

from __future__ import annotations

import random
from collections import deque

# A prime, so that no distance that a kernel could be wrong by repeats it.
_PERIOD = 4_194_301
_MOST = 1 << 20
_BLOCK = random.Random(1).randbytes(_PERIOD)
_CONTENT = memoryview(_BLOCK + _BLOCK[:_MOST])


class WrongBytes(Exception):
    """The stream is not what was written and not yanked."""


def content(at: int, length: int) -> memoryview:
    """The bytes from a place on; a mebibyte at most."""
    start = at % _PERIOD
    return _CONTENT[start : start + min(length, _MOST)]


class Stream:
    """One direction of a connection."""

    def __init__(self) -> None:
        self._next = 0
        self._due: deque[list[int]] = deque()
        self.outstanding = 0
        """Bytes written, not yanked, not arrived."""
        self.total = 0
        """Bytes that have arrived."""

    def next(self, length: int) -> memoryview:
        """What is to be written next."""
        return content(self._next, length)

    def written(self, length: int) -> None:
        """So much of it was."""
        if self._due and sum(self._due[-1]) == self._next:
            self._due[-1][1] += length
        else:
            self._due.append([self._next, length])
        self._next += length
        self.outstanding += length

    def last(self, length: int) -> bytes:
        """The last bytes that were written and not yanked, as far as they have not arrived."""
        parts: list[bytes] = []
        for start, had in reversed(self._due):
            take = min(had, length)
            parts.append(_joined(start + had - take, take))
            length -= take
            if not length:
                break
        return b"".join(reversed(parts))

    def yanked(self, data: bytes) -> None:
        """They were taken back."""
        if data != self.last(len(data)):
            raise WrongBytes(f"a yank gave {len(data)} bytes that are not the last ones written")
        left = len(data)
        self.outstanding -= left
        while left:
            start, had = self._due[-1]
            take = min(had, left)
            self._due[-1] = [start, had - take]
            if take == had:
                self._due.pop()
            left -= take

    def arrived(self, data: bytes | memoryview) -> None:
        """They came out at the other end."""
        view = memoryview(data)
        self.total += len(view)
        self.outstanding -= len(view)
        while view:
            if not self._due:
                raise WrongBytes(f"{len(view)} bytes arrived that were yanked or never written")
            start, had = self._due[0]
            length = min(had, len(view), _MOST)
            if view[:length] != content(start, length):
                raise WrongBytes(f"a wrong byte among those from {self.total - len(view)} on")
            if length == had:
                self._due.popleft()
            else:
                self._due[0] = [start + length, had - length]
            view = view[length:]


def _joined(at: int, length: int) -> bytes:
    parts = []
    while length:
        part = content(at, length)
        parts.append(bytes(part))
        at += len(part)
        length -= len(part)
    return b"".join(parts)
