"""Types of the Rust extension; `make check` compares them with the binary (mypy.stubtest)."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, Protocol, final, overload

from typing_extensions import disjoint_base

from modnet.estimate.measure import Measure
from modnet.estimate.snapshot import Snapshot

__all__ = [
    "BUILD_PROFILE",
    "COUNTERS",
    "HTTP_CODINGS",
    "MAX_CHAIN",
    "STATE_LAYOUT",
    "VERSION",
    "Bandwidth",
    "DeliveryRate",
    "Engine",
    "Flow",
    "HttpEncoding",
    "HttpHeaders",
    "HttpPlayback",
    "HttpRequest",
    "HttpResponse",
    "LateSocket",
    "Lock",
    "PacketPair",
    "Tcp",
    "TcpPacket",
    "TcpSnapshot",
    "apply_chain",
    "ask",
    "calls_apply",
    "calls_gate",
    "calls_getsockets",
    "calls_map_state",
    "calls_register",
    "calls_yank",
    "calls_yank_forget",
    "calls_yank_listen",
    "calls_yank_ready",
    "calls_yank_request",
    "calls_yankwrite",
    "calls_yield",
    "create_record",
    "find_record",
    "inspect_attend",
    "inspect_directory",
    "inspect_disable",
    "inspect_enable",
    "inspect_mode",
    "inspect_status",
    "is_living",
    "janitor_is_there",
    "janitor_work",
    "kernel_yank",
    "kernel_yank_costs",
    "kernel_yank_counts",
    "kernel_yank_probe",
    "kernel_yank_refusals",
    "kernel_yank_rescue",
    "late_drain",
    "modules",
    "plan_room",
    "records",
    "remove_record",
    "runtime_dir",
    "users",
]

class _Transform(Protocol):
    """A body's transform that is more than a function; `flush()` and `end()` are optional."""

    def data(self, piece: bytes, /) -> bytes:
        """The next bytes."""

