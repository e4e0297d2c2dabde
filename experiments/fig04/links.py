"""A link for each client: an HTB class on the server's device for each client's address, chosen by u32.

    links = Links(hosts, 40); links.set(2.0)        # Mbit/s each

Rules: only what goes to a client is shaped; requests are small. A packet takes the time on its link that its
bytes need: HTB lets a large one of segmentation offload pass whole and is in debt afterwards, so that the
last 64 KB of a download came 0.26 s early at 2 Mbit/s, and when a link became faster the debt stayed. So TCP
hands down what the slowest rate carries in a millisecond, as it does on a long path. It must not load them.
"""

from __future__ import annotations

import socket

from experiments.common.shaping import FRAME_BYTES
from experiments.net import DEVICE, Hosts

_ROOT = 0x10000
_IPV4 = 0x0800
"""ETH_P_IP."""
_FIRST = 10
_BURST_S = 0.002
"""Of the rate: a timer that comes late must not cost the link anything."""


def address(number: int) -> str:
    """The address of a client."""
    return f"10.99.1.{_FIRST + number}"


_PACKET_S = 0.001


class Links:
    """The clients' addresses, and their classes."""

    def __init__(self, hosts: Hosts, count: int) -> None:
        self._hosts = hosts
        self._count = count
        for host, range_ in ((hosts.client, range(count)), (hosts.server, range(-1, 0))):
            with host.netlink() as link:
                index = link.link_lookup(ifname=DEVICE)[0]
                for number in range_:
                    link.addr("add", index=index, address=address(number), prefixlen=24)

    @property
    def server(self) -> str:
        """The server's address for these clients."""
        return address(-1)

    def set(self, mbit: float, slowest: float | None = None) -> None:
        """Gives every client a link of this rate, instead of what it had; it will not be set to less than
        `slowest`. Connections that are made from now on have packets to fit.
        """
        with self._hosts.server.netlink() as link:
            index = link.link_lookup(ifname=DEVICE)[0]
            link.link("set", index=index, gso_max_segs=frames(slowest or mbit))
            if any(q.get_attr("TCA_KIND") == "htb" for q in link.get_qdiscs(index)):
                link.tc("del", index=index, root=True)
            link.tc("add", "htb", index, _ROOT, default=0)
            for number in range(self._count):
                handle = _ROOT + 16 + number
                link.tc("add-class", "htb", index, handle, parent=_ROOT, **_class(mbit))
                key = f"0x{int.from_bytes(socket.inet_aton(address(number))):08x}/0xffffffff+16"
                link.tc(
                    "add-filter",
                    "u32",
                    index,
                    parent=_ROOT,
                    prio=1,
                    protocol=_IPV4,
                    target=handle,
                    keys=[key],
                )

    def change(self, mbit: float) -> None:
        """The same links at another rate; what waits stays."""
        with self._hosts.server.netlink() as link:
            index = link.link_lookup(ifname=DEVICE)[0]
            for number in range(self._count):
                link.tc("change-class", "htb", index, _ROOT + 16 + number, parent=_ROOT, **_class(mbit))


def frames(mbit: float) -> int:
    """Frames that TCP hands down at once: what the link carries in a millisecond (`sk_pacing_shift`)."""
    return max(1, round(mbit * 125_000 * _PACKET_S / FRAME_BYTES))


def _class(mbit: float) -> dict[str, int]:
    rate = round(mbit * 125_000)
    burst = max(3 * FRAME_BYTES, round(rate * _BURST_S))
    return {"rate": rate, "burst": burst, "cburst": burst, "quantum": FRAME_BYTES}
