"""Module gzip, played without sockets: what it compresses, what it says, how it chooses levels."""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any

import pytest
from modnet.errors import UsageError
from modnet.estimate import Measure
from modnet.loader import load, parse
from modnet.modules._levels import Adaptive, Machine, Paper
from modnet.modules.gzip import Gzip, choose
from modnet.testing import Playback

from tests.http.test_module import chunks

TEXT = b"a line of text, as there are many\n" * 200


def made(**settings: Any) -> Gzip:
    """The module with these settings and a fixed level, which needs no network."""
    return Gzip(Gzip.Settings(**{"level": 6, **settings}))


def served(
    *fields: str,
    accept: str | None = "gzip",
    body: bytes = TEXT,
    status: str = "200 OK",
    request: tuple[str, ...] = (),
    method: str = "GET",
    **settings: Any,
) -> tuple[dict[str, str], bytes]:
    """Headers, in small letters, and the body that a client gets."""
    playback = Playback(made(**settings))
    asked = [f"{method} / HTTP/1.1", "Host: a", *request]
    if accept is not None:
        asked.append(f"Accept-Encoding: {accept}")
    playback.inbound("\r\n".join([*asked, "", ""]).encode())
    has_type = any(field.lower().startswith("content-type") for field in fields)
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields]
    if not has_type:
        lines.append("Content-Type: text/html")
    out = playback.outbound("\r\n".join([*lines, "", ""]).encode() + (body if method == "GET" else b""))
    head, _, rest = out.partition(b"\r\n\r\n")
    given = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    headers = {name.lower(): value for name, value in given.items()}
    if headers.get("transfer-encoding") == "chunked":
        rest = chunks(out)
    if headers.get("content-encoding") == "gzip" and method == "GET":
        rest = zlib.decompress(rest, 31)
    return headers, rest


def test_a_page_is_compressed_and_says_so() -> None:
    headers, body = served('ETag: "1"', "Content-MD5: x", "Digest: y", "Accept-Ranges: bytes")
    assert body == TEXT
    assert headers == {
        "content-type": "text/html",
        "content-encoding": "gzip",
        "transfer-encoding": "chunked",
        "vary": "Accept-Encoding",
        "etag": 'W/"1"',
    }


@pytest.mark.parametrize(
    ("what", "vary"),
    [
        ({"fields": ["Content-Type: image/jpeg"]}, False),
        ({"body": b"short"}, False),
        ({"fields": ["Content-Encoding: br"]}, False),
        ({"fields": ["Cache-Control: public, no-transform"]}, False),
        ({"fields": ["Content-Range: bytes 0-9/99"], "status": "206 Partial Content"}, False),
        ({"request": ("Cache-Control: no-transform",)}, False),
        ({"accept": None}, True),
        ({"accept": "br"}, True),
        ({"accept": "gzip;q=0"}, True),
        ({"accept": "identity, gzip;q=0.5"}, True),
    ],
)
def test_what_stays_as_it_is(what: dict[str, Any], vary: bool) -> None:
    fields = what.pop("fields", [])
    body = what.get("body", TEXT)
    headers, came = served(*fields, **what)
    assert came == body
    assert headers["content-length"] == str(len(body)) and headers.get("content-encoding") != "gzip"
    # A cache must know that another client would have got something else.
    assert ("vary" in headers) is vary


def test_head_speaks_as_get() -> None:
    get, _ = served('ETag: "1"')
    head, body = served('ETag: "1"', method="HEAD")
    assert body == b"" and head == {name: get[name] for name in get if name != "transfer-encoding"}


def test_vary_is_extended_and_not_repeated() -> None:
    assert served("Vary: Cookie, accept-encoding")[0]["vary"] == "Cookie, accept-encoding"
    assert served("Vary: *")[0]["vary"] == "*"


@pytest.mark.parametrize(("asked", "tag"), [('W/"1"', 'W/"1"'), ('"0", W/"1"', 'W/"1"'), ('W/"2"', '"1"')])
def test_a_weak_validator_is_answered_with_a_weak_one(asked: str, tag: str) -> None:
    headers, _ = served(
        'ETag: "1"', status="304 Not Modified", request=(f"If-None-Match: {asked}",), body=b""
    )
    assert headers["etag"] == tag


def test_the_clients_weights_count_before_the_servers_order() -> None:
    assert choose(("zstd", "gzip"), "gzip, zstd") == "zstd"
    assert choose(("zstd", "gzip"), "gzip, zstd;q=0.9") == "gzip"
    assert choose(("zstd", "br"), "gzip") is None
    assert choose(("zstd", "br"), "*;q=0.1") == "zstd"
    for coding in ("zstd", "br"):
        assert served(coding=(coding, "gzip"), accept="gzip, br, zstd")[0]["content-encoding"] == coding