@final
class TcpPacket:
    """A packet that was received."""

    @property
    def arrival_ns(self) -> int:
        """When it was received, in nanoseconds of CLOCK_MONOTONIC; 0: there was none."""
    @property
    def seq(self) -> int:
        """Its sequence number."""
    @property
    def ack_seq(self) -> int:
        """Its acknowledgement number."""
    @property
    def sent_ns(self) -> int:
        """When the newest data it acknowledged had been sent, on the same clock; 0: it acknowledged none."""
    @property
    def acked_bytes(self) -> int:
        """Bytes that it acknowledged and no packet before it had."""
    @property
    def acked_packets(self) -> int:
        """Packets that it acknowledged, selectively or not, and none before it had."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class TcpSnapshot:
    """All attributes of `Tcp` as they stood together."""

    @property
    def state(self) -> int:
        """TCP state: 1 ESTABLISHED, 4 FIN_WAIT1, 7 CLOSE, 8 CLOSE_WAIT and so on."""
    @property
    def cwnd(self) -> int:
        """Congestion window, in packets."""
    @property
    def ssthresh(self) -> int:
        """Slow start threshold, in packets; 2147483647: none yet."""
    @property
    def srtt_us(self) -> int:
        """Smoothed round-trip time, in microseconds."""
    @property
    def rttvar_us(self) -> int:
        """Mean deviation of the round-trip time, in microseconds."""
    @property
    def min_rtt_us(self) -> int:
        """Least round-trip time of late, in microseconds; 4294967295: none was measured."""
    @property
    def mss(self) -> int:
        """Bytes of payload in a full packet."""
    @property
    def packets_out(self) -> int:
        """Packets sent and not acknowledged cumulatively."""
    @property
    def retrans_out(self) -> int:
        """Of those: retransmitted and still out."""
    @property
    def lost_out(self) -> int:
        """Of those: believed lost."""
    @property
    def sacked_out(self) -> int:
        """Of those: acknowledged selectively."""
    @property
    def snd_una(self) -> int:
        """First sequence number that is not acknowledged."""
    @property
    def snd_nxt(self) -> int:
        """Sequence number that will be sent next."""
    @property
    def write_seq(self) -> int:
        """Sequence number after the last byte written."""
    @property
    def rcv_nxt(self) -> int:
        """Sequence number that is expected next from the peer."""
    @property
    def delivered(self) -> int:
        """Packets delivered to the peer, modulo 2^32."""
    @property
    def retransmits(self) -> int:
        """Retransmissions in the connection's life."""
    @property
    def bytes_acked(self) -> int:
        """Bytes acknowledged in the connection's life."""
    @property
    def delivery_rate(self) -> int:
        """The latest delivery rate, in bytes per second; 0: none was measured."""
    @property
    def pacing_rate(self) -> int:
        """Rate at which the kernel paces packets, in bytes per second; 2^64-1: it does not."""
    @property
    def wmem_queued(self) -> int:
        """Bytes of kernel memory that the send queue takes."""
    @property
    def snd_buf(self) -> int:
        """Limit of the same (SO_SNDBUF), in bytes."""
    @property
    def snd_wnd(self) -> int:
        """The peer's receive window, in bytes."""
    @property
    def updated_ns(self) -> int:
        """When it was written, in nanoseconds of CLOCK_MONOTONIC."""
    @property
    def cookie(self) -> int:
        """The socket's cookie (SO_COOKIE)."""
    @property
    def app_limited(self) -> bool:
        """Whether `delivery_rate` was measured while the application had nothing to send."""
    @property
    def source(self) -> str:
        """ "bpf": the kernel writes the state with every packet; "sampled": it is taken from TCP_INFO."""
    @property
    def age(self) -> float:
        """Seconds since it was written: since the latest packet or send ("bpf"), or since it was sampled."""
    @property
    def packets(self) -> tuple[TcpPacket, TcpPacket]:
        """The two packets received last, newest first; all 0 where the state is sampled."""
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Tcp:
    """The TCP state of a flow's real socket, as it is now. What cannot be read raises `OSError`."""

    @property
    def state(self) -> int:
        """TCP state: 1 ESTABLISHED, 4 FIN_WAIT1, 7 CLOSE, 8 CLOSE_WAIT and so on."""
    @property
    def cwnd(self) -> int:
        """Congestion window, in packets."""
    @property
    def ssthresh(self) -> int:
        """Slow start threshold, in packets; 2147483647: none yet."""
    @property
    def srtt_us(self) -> int:
        """Smoothed round-trip time, in microseconds."""
    @property
    def rttvar_us(self) -> int:
        """Mean deviation of the round-trip time, in microseconds."""
    @property
    def min_rtt_us(self) -> int:
        """Least round-trip time of late, in microseconds; 4294967295: none was measured."""
    @property
    def mss(self) -> int:
        """Bytes of payload in a full packet."""
    @property
    def packets_out(self) -> int:
        """Packets sent and not acknowledged cumulatively."""
    @property
    def retrans_out(self) -> int:
        """Of those: retransmitted and still out."""
    @property
    def lost_out(self) -> int:
        """Of those: believed lost."""
    @property
    def sacked_out(self) -> int:
        """Of those: acknowledged selectively."""
    @property
    def snd_una(self) -> int:
        """First sequence number that is not acknowledged."""
    @property
    def snd_nxt(self) -> int:
        """Sequence number that will be sent next."""
    @property
    def write_seq(self) -> int:
        """Sequence number after the last byte written."""
    @property
    def rcv_nxt(self) -> int:
        """Sequence number that is expected next from the peer."""
    @property
    def delivered(self) -> int:
        """Packets delivered to the peer, modulo 2^32."""
    @property
    def retransmits(self) -> int:
        """Retransmissions in the connection's life."""
    @property
    def bytes_acked(self) -> int:
        """Bytes acknowledged in the connection's life."""
    @property
    def delivery_rate(self) -> int:
        """The latest delivery rate, in bytes per second; 0: none was measured."""
    @property
    def pacing_rate(self) -> int:
        """Rate at which the kernel paces packets, in bytes per second; 2^64-1: it does not."""
    @property
    def wmem_queued(self) -> int:
        """Bytes of kernel memory that the send queue takes."""
    @property
    def snd_buf(self) -> int:
        """Limit of the same (SO_SNDBUF), in bytes."""
    @property
    def snd_wnd(self) -> int:
        """The peer's receive window, in bytes."""
    @property
    def updated_ns(self) -> int:
        """When it was written, in nanoseconds of CLOCK_MONOTONIC."""
    @property
    def cookie(self) -> int:
        """The socket's cookie (SO_COOKIE)."""
    @property
    def app_limited(self) -> bool:
        """Whether `delivery_rate` was measured while the application had nothing to send."""
    @property
    def source(self) -> str:
        """ "bpf": the kernel writes the state with every packet; "sampled": it is taken from TCP_INFO."""
    @property
    def age(self) -> float:
        """Seconds since it was written: since the latest packet or send ("bpf"), or since it was sampled."""
    @property
    def packets(self) -> tuple[TcpPacket, TcpPacket]:
        """The two packets received last, newest first; all 0 where the state is sampled."""
    @property
    def reason(self) -> str | None:
        """Why it is sampled; None: it is not."""
    def snapshot(self) -> TcpSnapshot:
        """A copy of all attributes as they stood together."""

