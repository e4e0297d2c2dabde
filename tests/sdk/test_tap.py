"""`tap`: what passes is in the file, a flow is never held up, and damage costs only what it hit."""

from __future__ import annotations

import base64
import errno
import io
import json
import os
import stat
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from modnet.cli.tap import command
from modnet.errors import SystemRefused, UsageError
from modnet.loader import load, parse
from modnet.modules import _tapfile
from modnet.modules._tapfile import Damage, Kind, Record, Writer, records
from modnet.modules.tap import Tap, read, show
from modnet.testing import Playback, running


def tap(file: Path, more: str = "") -> Tap:
    module = load(parse(f"tap,file={file}{more}"))
    assert isinstance(module, Tap)
    return module


def recorded(file: Path) -> list[Record]:
    found = list(read(file))
    assert not [damage for damage in found if isinstance(damage, Damage)]
    return [record for record in found if isinstance(record, Record)]


def kinds(file: Path) -> list[str]:
    return [record.kind.name for record in recorded(file)]


def stream(file: Path, kind: Kind, flow: int) -> bytes:
    return b"".join(r.payload for r in recorded(file) if r.kind is kind and r.flow == flow)


# --- recording ------------------------------------------------------------------------------------


def test_a_flow_is_recorded_and_passes_untouched(tmp_path: Path) -> None:
    file = tmp_path / "x.tap"
    with running(tap(file)) as module:
        playback = Playback(module)
        assert playback.inbound(b"GET /") == b"GET /"
        assert playback.outbound(b"200") == b"200"
        assert playback.inbound_end() + playback.outbound_end() == b""
        playback.closed()
        flow = playback.flow.id
    assert kinds(file) == [
        "START", "OPENED", "INBOUND", "OUTBOUND", "INBOUND_END", "OUTBOUND_END", "CLOSED", "STOP",
    ]  # fmt: skip
    opened, closed = (json.loads(recorded(file)[index].payload) for index in (1, 6))
    assert opened == {
        "peer": ["192.0.2.1", 40000],
        "local": ["192.0.2.2", 80],
        "application": 1,
        "chain": ["tap"],
    }
    assert closed == {"bytes_outbound": 3, "bytes_inbound": 5}
    assert stream(file, Kind.INBOUND, flow) == b"GET /"
    assert module.counters() == {"records": 8, "lost_records": 0, "lost_bytes": 0, "write_errors": 0}
    times = [record.time_ns for record in recorded(file)]
    assert times == sorted(times)


def test_only_the_owner_may_read_it_and_a_second_run_appends(tmp_path: Path) -> None:
    file = tmp_path / "x.tap"
    for _ in range(2):
        with running(tap(file)):
            pass
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert kinds(file) == ["START", "STOP"] * 2
    assert len({record.run for record in recorded(file)}) == 2


def test_the_first_bytes_only_then_the_direction_is_native(tmp_path: Path) -> None:
    file = tmp_path / "x.tap"
    with running(tap(file, ",first=4")) as module:
        playback = Playback(module)
        for piece in (b"abc", b"def", b"ghi"):
            assert playback.outbound(piece) == piece
        assert playback.inbound(b"1234") == b"1234"
        assert playback.forwarded == {"outbound", "inbound"}
        playback.closed()
    assert stream(file, Kind.OUTBOUND, playback.flow.id) == b"abcd"
    assert stream(file, Kind.INBOUND, playback.flow.id) == b"1234"
    assert json.loads(recorded(file)[-2].payload) == {"bytes_outbound": 9, "bytes_inbound": 4}


