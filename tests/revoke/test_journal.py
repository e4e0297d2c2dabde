"""`Journal`: what comes back is the original, what stays is what it would have become without the rest."""

from __future__ import annotations

import base64
import random
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from modnet.module import Module
from modnet.revoke import Journal
from modnet.testing import Playback

PIECE = 64


class Shout:
    """Each byte becomes one."""

    def journal(self) -> Journal:
        return Journal(bytes.upper, piece=PIECE)

    @staticmethod
    def undo(transformed: bytes) -> bytes:
        return transformed

    @staticmethod
    def same(original: bytes) -> bytes:
        return original.upper()


class Base64:
    """Longer; a group of three bytes that is not full is carried over."""

    def __init__(self) -> None:
        self.carried = b""

    def encode(self, piece: bytes) -> bytes:
        whole = self.carried + piece
        cut = len(whole) - len(whole) % 3
        self.carried = whole[cut:]
        return base64.b64encode(whole[:cut])

    def restore(self, carried: bytes) -> None:
        self.carried = carried

    def journal(self) -> Journal:
        return Journal(self.encode, save=lambda: self.carried, restore=self.restore, piece=PIECE)

    def undo(self, transformed: bytes) -> bytes:
        return base64.b64decode(transformed) + self.carried

    @staticmethod
    def same(original: bytes) -> bytes:
        return original


class Packed:
    """Shorter; a compressor with a history, whose state is a copy of it."""

    def __init__(self) -> None:
        self.packer = zlib.compressobj()

    def pack(self, piece: bytes) -> bytes:
        return self.packer.compress(piece) + self.packer.flush(zlib.Z_SYNC_FLUSH)

    def restore(self, packer: Any) -> None:
        self.packer = packer.copy()

    def journal(self) -> Journal:
        return Journal(self.pack, save=lambda: self.packer.copy(), restore=self.restore, piece=PIECE)

    @staticmethod
    def undo(transformed: bytes) -> bytes:
        return zlib.decompressobj().decompress(transformed)

    @staticmethod
    def same(original: bytes) -> bytes:
        return original


class Lazy(Packed):
    """The same without a flush: nearly all waits in the compressor."""

    def pack(self, piece: bytes) -> bytes:
        return self.packer.compress(piece)

    def undo(self, transformed: bytes) -> bytes:
        return zlib.decompressobj().decompress(transformed + self.packer.copy().flush())


KINDS: list[Callable[[], Any]] = [Shout, Base64, Packed, Lazy]


class Quiet(Module):
    """The test calls the journal itself."""

    revocable = True


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(40))
def test_the_peer_gets_what_was_not_taken_back_transformed(kind: Callable[[], Any], seed: int) -> None:
    chance = random.Random(seed)
    codec = kind()
    journal: Journal = codec.journal()
    playback = Playback(Quiet())
    flow: Any = playback.flow
    stream, out, taken_bytes = b"", b"", 0
    for _ in range(60):
        match chance.randrange(4):
            case 0 | 1:
                data = bytes(chance.choices(b"abcdefgh \n", k=chance.randrange(200)))
                playback.unsent += journal.pass_on(
                    data, unsent=flow.unsent if chance.random() < 0.5 else None
                )
                stream += data
            case 2:
                out += playback.sent(chance.choice([1, 10, 100, 1000]))
            case _:
                length = chance.choice([0, 1, 5, 50, 500])
                taken = journal.take_back(flow, length)
                assert len(taken) <= length and stream.endswith(taken)
                stream = stream[: len(stream) - len(taken)]
                taken_bytes += len(taken)
    out += playback.sent(1 << 30)
    assert codec.undo(out) == codec.same(stream)
    assert taken_bytes > 0


def test_of_a_record_that_is_partly_sent_nothing_comes_back() -> None:
    playback = Playback(Quiet())
    journal = Journal(bytes.upper, piece=4)
    playback.unsent += journal.pass_on(b"abcdefghij")
    assert playback.sent(5) == b"ABCDE"
    flow: Any = playback.flow
    assert journal.take_back(flow, 100) == b"ij"
    assert journal.take_back(flow, 100) == b""
    assert playback.unsent == b"FGH"


def test_what_is_sent_is_forgotten_and_what_is_partly_sent_is_not() -> None:
    journal = Journal(bytes.upper, piece=4)
    journal.pass_on(b"abcdefghij")
    for unsent, remembered in ((10, 10), (7, 10), (6, 6), (3, 6), (2, 2), (0, 0)):
        journal.sent(unsent)
        assert len(journal) == remembered, unsent


def test_bytes_that_the_journal_did_not_make_are_left_alone() -> None:
    playback = Playback(Quiet())
    journal = Journal(bytes.upper)
    playback.unsent += journal.pass_on(b"abc") + b"of somebody else"
    assert journal.take_back(playback.flow, 3) == b""
    assert playback.unsent == b"ABCof somebody else"


def test_a_record_is_of_something_and_a_piece_too() -> None:
    journal = Journal(bytes.upper)
    with pytest.raises(ValueError, match="at least one byte"):
        journal.add(b"", b"x")
    with pytest.raises(ValueError, match="piece"):
        Journal(bytes.upper, piece=0)