# --- a client's bandwidth: `modnet.estimate` ------------------------------------------------------

@disjoint_base
class PacketPair:
    """Bandwidth by packet pair, in bytes/s of payload."""

    def __new__(cls) -> PacketPair: ...
    @property
    def last(self) -> float | None:
        """The latest pair alone, as the paper takes it; bytes/s, None before the first one."""
    @property
    def estimate(self) -> float | None:
        """The median of the latest nine pairs; bytes/s, None before the first one."""
    def observe(self, snapshot: Snapshot) -> bool:
        """Takes the pair that the snapshot shows, if it is new and a pair at all; whether it was."""

@disjoint_base
class DeliveryRate:
    """Bandwidth by the rate of acknowledgement, in bytes/s of payload."""

    def __new__(cls) -> DeliveryRate: ...
    @property
    def recent(self) -> float | None:
        """The slope of the last window in which the network was the limit, or until then the largest so far;
        bytes/s, None before.
        """
    @property
    def trust(self) -> float:
        """How far `recent` could be trusted at `at_ns`, from 0 to 1.

        n / (n + 6) for n packets; less where single packets are unknown and readings were far apart.
        """
    @property
    def bound(self) -> bool:
        """Whether `recent` is a lower bound only: nothing waited in the network, the sender was the limit."""
    @property
    def at_ns(self) -> int:
        """When `recent` was measured, or confirmed by a lower bound near it; CLOCK_MONOTONIC, 0 before."""
    @property
    def maximum(self) -> float | None:
        """The largest `recent` of the ten seconds before `at_ns`; bytes/s, None before the first one."""
    @property
    def estimate(self) -> float | None:
        """`recent`: after a change for the worse the maximum is wrong for ten seconds."""
    def judged(self) -> tuple[float | None, float, bool, int]:
        """`recent`, `trust`, `bound` and `at_ns`, judged once."""
    def observe(self, snapshot: Snapshot) -> None:
        """Takes a snapshot. Four or more in a train are enough; 5 ms apart do for links below 50 Mbit/s."""

@disjoint_base
class Bandwidth:
    """A connection's bandwidth, in bytes/s of payload.

    In a module, `bandwidth.observe(flow.tcp.snapshot())` whenever a hook or a timer runs, and
    `bandwidth.estimate` when there is something to decide.
    """

    def __new__(cls) -> Bandwidth: ...
    @property
    def pair(self) -> PacketPair:
        """The packet pairs alone."""
    @property
    def rate(self) -> DeliveryRate:
        """The rate of acknowledgement alone."""
    def observe(self, snapshot: Snapshot) -> None:
        """Takes a snapshot, of the same connection and not older than the one before."""
    @property
    def estimate(self) -> float | None:
        """Bytes/s of payload that the network carries now; None while nothing is known."""
    @property
    def confidence(self) -> float:
        """From 0 (nothing is known) to 1; above 0.5 half of the estimates are within a few per cent."""
    def best(self) -> Measure | None:
        """The most trusted measure; None while there is none."""

