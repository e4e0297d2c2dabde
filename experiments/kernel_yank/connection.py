"""One connection: writes, reads, yanks at random moments, and every byte of both directions checked.

Rules: nothing here waits; `Run` is stepped by whoever polls. What happens is told by the script's seed,
when it happens by the network. A refusal is an answer, a reset or a wrong byte a finding.
"""

from __future__ import annotations

import contextlib
import errno
import random
import select
import socket
import struct
from collections import Counter
from dataclasses import dataclass, field

from modnet import _native

from experiments.kernel_yank.plan import PACES, YANKS, Script
from experiments.kernel_yank.stream import Stream, WrongBytes

_INFO = struct.Struct("8B24I4Q6I4Q2I2Q4I")
_RECOVERING = 3
_CLOSE_WAIT = 8
_NOTSENT = 38
HUNG_S = 40.0
"""Longer than any stall: nothing moves any more."""
LINGER_S = 0.03
# Between yanks, in seconds: within a round trip, or several.
_PAUSES = (0.0, 0.001, 0.005, 0.02, 0.06)


@dataclass
class Found:
    """What came of one connection."""

    script: Script
    yanks: int = 0
    """That took bytes."""
    empty: int = 0
    """At moments when nothing was unsent."""
    refusals: Counter[str] = field(default_factory=Counter)
    moments: Counter[str] = field(default_factory=Counter)
    """States in which bytes were taken."""
    total_us: list[float] = field(default_factory=list)
    gap_us: list[float] = field(default_factory=list)
    bytes: int = 0
    stall_s: float = 0.0
    """The longest time without a byte arriving, while some were due and the reader read."""
    wrong: str | None = None
    reset: str | None = None
    hung: bool = False

    @property
    def trials(self) -> int:
        """Yanks that took bytes or were refused."""
        return self.yanks + self.refusals.total()


