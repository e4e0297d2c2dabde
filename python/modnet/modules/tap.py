"""Records both directions of every flow, with times, to a file.

    modnet run -m tap,file=web.tap -- nginx
    modnet tap show web.tap
    modnet run -m tap,file=heads.tap,first=4KiB -- nginx

The file is made readable by its owner only and appended to; `modnet.modules._tapfile` describes its format.
A flow is never held up: what neither buffer nor disk has room for is lost, counted, and marked in the file
where it is missing.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

from modnet.errors import SystemRefused, UsageError
from modnet.module import Data, Module
from modnet.modules._tapfile import Damage, Kind, Record, Writer, records
from modnet.settings import Size

if TYPE_CHECKING:
    from modnet.flow import Flow

__all__ = ["Tap", "read", "show"]


class Tap(Module):
    """Records what passes, and passes it on."""

    @dataclass(frozen=True)
    class Settings:
        """Where to, and how much."""

        file: Path = field(metadata={"help": "appended to; made readable by its owner only"})
        first: Size | None = field(
            default=None,
            metadata={
                "help": "record so many bytes of each direction; it is native from there, its end unrecorded"
            },
        )
        # A second of a 100 Mbit/s stream: longer than a disk is usually busy with somebody else.
        buffer: Size = field(default=16 * 1024 * 1024, metadata={"help": "most bytes that wait for the disk"})

        def __post_init__(self) -> None:
            if self.first is not None and self.first < 1:
                raise ValueError("first must be at least 1 byte")
            if self.buffer < 256 * 1024:
                raise ValueError("buffer must be at least 256KiB")

    settings: Settings
    _writer: Writer

    def start(self) -> None:
        """Opens the file."""
        self._writer = Writer(self.settings.file, self.settings.buffer)
        self._writer.put_json(Kind.START, 0, name=self.name, pid=os.getpid())

    def stop(self) -> None:
        """Writes what waits and closes the file."""
        self._writer.put(Kind.STOP, 0)
        self._writer.close()

    def counters(self) -> Mapping[str, int]:
        """`records`, `lost_records`, `lost_bytes`, `write_errors`."""
        return dict(self._writer.counters)

    def opened(self, flow: Flow) -> None:
        """Records who speaks to whom."""
        flow.recorded = {"outbound": 0, "inbound": 0}
        self._writer.put_json(
            Kind.OPENED,
            flow.id,
            peer=flow.peer,
            local=flow.local,
            application=flow.application,
            chain=flow.chain,
        )

    def outbound(self, flow: Flow, data: memoryview) -> Data:
        """Records and passes on."""
        self._record(flow, "outbound", Kind.OUTBOUND, data)
        return data

    def inbound(self, flow: Flow, data: memoryview) -> Data:
        """Records and passes on."""
        self._record(flow, "inbound", Kind.INBOUND, data)
        return data

    def outbound_end(self, flow: Flow) -> None:
        """Records the end."""
        self._writer.put(Kind.OUTBOUND_END, flow.id)

    def inbound_end(self, flow: Flow) -> None:
        """Records the end."""
        self._writer.put(Kind.INBOUND_END, flow.id)

    def closed(self, flow: Flow) -> None:
        """Records how much it was, what `first` left out included."""
        self._writer.put_json(
            Kind.CLOSED, flow.id, bytes_outbound=flow.bytes_outbound, bytes_inbound=flow.bytes_inbound
        )

    def _record(
        self, flow: Flow, direction: Literal["outbound", "inbound"], kind: Kind, data: memoryview
    ) -> None:
        first = self.settings.first
        if first is None:
            self._writer.put(kind, flow.id, bytes(data))
            return
        left = first - flow.recorded[direction]
        self._writer.put(kind, flow.id, bytes(data[:left]))
        flow.recorded[direction] += min(left, len(data))
        if len(data) >= left:
            flow.forward(direction)


# --- reading --------------------------------------------------------------------------------------


def read(path: Path) -> Iterator[Record | Damage]:
    """The records of the file; UsageError where it holds none, SystemRefused where it cannot be read."""
    try:
        with path.open("rb") as file:
            found = records(file)
            begin = list(itertools.islice(found, 2))
            if len(begin) == 1 and isinstance(begin[0], Damage):
                raise UsageError(f"{path} is no recording of modnet tap")
            yield from begin
            yield from found
    except FileNotFoundError:
        raise UsageError(f"no such file: {path}") from None
    except OSError as error:
        raise SystemRefused(f"cannot read {path}: {error.strerror}") from None


def show(path: Path, out: TextIO, *, flow: int | None = None, as_json: bool = False) -> None:
    """Prints the recording, or one flow of it; as JSON, one object a line, the bytes in base64.

    Control characters of the traffic are shown escaped: a recording cannot write to the terminal.
    """
    for record in read(path):
        if flow is not None and (isinstance(record, Damage) or record.flow != flow):
            continue
        if as_json:
            out.write(json.dumps(_as_json(record)) + "\n")
        else:
            out.writelines(line + "\n" for line in _as_text(record))


def _as_json(record: Record | Damage) -> dict[str, Any]:
    if isinstance(record, Damage):
        return {"kind": "damage", "offset": record.offset, "bytes": record.length}
    told: dict[str, Any] = {
        "kind": record.kind.name.lower(),
        "run": record.run,
        "flow": record.flow,
        "time": record.time_ns / 1e9,
    }
    if record.kind in (Kind.OUTBOUND, Kind.INBOUND):
        return told | {"bytes": len(record.payload), "base64": base64.b64encode(record.payload).decode()}
    return told | _facts(record)


def _facts(record: Record) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(record.payload) if record.payload else {}
    return facts


def _as_text(record: Record | Damage) -> Iterator[str]:
    if isinstance(record, Damage):
        yield f"-- {record.length} damaged bytes at offset {record.offset} --"
        return
    when = datetime.fromtimestamp(record.time_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    kind = record.kind.name.lower()
    if record.kind in (Kind.OUTBOUND, Kind.INBOUND):
        yield f"{when} {record.flow:>6} {kind} {len(record.payload)} bytes"
        for line in record.payload.splitlines(keepends=True):
            yield "    " + _printable(line)
        return
    facts = _facts(record)
    match record.kind:
        case Kind.OPENED:
            ends = f"{_address(facts.get('peer'))} to {_address(facts.get('local'))}"
            said = f"{ends}, pid {facts.get('application')}"
        case Kind.CLOSED:
            said = f"{facts.get('bytes_outbound')} bytes outbound, {facts.get('bytes_inbound')} inbound"
        case Kind.LOST:
            said = f"{facts.get('records')} records, {facts.get('bytes')} bytes: buffer or disk was full"
        case Kind.START:
            said = f"{facts.get('name')}, pid {facts.get('pid')}, run {record.run:08x}"
        case _:
            said = ""
    yield f"{when} {record.flow:>6} {kind.replace('_', ' ')} {said}".rstrip()


def _address(address: list[Any] | None) -> str:
    if address is None:
        return "?"
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _printable(line: bytes) -> str:
    text = line.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