@final
class Flow:
    """One stolen connection. Made by the engine, given to every hook; use it inside hooks only.

    Any attribute can be set on it: a module keeps there what belongs to the flow (`modnet.flow` has the
    types).
    """

    @property
    def id(self) -> int:
        """Unique in this module process."""
    @property
    def peer(self) -> tuple[str, int] | None:
        """Address and port of the network's end; None where the system did not tell."""
    @property
    def local(self) -> tuple[str, int] | None:
        """Address and port of the application's end; None where the system did not tell."""
    @property
    def application(self) -> int:
        """Process id of the application."""
    @property
    def chain(self) -> tuple[str, ...]:
        """Names of the whole chain, nearest to the application first."""
    @property
    def position(self) -> int:
        """This module's place in `chain`, from 0."""
    @property
    def bytes_outbound(self) -> int:
        """Bytes read from the application so far."""
    @property
    def bytes_inbound(self) -> int:
        """Bytes read from the network so far."""
    @property
    def opened_at(self) -> float:
        """When it was stolen, in seconds since 1970."""
    @property
    def tcp(self) -> Tcp:
        """The TCP state of the real socket, wherever in the chain this module is."""
    def forward(self, direction: Literal["outbound", "inbound", "both"] = "both") -> None:
        """Gives a direction back to the native path, from the next byte on: its hooks, the end's included,
        are not called any more. What the running hook returns is still sent.
        """
    def limit(
        self, direction: Literal["outbound", "inbound", "both"], rate: float | None, burst: int = 65536
    ) -> None:
        """Limits a direction to `rate` bytes a second after the first `burst` bytes; None takes the limit
        away. With "both" each direction has its own.
        """
    def yield_to(
        self,
        names: str | Sequence[str],
        where: Literal["left", "right", "replace"] = "replace",
        *,
        outbound: bytes = b"",
        inbound: bytes = b"",
        passed: bytes = b"",
    ) -> None:
        """Other modules, in order, take this one's place, or come between it and its neighbour towards the
        application (left) or the network (right), before what the running hook returns goes on.

        With "replace" what the hook returns is the first that the new modules read; this one is called for
        the flow once more, by `closed`. `outbound` and `inbound` are bytes that it has read and held back:
        the new modules read them before everything else. `passed` are bytes that came from the network and
        have passed this module already: the new modules' `inbound` is called with them first, and what it
        returns for them is dropped, so that a module that joins at an answer knows the request.

        OSError: ENOENT, no living module has one of the names; EAGAIN, it takes no more flows now; EPERM,
        it is another user's; EINVAL, no names, or too many for a chain. Nothing has changed then.
        """
    def limit_unsent(self, most: int | None) -> None:
        """Keeps about `most` bytes at most in the real socket that TCP has not sent; None: any number."""
    @property
    def unsent(self) -> int:
        """Outbound bytes that were passed on and that TCP has not sent: those that `yank` can take, and those
        that the kernel holds (0 where its state cannot be read).
        """
    def yank(self, length: int) -> bytes:
        """Takes the last outbound bytes back, at most `length`, that were passed on and not given to the
        kernel, in the order of the stream. The client never sees them.

        Raises OSError: EOPNOTSUPP if the module is not `revocable`, EAGAIN (BlockingIOError) while another
        thread holds the lock.
        """
    def peek(self, length: int) -> bytes:
        """The bytes that `yank` would take. Raises as `yank`."""
    def write(self, data: bytes) -> None:
        """Puts outbound bytes behind the last that were passed on; for timers, and in place of what was
        yanked under a lock. Raises as `yank`.
        """
    def lock(self) -> Lock:
        """A context in which nothing outbound is sent, and what is passed on meanwhile stays behind, so that
        the last bytes stay the last. It belongs to the thread. Raises as `yank`.
        """
    def reset(self) -> None:
        """Ends the flow now: both ends see a connection reset. Of the hooks, only `closed` is called after
        it.
        """

@final
class HttpHeaders:
    """The fields of a message; names are found in whatever case, text is ISO-8859-1."""

    @overload
    def get(self, name: str, default: str) -> str: ...
    @overload
    def get(self, name: str, default: None = None) -> str | None: ...
    def all(self, name: str) -> list[str]:
        """Every value of that name."""
    def lists(self, name: str, token: str) -> bool:
        """Whether one of the comma-separated members of the fields of that name is `token`."""
    def add(self, name: str, value: str) -> None:
        """Adds a field at the end."""
    def discard(self, name: str) -> None:
        """Takes all fields of that name away, if there are any."""
    def items(self) -> list[tuple[str, str]]:
        """Names and values, as they were sent, in order."""
    def __getitem__(self, name: str, /) -> str: ...
    def __setitem__(self, name: str, value: str, /) -> None:
        """Gives the first field of that name this value, in its place, or adds it; others of the name go."""
    def __delitem__(self, name: str, /) -> None: ...
    def __contains__(self, name: str, /) -> bool: ...
    def __len__(self, /) -> int: ...

