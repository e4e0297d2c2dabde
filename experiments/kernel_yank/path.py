"""A path with delay, rate and a queue between two hosts, as a process: this kernel has no netem.

    with DelayedPath(hosts, delay_s=0.02, mbit=50, packets=100) as path:
        path.server, path.client            # addresses at its ends

Each end is a TUN device; the process reads packets from one and writes them to the other when they are due.
Good for some ten thousand packets a second, and for a millisecond's precision. It must not measure.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import select
import struct
import time
from collections import deque
from types import TracebackType

from experiments.net import Host, Hosts

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_DEVICE = "path0"
_HEADER_BYTES = 14


class DelayedPath:
    """A context manager; the process ends with it."""

    server = "10.98.0.1"
    client = "10.98.0.2"

    def __init__(self, hosts: Hosts, delay_s: float, mbit: float, packets: int) -> None:
        self._ends = [
            _open(host, address)
            for host, address in ((hosts.server, self.server), (hosts.client, self.client))
        ]
        self._process = multiprocessing.get_context("fork").Process(
            target=_relay, args=(*self._ends, delay_s, mbit * 125_000, packets), daemon=True
        )
        self._process.start()

    def __enter__(self) -> DelayedPath:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.join()
        for end in self._ends:
            os.close(end)


def _open(host: Host, address: str) -> int:
    with host.entered():
        end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        wish = struct.pack("16sH22x", _DEVICE.encode(), _IFF_TUN | _IFF_NO_PI)
        fcntl.ioctl(end, _TUNSETIFF, wish)
    with host.netlink() as link:
        (index,) = link.link_lookup(ifname=_DEVICE)
        link.addr("add", index=index, address=address, prefixlen=24)
        link.link("set", index=index, state="up")
    return end


def _relay(left: int, right: int, delay_s: float, rate: float, packets: int) -> None:
    """Until killed. Only left to right is a narrow link; answers have all the room."""
    ways = [_Way(left, right, delay_s, rate, packets), _Way(right, left, delay_s, 1e9, 10_000)]
    poller = select.epoll()
    for way in ways:
        poller.register(way.source, select.EPOLLIN)
    while True:
        now_s = time.monotonic()
        next_s = min(way.deliver(now_s) for way in ways)
        poller.poll(max(0.0, min(next_s - now_s, 1.0)))
        for way in ways:
            way.take(time.monotonic())


class _Way:
    def __init__(self, source: int, sink: int, delay_s: float, rate: float, packets: int) -> None:
        self.source, self._sink = source, sink
        self._delay_s, self._rate, self._packets = delay_s, rate, packets
        self._free_s = 0.0
        self._due: deque[tuple[float, bytes]] = deque()

    def take(self, now_s: float) -> None:
        while True:
            try:
                packet = os.read(self.source, 65536)
            except BlockingIOError:
                return
            length = len(packet) + _HEADER_BYTES
            waiting = max(0.0, self._free_s - now_s) * self._rate / length
            if waiting > self._packets:
                continue
            self._free_s = max(now_s, self._free_s) + length / self._rate
            self._due.append((self._free_s + self._delay_s, packet))

    def deliver(self, now_s: float) -> float:
        """Hands over what is due; when the next is."""
        while self._due and self._due[0][0] <= now_s:
            os.write(self._sink, self._due.popleft()[1])
        return self._due[0][0] if self._due else now_s + 1.0
