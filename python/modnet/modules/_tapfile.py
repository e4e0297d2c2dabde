"""The file of `modnet.modules.tap`: its format, a writer that never stops a flow, a reader that survives
damage.

A file is a sequence of records, integers little endian:

| bytes | field |
| --- | --- |
| 4 | marker, `f1 54 41 50` |
| 1 | version, 1 |
| 1 | kind, see `Kind` |
| 2 | 0 |
| 4 | length of the payload |
| 4 | run: one process between its start and stop; flow ids begin anew in the next |
| 8 | flow id; 0 where the record is about no flow |
| 8 | time, nanoseconds since 1970 |
| 4 | CRC-32 of the 32 bytes before and of the payload |
| length | payload |

It is opened with O_APPEND and written by whole batches, so that several processes may share it. Where a
write broke off (disk full, power loss) the reader goes on at the next marker that a right CRC follows, and
says what it skipped. Must not: block the caller of `put`, raise there, or hold more than its buffer.
"""

from __future__ import annotations

import enum
import itertools
import json
import logging
import os
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from modnet.errors import SystemRefused

__all__ = ["Damage", "Kind", "Record", "Writer", "records"]

_MARKER = b"\xf1TAP"
_VERSION = 1
_HEAD = struct.Struct("<4sBBHIIQQ")
_CRC = struct.Struct("<I")
_OVERHEAD = _HEAD.size + _CRC.size
_LONGEST = 1 << 24
"""A longer payload is damage: the engine reads 64 KiB at a time."""
_RETRY = 1.0
"""Seconds between two attempts to write after one failed."""

_logger = logging.getLogger("modnet")


class Kind(enum.IntEnum):
    """What a record says."""

    START = 1
    """The recording module started; JSON: name, pid."""
    OPENED = 2
    """JSON: peer, local, application, chain."""
    OUTBOUND = 3
    """Bytes from the application."""
    INBOUND = 4
    """Bytes from the network."""
    OUTBOUND_END = 5
    INBOUND_END = 6
    CLOSED = 7
    """JSON: bytes_outbound, bytes_inbound."""
    LOST = 8
    """Records before this one could not be kept: buffer or disk was full; JSON: records, bytes."""
    STOP = 9


_KINDS = frozenset(Kind)


@dataclass(frozen=True)
class Record:
    """One record of a file."""

    kind: Kind
    run: int
    flow: int
    time_ns: int
    payload: bytes

    def encode(self) -> bytes:
        """As it stands in the file."""
        head = _HEAD.pack(
            _MARKER, _VERSION, self.kind, 0, len(self.payload), self.run, self.flow, self.time_ns
        )
        return head + _CRC.pack(zlib.crc32(self.payload, zlib.crc32(head))) + self.payload


@dataclass(frozen=True)
class Damage:
    """Bytes of a file that are no record."""

    offset: int
    length: int


@dataclass(frozen=True)
class _Entry:
    """An encoded record that waits, and what is lost with it."""

    encoded: bytes
    records: int
    bytes: int
    fresh: bool
    """False for a LOST record: what it stands for has been counted already."""


