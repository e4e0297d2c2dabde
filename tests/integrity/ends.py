"""What an application is shown when its client goes: natively, and through a module with fresh and with
pooled pairs.

`ENDS` are the ways in which a client goes, `LOOKS` the orders in which an application may look: an error is
told once, so that each order is a connection of its own. `DIFFERENCES` names every result that is not as
natively, exactly; `document` draws docs/ends.md from what was seen.
It must not decide what is right: natively it happened, or a difference has a name.
"""

import json
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.lib.modnet import SECONDS, Modnet

WATCHER = Path(__file__).parent / "raw" / "watcher.py"
SETTINGS = ("native", "fresh", "pooled")
RESET = struct.pack("ii", 1, 0)


def closes(client: socket.socket) -> None:
    client.close()


def half_closes(client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)


def resets(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.close()


def sends_and_closes(client: socket.socket) -> None:
    client.sendall(b"data")
    closes(client)


def sends_and_resets(client: socket.socket) -> None:
    client.sendall(b"data")
    resets(client)


@dataclass(frozen=True)
class End:
    """How a client goes, and what the application waits for before it looks."""

    name: str
    client: Callable[[socket.socket], None]
    wait: str
    # Whether the client has read the application's answer before it goes.
    reads: bool = True


ENDS = (
    End("FIN (close)", closes, "end"),
    End("FIN behind unread data", sends_and_closes, "end"),
    End("half-close", half_closes, "end"),
    End("RST", resets, "hang-up"),
    End("RST behind unread data", sends_and_resets, "hang-up"),
    End("close with the answer unread (RST)", closes, "hang-up", reads=False),
)
READS = ("events", "FIONREAD", "read", "read", "read", "SO_ERROR", "write")
# `hang-up`: what the first write to a client that has closed brings about; a half-closed one takes it.
WRITES = ("write", "hang-up", "write", "write", "read", "read", "SO_ERROR")
HALF_WRITES = ("write", "write", "read", "read", "SO_ERROR")
ASKS = ("SO_ERROR", "SO_ERROR", "events", "read", "read")


def looks(end: End) -> dict[str, tuple[str, ...]]:
    writes = HALF_WRITES if end.client is half_closes else WRITES
    return {"reads first": READS, "writes first": writes, "asks first": ASKS}


@dataclass(frozen=True)
class Case:
    """One connection: who does what, in which order."""

    end: End
    written: bool
    look: str

    @property
    def steps(self) -> tuple[str, ...]:
        return looks(self.end)[self.look]

    def __str__(self) -> str:
        return f"{self.end.name}, {'after' if self.written else 'before'} the application has written"


CASES = tuple(
    Case(end, written, look)
    for end in ENDS
    for written in (False, True)
    for look in looks(end)
    # An answer cannot be left unread that was not written.
    if written or end.reads
)
Seen = dict[Case, tuple[str, ...]]


class Application:
    """A running watcher.py."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.process = process
        self.port = int(process.stdout.readline())

    def say(self, line: str) -> None:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def connection(
        self, written: bool, wait: str, steps: tuple[str, ...], go: Callable, reads: bool = True
    ) -> tuple[str, ...]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS) as client:
            self.say(json.dumps({"written": written, "wait": wait, "steps": steps}))
            client.sendall(b"hello")
            line = self.process.stdout.readline()
            assert line == "ready\n", line or self.process.stderr.read()
            if written and reads:
                assert client.recv(6, socket.MSG_WAITALL) == b"answer"
            elif written:
                # It lies in the client's kernel, so that closing resets.
                assert client.recv(6, socket.MSG_WAITALL | socket.MSG_PEEK) == b"answer"
            go(client)
            self.say("gone")
            line = self.process.stdout.readline()
            assert line, self.process.stderr.read()
            return tuple(json.loads(line))

    def case(self, case: Case) -> tuple[str, ...]:
        # A flow that ends in order comes before: where pairs are pooled the case meets one that has carried
        # another flow.
        assert self.connection(True, "", (), lambda client: None) == ()
        return self.connection(case.written, case.end.wait, case.steps, case.end.client, case.end.reads)


def seen(modnet: Modnet, setting: str) -> Seen:
    """What an application is shown in each case."""
    program = modnet.place.copy(WATCHER)
    command = [sys.executable, str(program)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    given = modnet.place.environment() | {"MODNET_PAIRS": setting}
    if setting == "native":
        process = subprocess.Popen(command, **pipes)
    else:
        process = modnet.popen("run", "-m", "forwarder", "--", *command, env=given, **pipes)
    with process:
        try:
            application = Application(process)
            return {case: application.case(case) for case in CASES}
        finally:
            process.stdin.close()
            process.wait(SECONDS)


@dataclass(frozen=True)
class Difference:
    """A result that is not as natively, under a name."""

    name: str
    why: str
    settings: tuple[str, ...]
    steps: tuple[str, ...]
    # What an application is shown where natively it is shown this.
    ours: Callable[[str], str]


DIFFERENCES = (
    Difference(
        "no ERR",
        "poll and epoll show a reset as a hang-up without an error: the pair's other end has closed, and a "
        "UNIX socket cannot be given an error. The next read or write, and SO_ERROR, tell it as natively",
        ("fresh", "pooled"),
        ("events", "hang-up"),
        lambda natively: natively.removesuffix("|ERR"),
    ),
)


def expected(native: Seen, setting: str) -> Seen:
    """Natively, with what differs by name: all of it, and nothing else."""

    def shown(step: str, value: str) -> str:
        for difference in DIFFERENCES:
            if setting in difference.settings and step in difference.steps:
                value = difference.ours(value)
        return value

    return {
        case: tuple(shown(step, value) for step, value in zip(case.steps, values, strict=True))
        for case, values in native.items()
    }


def rows(look: str, results: dict[str, Seen]) -> list[str]:
    """A table for each sequence of calls that is tried in this order."""
    cases = [case for case in CASES if case.look == look]
    lines = []
    for steps in dict.fromkeys(case.steps for case in cases):
        lines += ["", f"`{' → '.join(steps)}`", ""]
        lines += ["| the client's end | natively | fresh | pooled |", "| --- | --- | --- | --- |"]
        for case in (case for case in cases if case.steps == steps):
            cells = [str(case), " → ".join(results["native"][case])]
            for setting in SETTINGS[1:]:
                same = results[setting][case] == results["native"][case]
                cells.append("the same" if same else named(results, setting, case))
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


def named(results: dict[str, Seen], setting: str, case: Case) -> str:
    """The differences of one cell by their names; what has none is shown."""
    found = []
    for step, ours, native in zip(case.steps, results[setting][case], results["native"][case], strict=True):
        if ours != native:
            names = [d.name for d in DIFFERENCES if step in d.steps and d.ours(native) == ours]
            found.append(names[0] if names else f"{step}: {ours}")
    return ", ".join(dict.fromkeys(found))


def document(results: dict[str, Seen]) -> str:
    lines = [
        "# Ends: what an application is shown when its client goes",
        "",
        "<!-- Made by tests/integrity/ends.py: change that, then "
        "`MODNET_WRITE_DOCS=1 python -m pytest tests/integrity/test_ends.py`. -->",
        "",
        "Each row is a connection of its own, since an error is told once. The application waits until poll "
        "shows the client's end",
        "and then makes the calls above the table, in this order, on a non-blocking socket. `hang-up` is the "
        "events of poll once",
        "a hang-up has come: the answer to a write to a client that has closed is a reset. *fresh* and "
        "*pooled* are `MODNET_PAIRS`.",
    ]
    for look in dict.fromkeys(case.look for case in CASES):
        lines += ["", f"## An application that {look}", *rows(look, results)]
    lines += ["", "## Differences by name", "", "| name | what and why |", "| --- | --- |"]
    lines += [f"| {d.name} | {d.why} |" for d in DIFFERENCES]
    return "\n".join(lines) + "\n"