def test_events_go_on_at_once_and_slow_pages_when_nothing_comes() -> None:
    for kind, at_once in (("text/event-stream", True), ("text/html", False)):
        playback = Playback(made())
        playback.inbound(b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
        playback.outbound(head.encode())
        stream = zlib.decompressobj(31)
        came = playback.outbound(b"9\r\ndata: 1\n\n\r\n")
        if not at_once:
            came += playback.outbound_silence()
        assert playback.outbound_silence() == b""
        # One chunk a flush.
        text = b"".join(
            stream.decompress(piece) for piece in came.split(b"\r\n") if len(piece) > 3 or piece[:1] > b"f"
        )
        assert text == b"data: 1\n\n"


def test_a_client_of_1_0_gets_a_body_that_ends_with_the_connection() -> None:
    playback = Playback(made())
    playback.inbound(b"GET / HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n")
    lines = ["HTTP/1.1 200 OK", "Connection: close", "Content-Type: text/css", f"Content-Length: {len(TEXT)}"]
    head, _, body = playback.outbound("\r\n".join([*lines, "", ""]).encode() + TEXT).partition(b"\r\n\r\n")
    assert b"Content-Length" not in head and b"Transfer-Encoding" not in head
    assert zlib.decompress(body, 31) == TEXT


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("gzip,level=10", "level must be from 0 to 9"),
        ("gzip,lowest=7,highest=3", "lowest and highest"),
        ("gzip,coding=gzip,coding=gzip", "each coding once"),
        ("gzip,coding=deflate", "one of gzip, zstd, br"),
        ("gzip,type=text", "like text/html"),
        ("gzip,policy=papers", "did you mean 'paper'"),
    ],
)
def test_mistakes_are_told_before_anything_starts(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        load(parse(text))


# --- levels ---------------------------------------------------------------------------------------


@dataclasses.dataclass
class Tcp:
    """A connection as a policy sees it."""

    cwnd: int = 10
    mss: int = 1448
    srtt_us: int = 20_000
    snd_una: int = 0
    snd_nxt: int = 0
    write_seq: int = 0
    packets_out: int = 0
    delivery_rate: int = 0
    app_limited: bool = False
    bytes_acked: int = 0
    updated_ns: int = 1_000_000_000

    def snapshot(self) -> Tcp:
        """Ten milliseconds later every time."""
        self.updated_ns += 10_000_000
        return self


class Flow:
    """A flow as a policy sees it."""

    def __init__(self, tcp: Tcp, peer: str = "192.0.2.1") -> None:
        self.tcp = tcp
        self.peer = (peer, 40000)
        self.unsent: list[int | None] = []

    def limit_unsent(self, most: int | None) -> None:
        self.unsent.append(most)


class Known:
    """An estimator that knows, or does not."""

    def __init__(self, rate: float | None, confidence: float = 0.6) -> None:
        self.measure = None if rate is None else Measure(rate, confidence, "rate")

    def observe(self, snapshot: Any) -> None:
        """Nothing is learned."""

    def best(self) -> Measure | None:
        return self.measure


def adaptive(machine: Machine, rate: float | None, lowest: int = 0, highest: int = 9) -> Adaptive:
    """The policy, with an estimator that knows this."""
    return Adaptive(machine, lowest, highest, Known(rate))  # type: ignore[arg-type]


class Encoding:
    """A body that is being compressed; `goes` is what its coding has done since the last look."""

    def __init__(self, name: str = "gzip", slowed: float = 1.0) -> None:
        self.name = name
        self.slowed = slowed
        self.level = 1
        self.bytes_in = self.bytes_out = self.flushes = 0
        self.seconds = self.elapsed = 0.0
        self.rests = False

    def goes(self, level: int, count: int, made: int, seconds: float) -> None:
        self.level = level
        self.bytes_in += count
        self.bytes_out += made
        self.seconds += seconds
        self.elapsed += seconds * self.slowed

    def until_busy(self):
        self.rests = True

    def flush(self) -> None:
        self.flushes += 1


def settled(policy: Any, flow: Flow, encoding: Any, rounds: int = 30) -> int:
    """The level after some rounds in each of which 64 KB cost and become what is typical."""
    level = policy.level(flow, encoding)
    for _ in range(rounds):
        encoding.goes(level, 65536, 65536 // 12, 65536 * (1 + 2 * level) * 1e-9)
        level = policy.level(flow, encoding)
    return int(level)


WAITS = Tcp(write_seq=50_000, snd_nxt=20_000, packets_out=14)
"""A connection that has more to send than it can."""
IDLE = Tcp(cwnd=1000, srtt_us=1000)
"""One that could send more than it has."""


def test_neighbours_that_read_nothing_do_not_slow_down_a_connection_that_is_fast() -> None:
    machine = Machine(1)
    machine.has_rate("192.0.2.0/24", 20_000.0)
    # Short bodies: each is asked about once.
    fresh, kept = Flow(Tcp()), Flow(Tcp(delivery_rate=30_000_000, app_limited=True))
    assert adaptive(machine, None).level(fresh, Encoding()) > 6  # type: ignore[arg-type]
    assert adaptive(machine, None).level(kept, Encoding()) < 3  # type: ignore[arg-type]
    assert machine.rate_of("192.0.2.0/24") == 20_000.0


def test_paper_goes_down_where_tcp_could_send_more_and_up_where_it_cannot() -> None:
    policy = Paper(Machine(1), 1, 9)
    assert settled(policy, Flow(Tcp(cwnd=100, write_seq=1000)), Encoding()) == 1
    assert settled(policy, Flow(Tcp(cwnd=10, write_seq=100_000)), Encoding()) == 9
    policy = Paper(Machine(1), 1, 9)
    assert policy.level(Flow(Tcp()), Encoding()) == 6  # type: ignore[arg-type]


def test_a_slow_link_gets_a_hard_level() -> None:
    assert settled(adaptive(Machine(1), 30_000), Flow(WAITS), Encoding()) >= 8


def test_a_link_that_is_always_idle_gets_a_light_level() -> None:
    assert settled(adaptive(Machine(1), None), Flow(IDLE), Encoding()) <= 2


def test_where_the_link_cannot_be_the_slower_half_nobody_asks_until_something_waits_for_it() -> None:
    for flow, rate, rests in ((Flow(IDLE), None, True), (Flow(WAITS), 30_000, False)):
        encoding = Encoding()
        settled(adaptive(Machine(1), rate), flow, encoding)
        assert encoding.rests is rests


def test_a_busy_machine_gets_a_lighter_level_for_the_same_link() -> None:
    levels = [
        settled(adaptive(Machine(2), 3_000_000), Flow(WAITS), Encoding(slowed=slowed))
        for slowed in (1.0, 9.0)
    ]
    assert levels[1] < levels[0]


def test_more_bodies_get_lighter_levels_and_those_on_slower_links_hardly_count() -> None:
    levels = []
    for count, rate in ((0, 0.0), (30, 3_000_000.0), (30, 10_000.0)):
        machine = Machine(1)
        for body in range(count):
            machine.ask(-body, rate)
        levels.append(settled(adaptive(machine, 3_000_000), Flow(WAITS), Encoding()))
    assert levels[1] < levels[0] == levels[2]


def test_a_body_that_is_over_wants_nothing_any_more() -> None:
    machine = Machine(1)
    policy = adaptive(machine, 3_000_000)
    settled(policy, Flow(WAITS), Encoding())
    assert (machine.active, machine.carried) == (1, 3_000_000)
    machine.look()
    assert (machine.active, machine.carried) == (1, 3_000_000)
    del policy
    assert (machine.active, machine.carried) == (0, 0.0)
    machine.ask(1, 5.0)
    machine.look()
    machine.look()
    assert (machine.active, machine.carried) == (0, 0.0)


def test_a_link_that_has_become_fast_is_noticed_in_a_few_looks() -> None:
    policy = adaptive(Machine(1), 250_000)
    encoding = Encoding()
    assert settled(policy, Flow(WAITS), encoding) >= 8
    idle = dataclasses.replace(IDLE, srtt_us=100)
    levels = []
    for _ in range(6):
        encoding.goes(policy.level(Flow(idle), encoding), 262_144, 20_000, 0.001)
        idle.bytes_acked += 20_000
        levels.append(encoding.level)
    assert levels == sorted(levels, reverse=True) and levels[-1] <= 2


def test_levels_stay_within_their_bounds() -> None:
    assert settled(adaptive(Machine(1), 10_000, 2, 4), Flow(WAITS), Encoding()) == 4
    assert settled(adaptive(Machine(1), None, 2, 4), Flow(IDLE), Encoding()) == 2
    assert settled(Paper(Machine(1), 2, 4), Flow(Tcp(cwnd=1000)), Encoding()) == 2


def test_a_new_connection_begins_with_what_its_network_had() -> None:
    machine = Machine(1)
    settled(adaptive(machine, 30_000), Flow(WAITS, "192.0.2.1"), Encoding())
    neighbour, stranger = (Flow(Tcp(), peer) for peer in ("192.0.2.77", "198.51.100.1"))
    first = [adaptive(machine, None).level(flow, Encoding()) for flow in (neighbour, stranger)]  # type: ignore[arg-type]
    assert first[0] > first[1]


def goes(policy: Any, flow: Flow, encoding: Any) -> None:
    """64 KB more, as `settled` has them."""
    level = policy.level(flow, encoding)
    encoding.goes(level, 65536, 65536 // 12, 65536 * (1 + 2 * level) * 1e-9)


def test_who_begins_after_a_crowd_expects_it_again_and_is_asked_once_more() -> None:
    machine = Machine(1)
    for body in range(40):
        machine.ask(-body, 250_000.0)
    for _ in range(25):
        machine.look()
    assert machine.active == 0 and machine.lately < 1 and machine.crowd > 30
    machine.has_rate("192.0.2.0/24", 250_000.0)
    policy, encoding = adaptive(machine, None), Encoding()
    goes(policy, Flow(Tcp()), encoding)
    assert 1 < encoding.level < 8 <= policy.level(Flow(Tcp()), encoding)  # type: ignore[arg-type]


@pytest.mark.parametrize("tcp", [WAITS, IDLE])
def test_a_first_burst_says_less_than_the_network(tcp: Tcp) -> None:
    levels = []
    for acked in (15_000, 100_000):
        machine, encoding = Machine(1), Encoding()
        machine.has_rate("192.0.2.0/24", 50_000.0)
        policy, flow = adaptive(machine, None), Flow(dataclasses.replace(tcp))
        for _ in range(12):
            goes(policy, flow, encoding)
            flow.tcp.delivery_rate, flow.tcp.bytes_acked = 30_000_000, acked
        levels.append(encoding.level)
    assert levels[0] >= 8 and levels[1] <= 3


def test_an_estimate_below_what_has_just_arrived_is_a_dip() -> None:
    levels = []
    for packets in (4, 400):
        policy, encoding = adaptive(Machine(1), None), Encoding()
        flow = Flow(dataclasses.replace(WAITS))
        for rate in range(50_000, 50_008):
            policy._bandwidth = Known(rate)  # type: ignore[assignment]
            goes(policy, flow, encoding)
            flow.tcp.bytes_acked += packets * 1448
        levels.append(encoding.level)
    assert levels[0] >= 8 and levels[1] <= 3


def test_without_an_estimate_the_kernels_word_counts_while_it_has_more_to_send() -> None:
    busy = dataclasses.replace(WAITS, delivery_rate=30_000)
    assert settled(adaptive(Machine(1), None), Flow(busy), Encoding()) >= 8
    limited = dataclasses.replace(IDLE, delivery_rate=30_000, app_limited=True)
    assert settled(adaptive(Machine(1), None), Flow(limited), Encoding()) <= 2


def test_an_estimate_without_confidence_is_not_believed() -> None:
    policy = Adaptive(Machine(1), 0, 9, Known(30_000, 0.1))  # type: ignore[arg-type]
    assert settled(policy, Flow(IDLE), Encoding()) <= 2


@pytest.mark.parametrize(
    ("rate", "slowed", "least", "most"),
    [(50_000, 9.0, 16_384, 16_384), (10_000_000, 9.0, 200_000, 400_000), (100_000, 1.0, 1 << 20, 1 << 20)],
)
def test_the_kernel_is_given_what_it_sends_soon_unless_the_machine_is_quiet(
    rate: int, slowed: float, least: int, most: int
) -> None:
    flow = Flow(WAITS)
    settled(adaptive(Machine(1), rate), flow, Encoding(slowed=slowed))
    assert flow.unsent[-1] is not None and least <= flow.unsent[-1] <= most
    # It is told when it changes, and not each time.
    assert len(flow.unsent) < 10


def test_a_body_is_stored_only_where_many_wait_and_the_link_was_seen_to_carry_it() -> None:
    levels = []
    for others, rate in ((20, 900_000_000), (20, None), (0, 900_000_000)):
        machine = Machine(1)
        for body in range(others):
            machine.ask(-body, 900_000_000)
        tcp = WAITS if rate else IDLE
        levels.append(settled(adaptive(machine, rate), Flow(tcp), Encoding()))
    assert levels == [0, 1, 1]


def test_what_a_coding_holds_back_is_flushed_where_the_link_stands_idle() -> None:
    for tcp, expected in ((Tcp(), True), (WAITS, False)):
        encoding = Encoding()
        settled(adaptive(Machine(1), 10_000), Flow(tcp), encoding, rounds=1)
        assert bool(encoding.flushes) is expected


def test_without_tcps_state_the_level_stays_and_is_counted() -> None:
    class Blind(Flow):
        def __init__(self) -> None:
            super().__init__(Tcp())
            del self.tcp

        def __getattr__(self, name: str) -> Any:
            raise OSError("inspection is off")

    machine = Machine(1)
    assert settled(Adaptive(machine, 0, 9), Blind(), Encoding(), 3) == 6
    assert machine.counters()["blind"] == 4 and machine.counters()["level_6"] == 4
