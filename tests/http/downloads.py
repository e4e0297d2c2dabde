"""Downloads of a report through module gzip, without sockets: one processor, a link for each client.

    mean_s(fixed(6), Link.steady(2), clients=4)
    mean_s(lambda: Adaptive(machine, 0, 9).level, Link(((0.05, 240.0), (1.5, 2.0))), machine=machine)

A fluid in steps of a quarter of a millisecond: the processor makes pieces of 64 KB for one client after the
other, as long as its queue has room; each link takes what its rate lets pass, and a window that doubles each
round trip until it is full. Levels cost and bring what `_TYPICAL` says. Deterministic. It must not know how a
policy decides.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modnet.modules._levels import _TYPICAL, Machine

from tests.estimate.link import MSS, Packet

BODY = 3_000_000
_STEP_S = 0.00025
_PIECE = 65536
_SOURCE_S = 1.5e-9
"""What Apache, PHP and the kernel take for a byte of the report, on the same processor."""
_ASK_S = 0.00006
_WORTH, _SOON, _LATE, _OVERDUE, _EVERY_S = 60, 20, 10, 20, 0.01
"""As `crates/python/src/http/body.rs` asks."""
_READ = 4
"""Pieces of one read; the next comes when all of it was given to the kernel."""
_SENDBUF = 1 << 30
_RTT_S = 0.0001

Policy = Callable[[Any, Any], int]


@dataclass(frozen=True)
class Link:
    """Turns of so many seconds at so many Mbit/s, over and over; `begin` seconds have passed."""

    turns: tuple[tuple[float, float], ...]
    begin: float = 0.0

    @staticmethod
    def steady(mbit: float) -> Link:
        return Link(((1.0, mbit),))

    def rate(self, at_s: float) -> float:
        """Bytes a second of payload."""
        at_s = (at_s + self.begin) % sum(seconds for seconds, _ in self.turns)
        turn = 0
        while at_s >= self.turns[turn][0]:
            at_s -= self.turns[turn][0]
            turn = (turn + 1) % len(self.turns)
        return self.turns[turn][1] * 125_000 * MSS / 1514


@dataclass
class Body:
    """One download: flow, state of TCP and encoding in one, as a policy sees them."""

    client: int
    begun_s: float
    now_s: float = 0.0
    name: str = "gzip"
    level: int = 1
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0
    held: float = 0.0
    """Made, but the coding gives a block at a time."""
    queue: float = 0.0
    kernel: float = 0.0
    """Bytes that TCP has not sent; and those under way."""
    flight: float = 0.0
    acked: float = 0.0
    pieces: int = 0
    limit: int = _SENDBUF
    window: float = 10.0 * MSS
    delivery_rate: int = 0
    app_limited: bool = True
    asked: int = 0
    asked_s: float = -1.0
    waits_s: float = 0.0
    seconds_then: float = 0.0
    rests: bool = False
    """The policy's answer stays while the link is idle."""
    mss: int = MSS
    min_rtt_us: int = round(_RTT_S * 1e6)
    retransmits: int = 0
    packets: tuple[Packet, Packet] = (Packet(), Packet())

    # --- a flow ---

    @property
    def tcp(self) -> Body:
        return self

    @property
    def peer(self) -> tuple[str, int]:
        return f"10.0.{self.client}.1", 1

    def limit_unsent(self, most: int | None) -> None:
        self.limit = most or _SENDBUF

    def flush(self) -> None:
        self.queue, self.held = self.queue + self.held, 0.0

    def until_busy(self) -> None:
        self.rests = True

    # --- its state ---

    def snapshot(self) -> Body:
        return self

    @property
    def updated_ns(self) -> int:
        return round(self.now_s * 1e9) + 1

    @property
    def cwnd(self) -> int:
        return int(self.window / MSS)

    @property
    def srtt_us(self) -> int:
        return round((_RTT_S + self.waits_s) * 1e6)

    @property
    def snd_una(self) -> int:
        return int(self.acked)

    @property
    def snd_nxt(self) -> int:
        return int(self.acked + self.flight)

    @property
    def write_seq(self) -> int:
        return int(self.acked + self.flight + self.kernel)

    @property
    def packets_out(self) -> int:
        return -int(-self.flight // MSS)

    @property
    def delivered(self) -> int:
        return int(self.acked / MSS)

    @property
    def bytes_acked(self) -> int:
        return int(self.acked)

    # --- what happens ---

    @property
    def elapsed(self) -> float:
        return self.seconds

    @property
    def wants(self) -> bool:
        return self.bytes_in < BODY and (self.queue < 1 or self.pieces % _READ != 0)

    @property
    def is_over(self) -> bool:
        return self.bytes_in >= BODY and self.queue + self.kernel + self.flight < 1

    def make(self, policy: Policy, now_s: float) -> float:
        """One piece; the processor's seconds that it took."""
        costs, sizes = _TYPICAL["gzip"]
        took, self.now_s = 0.0, now_s
        waited, worth = (now_s - self.asked_s) / _EVERY_S, (self.seconds - self.seconds_then) / _ASK_S
        times = _SOON if self.asked == 1 else _WORTH
        is_worth = worth >= times or (waited >= _LATE and worth >= _WORTH / 2)
        rests = self.rests and self.kernel + self.flight < 1
        if self.asked_s < 0 or waited >= _OVERDUE or (waited >= 1 and is_worth and not rests):
            self.rests = False
            self.level = policy(self, self)
            self.asked += 1
            self.asked_s, self.seconds_then, took = now_s, self.seconds, _ASK_S
        count = min(_PIECE, BODY - self.bytes_in)
        self.pieces += 1
        coding = count * costs[self.level] * 1e-9
        self.seconds += coding
        self.bytes_in += count
        self.held += count * sizes[self.level]
        if self.held > 16_000 or self.bytes_in == BODY:
            self.bytes_out += int(self.held)
            self.flush()
        return took + coding + count * _SOURCE_S

    def carry(self, rate: float) -> None:
        """What a step of time brings."""
        room = self.limit - self.kernel
        if room > 0:
            # The kernel's buffer is twice the window.
            given = min(self.queue, max(0.0, max(46_000, 2 * self.window) - self.kernel - self.flight))
            self.queue, self.kernel = self.queue - given, self.kernel + given
        sent = min(self.kernel, max(0.0, self.window - self.flight))
        self.kernel, self.flight = self.kernel - sent, self.flight + sent
        passed = min(self.flight, rate * _STEP_S)
        if passed:
            self.app_limited = passed < 0.99 * rate * _STEP_S
            self.delivery_rate = int(passed / _STEP_S)
            self.window += passed
        self.flight, self.acked = self.flight - passed, self.acked + passed
        self.waits_s += ((self.flight / rate) - self.waits_s) / 8


def run(
    policies: Callable[[], Policy],
    link: Link,
    clients: int = 4,
    each: int = 1,
    machine: Machine | None = None,
) -> list[tuple[float, Body]]:
    """`each` downloads of every client, one after the other: seconds and state of each."""
    done: list[tuple[float, Body]] = []
    left = [each - 1] * clients
    now = ahead = 0.0
    bodies = [Body(number, 0.0) for number in range(clients)]
    policy = {number: policies() for number in range(clients)}
    turn = itertools.cycle(range(clients))
    looked = 0.0
    while any(body is not None for body in bodies):
        ahead = max(ahead, now)
        while ahead < now + _STEP_S:
            ready = next((b for b in itertools.islice(turn, clients) if bodies[b] and bodies[b].wants), None)
            if ready is None:
                break
            ahead += bodies[ready].make(policy[ready], ahead)
        now += _STEP_S
        rate = link.rate(now)
        for number, body in enumerate(bodies):
            if body is None:
                continue
            body.carry(rate)
            if body.is_over:
                done.append((now - body.begun_s, body))
                bodies[number] = None  # type: ignore[call-overload]
                if left[number]:
                    left[number] -= 1
                    bodies[number], policy[number] = Body(number, now), policies()
        if machine is not None and now - looked >= 0.2:
            machine.look()
            looked = now
    return done


def mean_s(
    policies: Callable[[], Policy],
    link: Link,
    clients: int = 4,
    each: int = 1,
    machine: Machine | None = None,
) -> float:
    """Mean time of a download."""
    done = run(policies, link, clients, each, machine)
    return sum(seconds for seconds, _ in done) / len(done)


def fixed(level: int) -> Callable[[], Policy]:
    """The same level always."""
    return lambda: lambda flow, encoding: level
