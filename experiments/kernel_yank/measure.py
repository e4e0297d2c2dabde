"""Makes the connections of each case, a few at a time, and times single yanks. It must not judge."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modnet import _native

from experiments.common.errors import ExperimentError
from experiments.kernel_yank import plan
from experiments.kernel_yank.connection import Found, Run
from experiments.kernel_yank.stream import content
from experiments.net import Host, Hosts

_AT_ONCE = 3
_POLL_MS = 2
_ADDRESSES = {
    "ipv4": (socket.AF_INET, "127.0.0.1"),
    "ipv6": (socket.AF_INET6, "::1"),
}
_SYSCTLS = {"tcp_timestamps": ("no timestamps", "neither"), "tcp_sack": ("no sack", "neither")}


@dataclass
class Cost:
    """Yanks of one size on fresh connections over loopback."""

    size: int
    total_us: list[float] = field(default_factory=list)
    gap_us: list[float] = field(default_factory=list)


def trials(
    cases: Sequence[plan.Case], count: int, links: tuple[str, ...], seed: int, advance: Callable[[int], None]
) -> dict[plan.Case, list[Found]]:
    """Every case's connections; `advance` is told of yanks as they are done."""
    found: dict[plan.Case, list[Found]] = {}
    with Hosts(congestion=None) as hosts:
        for case in cases:
            hosts.shape(plan.LINKS[case.link])
            for host in (hosts.server, hosts.client):
                _set_options(host, case.options)
            wanted = plan.trials_of(case, links, count)
            found[case] = _run(hosts, case, wanted, plan.scripts(case, seed), advance)
    return found


def costs(rounds: int, advance: Callable[[], None]) -> list[Cost]:
    """Sizes in turn, so that what disturbs one disturbs all."""
    found = [Cost(size) for size in plan.SIZES]
    for _ in range(rounds):
        for cost in found:
            total_us, gap_us = _one(cost.size)
            cost.total_us.append(total_us)
            cost.gap_us.append(gap_us)
            advance()
    return found


def _one(size: int) -> tuple[float, float]:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as peer:
        # What is in flight before: little, as on a slow link.
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.connect(listener.getsockname())
        ours, _ = listener.accept()
        with ours:
            ours.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, 2 * size + (1 << 20))
            ours.setblocking(False)
            left = size + (1 << 16)
            while left:
                left -= ours.send(content(left, left))
            data, cost = _native.kernel_yank_costs(ours.fileno(), size)
    if len(data) != size:
        raise ExperimentError(f"of {size} bytes {len(data)} were yanked: is loopback's buffer too small?")
    return cost["total_us"], cost["gap_us"]


_SO_SNDBUFFORCE = 32


def _set_options(host: Host, options: str) -> None:
    with host.entered():
        for name, without in _SYSCTLS.items():
            value = "0" if options in without else "1"
            Path(f"/proc/sys/net/ipv4/{name}").write_text(value)


def _run(
    hosts: Hosts,
    case: plan.Case,
    wanted: int,
    scripts: Iterator[plan.Script],
    advance: Callable[[int], None],
) -> list[Found]:
    """Connections until so many yanks took bytes or were refused."""
    running: list[Run] = []
    found: list[Found] = []
    while wanted > 0 or running:
        while wanted > 0 and len(running) < _AT_ONCE:
            script = next(scripts)
            running.append(Run(script, *_connect(hosts, case, script), time.monotonic()))
        poller = select.poll()
        for run in running:
            for end, events in run.wants():
                poller.register(end, events)
        poller.poll(_POLL_MS)
        for run in running:
            run.step(time.monotonic())
            if run.done:
                wanted -= run.found.trials
                advance(run.found.trials)
                found.append(run.found)
        running = [run for run in running if not run.done]
    return found


def _connect(hosts: Hosts, case: plan.Case, script: plan.Script) -> tuple[socket.socket, socket.socket]:
    family, address = _ADDRESSES[script.family]
    local = plan.LINKS[case.link] is None
    if not local:
        address = getattr(hosts.server, script.family)
    with contextlib.ExitStack() as undo:
        with hosts.server.entered():
            listener = undo.enter_context(socket.socket(family))
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, script.control.encode())
        listener.bind((address, 0))
        listener.listen()
        with (hosts.server if local else hosts.client).entered():
            peer = socket.socket(family)
        if script.kind == "closed":
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        peer.settimeout(10)
        peer.connect(listener.getsockname())
        ours, _ = listener.accept()
    return ours, peer