@final
class HttpRequest:
    """A request, as its head says. Use it inside the hook only."""

    @property
    def method(self) -> str:
        """GET, POST and so on."""
    @property
    def target(self) -> str:
        """What was asked for, as it was sent."""
    @property
    def version(self) -> str:
        """ "HTTP/1.0" or "HTTP/1.1"."""
    @property
    def headers(self) -> HttpHeaders:
        """Its fields."""
    @property
    def room(self) -> Literal["body", "empty"]:
        """Whether it has a body that can be changed."""
    def body(self, transform: Callable[[bytes], bytes] | _Transform, *, flush: float = 0.005) -> bool:
        """Changes the body, which is sent in chunks then. Whether there is one."""

@final
class HttpResponse:
    """A final response, as its head says. Use it inside the hook only."""

    @property
    def status(self) -> int:
        """200, 404 and so on."""
    @property
    def version(self) -> str:
        """ "HTTP/1.0" or "HTTP/1.1"."""
    @property
    def headers(self) -> HttpHeaders:
        """Its fields."""
    @property
    def type(self) -> str:
        """The media type in small letters, without parameters; "": none is given."""
    @property
    def length(self) -> int | None:
        """Bytes of the body as announced; None: it is not."""
    @property
    def room(self) -> Literal["body", "head", "empty", "persistent"]:
        """ "body": it has one that can be changed; "head": it answers HEAD; "empty": it has none;
        "persistent": it is for a client of HTTP/1.0 on a connection that stays, which could not see where a
        changed body ends.
        """
    def body(self, transform: Callable[[bytes], bytes] | _Transform, *, flush: float = 0.005) -> bool:
        """Changes the body. Whether there is one, or its head speaks of one.

        `flush`: seconds without more bytes after which what there is so far goes on; 0: at once.
        """
    def encode(
        self,
        coding: Literal["gzip", "zstd", "br"],
        level: int | Callable[[Any, HttpEncoding], int],
        *,
        every: float = 0.01,
        flush: float = 0.005,
    ) -> bool:
        """Compresses the body, natively, and says so in the head. Whether there is one, or is spoken of.

        `level`: 0 to 9, or a function of flow and encoding that gives one; it is asked at the beginning, and
        then before the next piece of 64 KB when `every` seconds have passed: ten times that, where asking
        takes more than a twenty-fifth of what the coding has taken since. `flush` as in `body`.
        """

@final
class HttpEncoding:
    """How a coding goes: what a function for its level is given."""

    @property
    def name(self) -> str:
        """ "gzip", "zstd" or "br"."""
    @property
    def level(self) -> int:
        """The level so far."""
    @property
    def bytes_in(self) -> int:
        """Bytes of the body so far."""
    @property
    def bytes_out(self) -> int:
        """What they became."""
    @property
    def seconds(self) -> float:
        """Processor time that they took, as those of their pieces tell whose time was taken."""

    @property
    def elapsed(self) -> float:
        """Time that passed meanwhile: more, where others want the processor too."""
    def flush(self) -> None:
        """What was taken so far is to go on now, at the price of some bytes: a coding holds back much."""
    def until_busy(self) -> None:
        """While all that was sent has arrived the answer stays: not to be asked again before something waits
        for the link, or twenty times `every` has passed.
        """

@final
class HttpPlayback:
    """One flow of a module of messages without an engine: for `modnet.testing`."""

    def __new__(cls, module: object, hooks: set[str], flow: object) -> HttpPlayback: ...
    def data(self, outbound: bool, data: bytes) -> tuple[bytes, bool]:
        """Bytes come; what goes on, and whether the flow is reset."""
    def silence(self, outbound: bool) -> tuple[bytes, bool]:
        """Nothing more comes for a while."""
    def end(self, outbound: bool) -> tuple[bytes, bool]:
        """A source ends."""
    def give_up(self) -> None:
        """The module wants no more of the flow's messages."""
    def counters(self) -> list[tuple[str, int]]:
        """What the engine would count."""

@final
class Lock:
    """Holds a flow's unsent bytes: `with flow.lock(): ...`."""

    def __enter__(self) -> Lock: ...
    def __exit__(self, *_exception: object) -> None: ...