class Writer:
    """Appends records from many threads; a thread of its own writes them."""

    def __init__(self, path: Path, buffer: int) -> None:
        """Opens the file; makes it, if need be, for its owner only. `buffer`: most bytes that wait in
        memory.
        """
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SystemRefused(f"tap cannot write {path}: {error.strerror}; give another file=") from None
        self._path = path
        self._buffer = buffer
        self._run = int.from_bytes(os.urandom(4), "little")
        self._changed = threading.Condition()
        self._waiting: list[_Entry] = []
        self._held = 0
        self._refused = (0, 0)
        self._closing = False
        self.counters = {"records": 0, "lost_records": 0, "lost_bytes": 0, "write_errors": 0}
        """What was written, what was not, and how often the system refused."""
        self._thread = threading.Thread(target=self._work, name="modnet-tap", daemon=True)
        self._thread.start()

    def put(self, kind: Kind, flow: int, payload: bytes = b"") -> None:
        """Records, or counts as lost where the buffer is full."""
        encoded = Record(kind, self._run, flow, time.time_ns(), payload).encode()
        with self._changed:
            if self._held + len(encoded) > self._buffer:
                self._refused = (self._refused[0] + 1, self._refused[1] + len(payload))
                self._count_lost(1, len(payload))
                return
            self._mark_refused()
            self._wait_in_line(_Entry(encoded, 1, len(payload), fresh=True), len(self._waiting))
            self._changed.notify()

    def put_json(self, kind: Kind, flow: int, **facts: Any) -> None:
        """Records facts."""
        self.put(kind, flow, json.dumps(facts).encode())

    def close(self) -> None:
        """Writes what waits, once, and closes the file."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        os.close(self._fd)

    def _work(self) -> None:
        last = False
        while not last:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                self._mark_refused()
                batch, self._waiting = self._waiting, []
                last = self._closing
            whole = self._write([entry.encoded for entry in batch])
            with self._changed:
                self._held -= sum(len(entry.encoded) for entry in batch)
                self.counters["records"] += whole
                if batch[whole:]:
                    self._give_up(batch[whole:])
                    # What comes meanwhile waits in the buffer; close() need not.
                    self._changed.wait_for(lambda: self._closing, _RETRY)

    # --- with the lock held ---

    def _give_up(self, entries: list[_Entry]) -> None:
        """Counts what could not be written, and puts one LOST record in its place."""
        for entry in entries:
            if entry.fresh:
                self._count_lost(entry.records, entry.bytes)
        lost = (sum(entry.records for entry in entries), sum(entry.bytes for entry in entries))
        self._wait_in_line(self._lost(*lost), 0)

    def _mark_refused(self) -> None:
        """A LOST record for what found the buffer full since the last record that was taken."""
        if self._refused[0]:
            self._wait_in_line(self._lost(*self._refused), len(self._waiting))
            self._refused = (0, 0)

    def _lost(self, count: int, payload: int) -> _Entry:
        facts = json.dumps({"records": count, "bytes": payload}).encode()
        encoded = Record(Kind.LOST, self._run, 0, time.time_ns(), facts).encode()
        return _Entry(encoded, count, payload, fresh=False)

    def _wait_in_line(self, entry: _Entry, place: int) -> None:
        self._waiting.insert(place, entry)
        self._held += len(entry.encoded)

    def _count_lost(self, count: int, payload: int) -> None:
        self.counters["lost_records"] += count
        self.counters["lost_bytes"] += payload

    # --- without it ---

    def _write(self, encoded: list[bytes]) -> int:
        """How many of the records are in the file whole."""
        left = memoryview(b"".join(encoded))
        written = 0
        try:
            while left:
                count = os.write(self._fd, left)
                written += count
                left = left[count:]
        except OSError as error:
            if not self.counters["write_errors"]:
                _logger.error("tap cannot write %s: %s; flows go on unrecorded", self._path, error.strerror)
            self.counters["write_errors"] += 1
        ends = itertools.accumulate(map(len, encoded))
        return sum(end <= written for end in ends)


def records(file: BinaryIO) -> Iterator[Record | Damage]:
    """The records of a file in order, and between them what is none. Holds one record at a time."""
    held = bytearray()
    offset = 0
    damaged = 0
    while True:
        found = _first(file, held)
        if found is not None:
            if damaged:
                yield Damage(offset - damaged, damaged)
                damaged = 0
            yield found
            step = _OVERHEAD + len(found.payload)
        elif held:
            marker = held.find(_MARKER, 1)
            step = len(held) if marker < 0 else marker
            if marker < 0 and len(held) >= len(_MARKER):
                # A marker may lie across the end of what was read so far.
                step = max(1, len(held) - len(_MARKER) + 1)
            damaged += step
        else:
            break
        del held[:step]
        offset += step
    if damaged:
        yield Damage(offset - damaged, damaged)


def _first(file: BinaryIO, held: bytearray) -> Record | None:
    """The record that `held` begins with; reads on as far as that needs."""
    if not _fill(file, held, _OVERHEAD):
        return None
    marker, version, kind, zero, length, run, flow, time_ns = _HEAD.unpack_from(held)
    if (marker, version, zero) != (_MARKER, _VERSION, 0) or length > _LONGEST or kind not in _KINDS:
        return None
    if not _fill(file, held, _OVERHEAD + length):
        return None
    payload = bytes(held[_OVERHEAD : _OVERHEAD + length])
    (crc,) = _CRC.unpack_from(held, _HEAD.size)
    if crc != zlib.crc32(payload, zlib.crc32(held[: _HEAD.size])):
        return None
    return Record(Kind(kind), run, flow, time_ns, payload)


def _fill(file: BinaryIO, held: bytearray, wanted: int) -> bool:
    while len(held) < wanted:
        piece = file.read(max(wanted - len(held), 1 << 16))
        if not piece:
            return False
        held += piece
    return True
