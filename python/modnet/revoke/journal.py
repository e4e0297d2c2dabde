"""`Journal`: the original beside the transformed until it is sent, for a module that transforms what passes.

    class Shout(modnet.Module):
        revocable = True

        def opened(self, flow):
            flow.journal = Journal(bytes.upper)

        def outbound(self, flow, data):
            return flow.journal.pass_on(bytes(data), unsent=flow.unsent)

        def yank_requested(self, flow, length):
            return flow.journal.take_back(flow, length)

What was passed on is remembered in *records*: a piece of the original, and what it became. A record goes and
comes back whole: of one whose first transformed bytes are sent, all is sent. Of the first record that is
taken back, what must stay of the original is transformed anew and written instead.

A transformation that remembers (a compressor, an encoder that carries bytes over) gives `save` and `restore`:
its state before each record is kept with it, and comes back with it.

Rules: one journal a flow, used in that flow's hooks, one call after the other. Pure: `flow` is anything with
`peek`, `yank`, `write` and `lock`. Must not guess: where the last unsent bytes are not what was remembered
(another thread has written or yanked), nothing is taken back.

>>> from modnet.testing import Playback
>>> from modnet.module import Module
>>> class Shout(Module):
...     revocable = True
...     def outbound(self, flow, data):
...         return flow.journal.pass_on(bytes(data))
>>> playback = Playback(Shout())
>>> playback.flow.journal = Journal(bytes.upper, piece=6)
>>> _ = playback.outbound(b"hello world")
>>> playback.sent(2), playback.flow.journal.take_back(playback.flow, 3), bytes(playback.unsent)
(b'HE', b'rld', b'LLO WO')
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Journal"]

PIECE = 4096
"""Bytes of the original in a record that `pass_on` makes: what a partly sent record costs, at most."""


@dataclass(frozen=True)
class _Record:
    original: bytes
    transformed: bytes
    before: Any
    """The transformation's state before it."""


def _nothing() -> None:
    return None


def _ignore(state: Any) -> None:
    return None


class Journal:
    """Of one flow. `transform` makes of a piece of the original what goes on; `save` gives its state,
    `restore` brings one back.
    """

    def __init__(
        self,
        transform: Callable[[bytes], bytes],
        *,
        save: Callable[[], Any] = _nothing,
        restore: Callable[[Any], object] = _ignore,
        piece: int = PIECE,
    ) -> None:
        if piece < 1:
            raise ValueError(f"piece is at least 1 byte, not {piece}")
        self._transform = transform
        self._save = save
        self._restore = restore
        self._piece = piece
        self._records: deque[_Record] = deque()
        self._state = save()
        self._transformed = 0

    def __len__(self) -> int:
        """Bytes of the original that are remembered."""
        return sum(len(record.original) for record in self._records)

    # --- passing on ---

    def pass_on(self, data: bytes, *, unsent: int | None = None) -> bytes:
        """What a hook returns for `data`: transformed piece by piece, and remembered. `unsent`, where given,
        is `flow.unsent`: what has been sent is forgotten first.
        """
        if unsent is not None:
            self.sent(unsent)
        return b"".join(self._pass_on(data[at : at + self._piece]) for at in range(0, len(data), self._piece))

    def _pass_on(self, piece: bytes) -> bytes:
        transformed = self._transform(piece)
        self.add(piece, transformed)
        return transformed

    def add(self, original: bytes, transformed: bytes) -> None:
        """Remembers one record that the module has made itself, right after it was made."""
        before = self._state
        if self._records and not self._records[-1].transformed:
            # That one waited in the transformation's state, and comes out with this one.
            last = self._records.pop()
            original, before = last.original + original, last.before
        if not original:
            raise ValueError("a record has at least one byte of the original")
        self._records.append(_Record(original, transformed, before))
        self._transformed += len(transformed)
        self._state = self._save()

    def sent(self, unsent: int) -> None:
        """Of all that was passed on, only the last `unsent` transformed bytes are not sent yet: forgets the
        records before them.
        """
        while self._records:
            first = len(self._records[0].transformed)
            # What has become nothing yet waits in the transformation's state.
            if not first or self._transformed - first < unsent:
                return
            self._transformed -= first
            self._records.popleft()

    # --- taking back ---

    def take_back(self, flow: Any, length: int) -> bytes:
        """The last bytes of the original, at most `length`, in the order of the stream; what they had become
        is yanked from `flow`.
        """
        if length < 1 or not self._records:
            return b""
        with flow.lock():
            return self._take_back(flow, length)

    def _take_back(self, flow: Any, length: int) -> bytes:
        wanted = self._last(length)
        made = b"".join(record.transformed for record in wanted)
        there = flow.peek(len(made)) if made else b""
        if not made.endswith(there):
            return b""
        taken = self._whole(wanted, len(there))
        if not taken:
            return b""
        count = sum(len(record.transformed) for record in taken)
        if count:
            flow.yank(count)
        for record in taken:
            self._records.pop()
            self._transformed -= len(record.transformed)
        self._state = taken[0].before
        self._restore(self._state)
        original = b"".join(record.original for record in taken)
        stays = max(0, len(original) - length)
        again = self.pass_on(original[:stays])
        if again:
            flow.write(again)
        return original[stays:]

    def _last(self, length: int) -> list[_Record]:
        """The last records, as many as hold so much of the original."""
        found: list[_Record] = []
        for record in reversed(self._records):
            if length <= 0:
                break
            length -= len(record.original)
            found.append(record)
        return found[::-1]

    @staticmethod
    def _whole(records: list[_Record], there: int) -> list[_Record]:
        """Those at the end of which all is there."""
        first = len(records)
        while first and len(records[first - 1].transformed) <= there:
            first -= 1
            there -= len(records[first].transformed)
        return records[first:]