@final
class LateSocket:
    """What `modnet.revoke.RevocableSocket` keeps beside a connected TCP socket: its unsent bytes."""

    def __new__(cls, fd: int, most: int) -> LateSocket: ...
    def append(self, data: memoryview) -> int:
        """Takes what there is room for, and sends what can be sent; 0: there is no room. Raises OSError."""
    def wait(self, seconds: float | None) -> bool:
        """Waits until `bell` rings; False: not within so many seconds."""
    def ring_at(self, level: int) -> None:
        """Rings the bell when so much or less waits."""
    def hear(self) -> None:
        """Stops the ring."""
    @property
    def bell(self) -> int:
        """A descriptor that is readable once it rings; it stays this object's."""
    @property
    def waiting(self) -> int:
        """Bytes that wait here."""
    @property
    def unsent(self) -> int:
        """Bytes that wait here, and those that the kernel holds unsent."""
    @property
    def broken(self) -> int:
        """The errno of what has broken the connection; 0: nothing has."""
    def yank(self, length: int) -> bytes:
        """Takes the last bytes back that wait here, at most `length`. EAGAIN while another thread holds the
        lock.
        """
    def peek(self, length: int) -> bytes:
        """The bytes that `yank` would take."""
    def write(self, data: bytes) -> None:
        """Puts bytes behind the last that wait, before those that came under the caller's lock."""
    def lock(self) -> Lock:
        """A context in which nothing is sent, and what is sent meanwhile stays behind."""
    def shutdown(self) -> None:
        """No more is sent after what waits."""
    def close(self) -> None:
        """The socket is closed; what waits is sent first."""

def late_drain(seconds: float) -> int:
    """Closes what is left, and waits until all has been sent, at most so long; how many are not done."""

@final
class Engine:
    """The workers of one registered module. `modnet.host` makes one in the module's process."""

    def __new__(
        cls,
        module: object,
        *,
        name: str,
        runtime_dir: str | None,
        hooks: frozenset[str],
        spec: str,
        persistent: bool,
        drain: float,
        send_queue: int,
        revocable: int | None,
        workers: int | None,
    ) -> Engine: ...
    @property
    def name(self) -> str:
        """What the module is registered under."""
    def start(self) -> None:
        """Registers the name and starts the workers."""
    def wait(self) -> None:
        """Returns once the engine has ended: stopped, or its last user has gone."""
    def stop(self, drain: float) -> None:
        """Takes no more flows, gives those there are `drain` seconds to end, then resets them."""

# --- registry, records, control sockets: `modnet.registry` gives them types and words -------------

VERSION: str
"""The package's version."""
BUILD_PROFILE: str
"""`release` or `debug`; nobody should measure the latter."""
MAX_CHAIN: int
"""Most modules in one chain."""
HTTP_CODINGS: list[str]
"""The codings of `HttpResponse.encode`."""
COUNTERS: list[tuple[int, str, str]]
"""Index, name and meaning of every counter of a record."""

def runtime_dir(path: str | None = None, prepare: bool = False) -> str:
    """The runtime directory: `path`, or what the environment says; made and checked with `prepare`."""

def modules(runtime: str) -> list[str]:
    """The names of the living modules, sorted."""

def is_living(runtime: str, name: str) -> bool:
    """Whether a module has that name now."""

def ask(runtime: str, name: str, request: str, seconds: float) -> list[str]:
    """One request on a control socket; the answer's objects as JSON."""

def plan_room(hard: int, most: int, privileged: bool) -> tuple[int, int, int | None]:
    """Hidden base, shown hard limit, and the hard limit to set (None: none)."""

def create_record(
    runtime: str, pid: int, chain: list[str], fail_closed: bool, hidden_base: int, shown_hard_limit: int
) -> str:
    """Writes the record of a process; returns its absolute path."""

def remove_record(runtime: str, pid: int) -> None:
    """Removes the record of a process, if there is one."""

def records(runtime: str) -> list[tuple[int, int, list[str] | None, bool, str, list[int]]]:
    """Number, owner, chain (None: half written), fail closed, pairs, counters by index; of every record."""

def users(runtime: str, sweep: bool = False) -> dict[int, list[int]]:
    """Who maps which record, oldest first; what nobody needs is removed first with `sweep`."""