def test_many_threads_write_whole_records(tmp_path: Path) -> None:
    file = tmp_path / "x.tap"

    def run(playback: Playback) -> None:
        for number in range(200):
            playback.outbound(bytes([number]) * (number + 1))
        playback.closed()

    with running(tap(file)) as module:
        playbacks = [Playback(module) for _ in range(8)]
        threads = [threading.Thread(target=run, args=(playback,)) for playback in playbacks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    whole = b"".join(bytes([number]) * (number + 1) for number in range(200))
    assert [stream(file, Kind.OUTBOUND, p.flow.id) == whole for p in playbacks] == [True] * 8


def test_two_processes_may_share_a_file(tmp_path: Path) -> None:
    file = tmp_path / "x.tap"
    with running(tap(file)) as one, running(tap(file, ",as=second")) as two:
        for module in (one, two) * 20:
            Playback(module).outbound(b"x" * 1000)
    assert kinds(file).count("OUTBOUND") == 40


@pytest.mark.parametrize(("path", "why"), [("nowhere/x.tap", "No such file"), (".", "Is a directory")])
def test_a_file_that_cannot_be_written_is_told_at_the_start(path: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(SystemRefused, match=f"cannot write .*: {why}"):
        tap(tmp_path / path).start()


# --- when there is no room ------------------------------------------------------------------------


def test_a_full_disk_is_counted_and_logged_once_and_flows_go_on(caplog: pytest.LogCaptureFixture) -> None:
    with running(tap(Path("/dev/full"))) as module:
        playback = Playback(module)
        for _ in range(100):
            assert playback.outbound(b"x" * 100) == b"x" * 100
        playback.closed()
    counters = module.counters()
    assert (counters["records"], counters["lost_records"]) == (0, 104)
    assert counters["write_errors"] >= 1
    assert [r.getMessage() for r in caplog.records] == [
        "tap cannot write /dev/full: No space left on device; flows go on unrecorded"
    ]


class Disk:
    """`os.write` that can be stopped (`gate`) and takes `room` bytes before the disk is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.room = 1 << 60
        self._write = os.write
        monkeypatch.setattr(_tapfile.os, "write", self.write)

    def write(self, fd: int, data: memoryview) -> int:
        self.entered.set()
        assert self.gate.wait(30)
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = self._write(fd, data[: self.room])
        self.room -= count
        return count


def test_a_full_buffer_loses_records_and_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    writer = Writer(tmp_path / "x", buffer=1000)
    writer.put(Kind.OUTBOUND, 1, b"a" * 400)
    assert disk.entered.wait(30)
    writer.put(Kind.OUTBOUND, 1, b"b" * 400)
    writer.put(Kind.OUTBOUND, 1, b"c" * 400)
    writer.put(Kind.OUTBOUND, 1, b"d" * 500)
    writer.put(Kind.OUTBOUND, 1, b"e")
    assert writer._held <= 1000 + 200
    disk.gate.set()
    writer.close()
    found = [(record.kind.name, record.payload[:1]) for record in recorded(tmp_path / "x")]
    assert found == [("OUTBOUND", b"a"), ("OUTBOUND", b"b"), ("LOST", b"{"), ("OUTBOUND", b"e")]
    assert json.loads(recorded(tmp_path / "x")[2].payload) == {"records": 2, "bytes": 900}
    assert writer.counters == {"records": 4, "lost_records": 2, "lost_bytes": 900, "write_errors": 0}


def test_a_disk_that_is_full_for_a_while_costs_what_came_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_tapfile, "_RETRY", 0.01)
    disk = Disk(monkeypatch)
    writer = Writer(tmp_path / "x", buffer=1 << 20)
    writer.put(Kind.OUTBOUND, 1, b"a" * 100)
    assert disk.entered.wait(30)
    for letter in (b"b", b"c"):
        writer.put(Kind.OUTBOUND, 1, letter * 100)
    # Room for the first record, and for one and a half of the next batch.
    disk.room = 136 + 136 + 68
    disk.gate.set()
    while not writer.counters["write_errors"]:
        disk.entered.clear()
        assert disk.entered.wait(30)
    disk.room = 1 << 60
    writer.put(Kind.OUTBOUND, 1, b"d" * 100)
    writer.close()
    found = list(read(tmp_path / "x"))
    told = [(r.kind.name, r.payload[:1]) if isinstance(r, Record) else r.length for r in found]
    assert told == [("OUTBOUND", b"a"), ("OUTBOUND", b"b"), 68, ("LOST", b"{"), ("OUTBOUND", b"d")]
    assert isinstance(found[3], Record)
    assert json.loads(found[3].payload) == {"records": 1, "bytes": 100}
    assert writer.counters["lost_records"] == 1


# --- reading --------------------------------------------------------------------------------------

SOME = [
    Record(Kind.OPENED, 7, 1, 10, b"{}"),
    Record(Kind.OUTBOUND, 7, 1, 11, b"hello"),
    Record(Kind.INBOUND, 7, 1, 12, b"\xf1TAP" * 5),
    Record(Kind.CLOSED, 7, 1, 13, b"{}"),
]


def decode(data: bytes) -> list[Record | Damage]:
    return list(records(io.BytesIO(data)))


@given(
    st.lists(st.builds(Record, st.sampled_from(Kind), st.just(7), st.integers(0, 9), st.just(1), st.binary()))
)
def test_what_was_encoded_is_decoded(some: list[Record]) -> None:
    assert decode(b"".join(record.encode() for record in some)) == some


@given(st.binary(min_size=1), st.integers(0, len(SOME)))
def test_junk_between_records_costs_no_record(junk: bytes, place: int) -> None:
    encoded = [record.encode() for record in SOME]
    found = decode(b"".join([*encoded[:place], junk, *encoded[place:]]))
    assert [record for record in found if isinstance(record, Record)] == SOME
    assert sum(damage.length for damage in found if isinstance(damage, Damage)) == len(junk)


@given(st.data())
def test_a_changed_byte_costs_only_its_record(data: st.DataObject) -> None:
    encoded = bytearray(b"".join(record.encode() for record in SOME))
    index = data.draw(st.integers(0, len(encoded) - 1))
    encoded[index] ^= data.draw(st.integers(1, 255))
    ends = [sum(len(record.encode()) for record in SOME[: count + 1]) for count in range(len(SOME))]
    hit = next(number for number, end in enumerate(ends) if index < end)
    found = decode(bytes(encoded))
    assert [record for record in found if isinstance(record, Record)] == SOME[:hit] + SOME[hit + 1 :]


@given(st.integers(0, 1000))
def test_a_file_that_ends_early_keeps_its_whole_records(cut: int) -> None:
    encoded = b"".join(record.encode() for record in SOME)[:cut]
    found = decode(encoded)
    whole = [record for record in found if isinstance(record, Record)]
    assert whole == SOME[: len(whole)]
    length = sum(len(record.encode()) for record in whole)
    assert sum(damage.length for damage in found if isinstance(damage, Damage)) == len(encoded) - length


def test_a_long_stretch_of_junk_is_one_damage() -> None:
    junk = b"\xf1TA" * 100_000
    found = decode(SOME[0].encode() + junk + SOME[1].encode())
    assert found == [SOME[0], Damage(len(SOME[0].encode()), len(junk)), SOME[1]]


def test_files_that_are_no_recording(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"hello world" * 1000)
    with pytest.raises(UsageError, match="is no recording of modnet tap"):
        list(read(file))
    with pytest.raises(UsageError, match="no such file"):
        list(read(tmp_path / "y"))
    with pytest.raises(SystemRefused, match="Is a directory"):
        list(read(tmp_path))
    file.write_bytes(b"")
    assert list(read(file)) == []


# --- showing --------------------------------------------------------------------------------------


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    file = tmp_path / "x.tap"
    facts = {"peer": ["2001:db8::1", 7], "local": None, "application": 9, "chain": ["tap"]}
    at = 1_700_000_000_123_456_789
    some = [
        Record(Kind.START, 255, 0, at, b'{"name": "tap", "pid": 5}'),
        Record(Kind.OPENED, 255, 1, at, json.dumps(facts).encode()),
        Record(Kind.INBOUND, 255, 1, at, b"GET /\r\n\x1b[31m\xff \xc3\xa4\n\nend"),
        Record(Kind.INBOUND, 255, 2, at, b"other"),
        Record(Kind.LOST, 255, 0, at, b'{"records": 3, "bytes": 40}'),
        Record(Kind.INBOUND_END, 255, 1, at, b""),
        Record(Kind.CLOSED, 255, 1, at, b'{"bytes_outbound": 1, "bytes_inbound": 2}'),
        Record(Kind.STOP, 255, 0, at, b""),
    ]
    file.write_bytes(b"".join(record.encode() for record in some[:-1]) + b"junk" + some[-1].encode())
    return file


def test_it_is_shown_for_people_with_nothing_that_a_terminal_obeys(sample: Path) -> None:
    out = io.StringIO()
    show(sample, out)
    assert [line.removeprefix("2023-11-14 22:13:20.123457 ") for line in out.getvalue().split("\n")] == [
        "     0 start tap, pid 5, run 000000ff",
        "     1 opened [2001:db8::1]:7 to ?, pid 9",
        "     1 inbound 21 bytes",
        r"    GET /\r\n",
        "    \\x1b[31m\\xff ä\\n",
        r"    \n",
        "    end",
        "     2 inbound 5 bytes",
        "    other",
        "     0 lost 3 records, 40 bytes: buffer or disk was full",
        "     1 inbound end",
        "     1 closed 1 bytes outbound, 2 inbound",
        f"-- 4 damaged bytes at offset {sample.stat().st_size - 4 - 36} --",
        "     0 stop",
        "",
    ]


def test_it_is_shown_as_json_one_flow_if_wanted(sample: Path) -> None:
    out = io.StringIO()
    show(sample, out, flow=1, as_json=True)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["kind"] for line in lines] == ["opened", "inbound", "inbound_end", "closed"]
    assert base64.b64decode(lines[1]["base64"]).startswith(b"GET /\r\n\x1b")
    assert (lines[1]["bytes"], lines[1]["time"], lines[0]["application"]) == (21, 1_700_000_000.1234567, 9)
    out = io.StringIO()
    show(sample, out, as_json=True)
    assert {"kind": "damage", "offset": sample.stat().st_size - 40, "bytes": 4} in map(
        json.loads, out.getvalue().splitlines()
    )


def test_the_command_prints_it(sample: Path) -> None:
    shown = CliRunner().invoke(command, ["show", str(sample), "--flow", "1"])
    assert (shown.exit_code, "GET /" in shown.stdout, "other" in shown.stdout) == (0, True, False)
    as_json = CliRunner().invoke(command, ["show", str(sample), "--flow", "1", "--json"])
    assert [json.loads(line)["flow"] for line in as_json.stdout.splitlines()] == [1] * 4