class Run:
    """A connection that is under way. `ours` is yanked from."""

    def __init__(self, script: Script, ours: socket.socket, peer: socket.socket, now_s: float) -> None:
        self.found = Found(script)
        self.ours, self.peer = ours, peer
        self._chance = random.Random(script.seed)
        self._out, self._in = Stream(), Stream()
        kind = script.kind
        self._goal = self._chance.randrange(1 << 16, 3 << 20) if kind != "start" else 1 << 19
        self._written = 0
        self._left = script.yanks
        # A control lives as long: it pauses where others yank.
        self._turns = script.yanks or YANKS
        self._next_s = now_s + (0 if kind == "start" else self._chance.uniform(0, 0.08))
        self._paused_until_s = 0.0
        self._pace = self._chance.choice(PACES)
        self._may_read, self._paced_s = 0.0, now_s
        self._pauses = 2 if kind == "closed" else 0
        self._upstream = kind in ("duplex", "half")
        self._up_goal = self._chance.randrange(1, 1 << 18) if self._upstream else 0
        self._up_written = 0
        self._read_input_s = now_s
        self._progress_s = now_s
        self._begun_s = now_s
        self._ended = self._half = False
        self.done = False
        for end in (ours, peer):
            end.setblocking(False)
        # Room for what is to be taken back.
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._chance.choice((1 << 17, 1 << 20, 4 << 20)))

    def step(self, now_s: float) -> None:
        """Does all that can be done now."""
        try:
            self._write(now_s)
            # Before the reader has made room: loopback would leave nothing unsent.
            if self._turns and now_s >= self._next_s:
                self._turn(now_s)
            self._read(now_s)
            self._peer_writes()
            self._read_input(now_s)
        except WrongBytes as error:
            self._end(wrong=str(error))
        except (ConnectionError, TimeoutError) as error:
            self._end(reset=str(error))
        else:
            if now_s - self._begun_s > HUNG_S and now_s - self._progress_s > HUNG_S / 2:
                self._end(hung=True)

    def wants(self) -> list[tuple[socket.socket, int]]:
        """What to poll for."""
        ours = select.POLLIN if self._upstream else 0
        if not self._ended and self._written < self._goal:
            ours |= select.POLLOUT
        return [(self.ours, ours), (self.peer, select.POLLIN)]

    def _write(self, now_s: float) -> None:
        if self._ended:
            return
        while self._written < self._goal:
            piece = self._chance.choice((1000, 20_000, 1 << 16, 1 << 18))
            try:
                sent = self.ours.send(self._out.next(min(piece, self._goal - self._written)))
            except BlockingIOError:
                return
            if not self._out.outstanding:
                self._progress_s = now_s
            self._out.written(sent)
            self._written += sent
        if not self._turns:
            self.ours.shutdown(socket.SHUT_WR)
            self._ended = True

    def _read(self, now_s: float) -> None:
        if now_s < self._paused_until_s:
            self._progress_s = now_s
            return
        if self._pauses and self._out.total > (1 << 16) * self._chance.random():
            self._pauses -= 1
            self._paused_until_s = now_s + self._chance.uniform(0.05, 0.3)
        self._may_read = min(1 << 18, self._may_read + self._pace * (now_s - self._paced_s))
        self._paced_s = now_s
        with contextlib.suppress(BlockingIOError):
            while self._may_read >= 1:
                data = self.peer.recv(int(self._may_read))
                self._may_read -= len(data)
                if not data:
                    self._finish()
                    return
                self.found.stall_s = max(self.found.stall_s, now_s - self._progress_s)
                self._progress_s = now_s
                self._out.arrived(data)
        if self._out.outstanding:
            self.found.stall_s = max(self.found.stall_s, now_s - self._progress_s)
        else:
            self._progress_s = now_s

    def _finish(self) -> None:
        if self._out.outstanding or not self._ended:
            raise WrongBytes(f"the end came with {self._out.outstanding} bytes missing")
        self.done = True
        self.found.bytes = self._out.total
        for end in (self.ours, self.peer):
            end.close()

    def _peer_writes(self) -> None:
        if self.done or not self._upstream or self._half:
            return
        with contextlib.suppress(BlockingIOError):
            while self._up_written < self._up_goal:
                sent = self.peer.send(self._in.next(min(5000, self._up_goal - self._up_written)))
                self._in.written(sent)
                self._up_written += sent
                if self.found.script.kind == "duplex":
                    return
        if self.found.script.kind == "half" and self._up_written == self._up_goal:
            self.peer.shutdown(socket.SHUT_WR)
            self._half = True

    def _read_input(self, now_s: float) -> None:
        if self.done or not self._upstream or now_s < self._read_input_s:
            return
        # Most of the time something is left unread.
        self._read_input_s = now_s + self._chance.uniform(0, 0.03)
        with contextlib.suppress(BlockingIOError):
            data = self.ours.recv(self._chance.choice((100, 4000, 1 << 17)))
            self._in.arrived(data)
            if not data and (self._in.outstanding or not self._half):
                raise WrongBytes(f"the input ended with {self._in.outstanding} bytes missing")

    def _turn(self, now_s: float) -> None:
        if self.done or self._ended:
            return
        state, unsent = self._moment()
        if not unsent:
            # Later, unless all has been sent.
            if self._written >= self._goal:
                self.found.empty += self._left
                self._turns = 0
            return
        self._next_s = now_s + self._chance.choice(_PAUSES) * self._chance.uniform(0.5, 1.5)
        self._turns -= 1
        if not self.found.script.yanks:
            return
        self._left -= 1
        most = self._chance.choice((1, 1000, 50_000, 1 << 22))
        try:
            if self._chance.random() < 0.2:
                peeked, _ = _native.kernel_yank_costs(self.ours.fileno(), most, peek=True)
                if peeked != self._out.last(len(peeked)):
                    raise WrongBytes("a peek showed other bytes than were written")
            data, costs = _native.kernel_yank_costs(self.ours.fileno(), most)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EOPNOTSUPP):
                raise ConnectionError(str(error)) from None
            self.found.refusals[error.strerror or ""] += 1
            return
        if not data:
            self.found.empty += 1
            return
        self.found.yanks += 1
        self.found.moments.update(state)
        self.found.total_us.append(costs["total_us"])
        self.found.gap_us.append(costs["gap_us"])
        self._out.yanked(data)
        # Something else takes its place, as when news are late.
        self._written -= min(len(data), self._chance.choice((0, 1000, 1 << 20)))

    def _moment(self) -> tuple[list[str], int]:
        """What the connection is doing, and how many bytes are unsent."""
        info = _INFO.unpack(self.ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size))
        state, ca, ssthresh, cwnd, snd_wnd = info[0], info[1], info[8 + 17], info[8 + 18], info[-1]
        found = []
        if ca >= _RECOVERING:
            found.append("recovery")
        elif cwnd < ssthresh:
            found.append("slow start")
        else:
            found.append("avoidance")
        if snd_wnd == 0:
            found.append("closed window")
        if state == _CLOSE_WAIT:
            found.append("half closed")
        with contextlib.suppress(BlockingIOError):
            if self.ours.recv(1, socket.MSG_PEEK):
                found.append("unread input")
        return found, info[_NOTSENT]

    def _end(self, wrong: str | None = None, reset: str | None = None, hung: bool = False) -> None:
        self.found.wrong, self.found.reset, self.found.hung = wrong, reset, hung
        self.done = True
        for end in (self.ours, self.peer):
            end.close()