def find_record(pid: int) -> tuple[str, int]:
    """The runtime directory and the number of the record that a process maps."""

def apply_chain(pid: int, chain: list[str], fail_closed: bool | None = None) -> tuple[int, list[str]]:
    """Applies a chain to a running process; returns its record and the chain until now."""

def janitor_is_there(runtime: str) -> bool:
    """Whether somebody removes what killed processes leave in a runtime directory."""

def janitor_work(runtime: str) -> None:
    """Removes what killed processes leave, until nothing is left."""

# --- the paper's calls: `modnet.calls` ------------------------------------------------------------

def calls_register(name: str) -> None:
    """Makes this process the module `name`."""

def calls_apply(target: int, chain: list[str]) -> None:
    """Applies a chain to a process, 0 being this one."""

def calls_getsockets(cpu_mask: int, most: int) -> list[tuple[int, int]]:
    """At most `most` stolen connections as (left, right)."""

def calls_yank(fd: int, length: int, peek: bool, lock: str, dont_wait: bool) -> bytes:
    """Takes or copies the last unsent bytes of a descriptor; `lock` is none, lock or unlock."""

def calls_yank_ready(fd: int) -> int:
    """The descriptor that has room (EPOLLWRNORM) while a yank that did not wait has its answer."""

def calls_yield(left: int, right: int, names: list[str], operation: int, held: tuple[bytes, bytes]) -> None:
    """Yields a flow, or the application's own socket."""

def calls_yank_listen(left: int) -> int:
    """The descriptor that has room (EPOLLWRNORM) while somebody asks for bytes of a left socket."""

def calls_yank_forget(left: int) -> None:
    """A left socket's bytes are not asked for any more."""

def calls_yank_request(left: int) -> int:
    """How many bytes are still asked for."""

def calls_yankwrite(left: int, data: bytes) -> int:
    """Gives bytes back, how many were taken; none at all ends the answer."""

def calls_gate(cpu_mask: int) -> int:
    """The descriptor that is readable while there may be something for `calls_getsockets`."""

STATE_LAYOUT: list[tuple[str, int, int]]
"""Name, offset and bytes of every field of a state, then of its packets."""

def calls_map_state(fd: int) -> Tcp:
    """The TCP state of a descriptor."""

# --- revocation: the kernel yank ---------------------------------------------------------------------

def kernel_yank(fd: int, most: int, peek: bool = False) -> bytes:
    """The last `most` bytes that the kernel has not sent on the socket `fd`: taken back, or with `peek`
    copied. `OSError` says why not; the connection is then as it was, unless it is EIO: then it is dead."""

def kernel_yank_costs(
    fd: int, most: int, peek: bool = False, keep_window: bool = True
) -> tuple[bytes, dict[str, float]]:
    """The same, and what it cost: microseconds, bytes that were put back, the congestion window before
    (without `keep_window` it begins anew)."""

def kernel_yank_counts() -> dict[str, int]:
    """What this thread's yanks and their guards have counted."""

def kernel_yank_rescue() -> list[tuple[int, str]]:
    """Brings back the connections that killed yankers of this user have left half taken apart: of each a
    process that has it, and what became of it. OSError: nothing is written down that they could be found
    by; why.
    """

def kernel_yank_refusals() -> list[tuple[int, str]]:
    """What forbids a yank: errno and reason of each, as docs/kernel-yank.md lists them."""

def kernel_yank_probe() -> tuple[float, str | None, bool]:
    """A trial on a connection of its own: microseconds, why congestion windows begin anew (None: they do
    not), whether connections that the peer has half closed are possible. `OSError` says why it cannot be."""

# --- inspection: `modnet.inspection` --------------------------------------------------------------

def inspect_directory() -> str:
    """Where the pins are."""

def inspect_enable(directory: str, slots: int, group: int | None, check: bool) -> None:
    """Puts the programs into the kernel, and pins them in a directory that does not exist yet."""

def inspect_disable(directory: str) -> None:
    """Takes them out again."""

def inspect_status(directory: str) -> dict[str, int]:
    """The slots' counters; `OSError` says why not, its `filename` what to do."""

def inspect_attend(directory: str) -> None:
    """Has the programs stand at their places for a moment, as every reader does; `OSError` as above."""

def inspect_mode() -> str:
    """What `MODNET_INSPECT` says; ValueError: nothing."""
