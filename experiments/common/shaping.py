"""Shaping one device: the rate of a link, what it lets pass at once, and how much may wait for it.

    shape = Shape(mbit=2)
    apply(link, index, shape)           # instead of whatever was there
    change(link, index, shape.at(1))    # from now on; what waits stays

| discipline | what passes | use |
| --- | --- | --- |
| htb | large packets of segmentation offload, whole | nothing is cut on the core that is measured |
| tbf | frames: it cuts what is larger than its bucket | a slow link far away |

Rules: rates are of Ethernet frames (1514 bytes for 1448 of payload); `payload` says what is left for TCP's
user. No delay is added (netem is in few kernels); what waits in the buffer is the delay. It must not know of
hosts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from experiments.common.errors import ExperimentError

FRAME_BYTES = 1514
"""A full Ethernet frame as a queueing discipline counts it: without checksum and gap."""
PAYLOAD_BYTES = 1448
"""What a full frame carries: 1500 less 20 of IPv4, 20 of TCP and 12 of timestamps."""

# What a bucket holds unless said otherwise. With two frames 240 Mbit/s became 8 % less, since timers come
# late; with three nothing, and more only makes the head of everything that is sent faster than the link.
_BURST_BYTES = 3 * FRAME_BYTES

_ROOT, _CLASS, _LEAF = 0x10000, 0x10001, 0x20000


@dataclass(frozen=True)
class Shape:
    """A link of `mbit` Mbit/s of frames. `burst_bytes` pass at once; None: three frames.
    `buffer_packets` may wait, the rest is dropped; None: 1,000, a device's usual queue.
    """

    mbit: float
    burst_bytes: int | None = None
    buffer_packets: int | None = None
    kind: Literal["htb", "tbf"] = "htb"

    def __post_init__(self) -> None:
        if self.mbit <= 0:
            raise ExperimentError(f"a link cannot have {self.mbit} Mbit/s")

    @property
    def rate(self) -> int:
        """Bytes of frames a second."""
        return max(1, round(self.mbit * 125_000))

    @property
    def burst(self) -> int:
        """Bytes that pass at once."""
        return self.burst_bytes or _BURST_BYTES

    @property
    def payload(self) -> float:
        """Bytes a second that full frames leave for TCP's user."""
        return self.rate * PAYLOAD_BYTES / FRAME_BYTES

    def at(self, mbit: float) -> Shape:
        """The same link at another rate."""
        return replace(self, mbit=mbit)


def apply(link: Any, index: int, shape: Shape | None) -> None:
    """Shapes the device `index` of the netlink socket `link`'s namespace; None lifts every limit.

    What waits in the device's queue is dropped: use `change` while data is under way.
    """
    if any(q.get_attr("TCA_KIND") in {"htb", "tbf"} for q in link.get_qdiscs(index)):
        link.tc("del", index=index, root=True)
    if shape is None:
        return
    if shape.kind == "tbf":
        link.tc("add", "tbf", index, _ROOT, **_tbf(shape))
        return
    link.tc("add", "htb", index, _ROOT, default=1)
    link.tc("add-class", "htb", index, _CLASS, parent=_ROOT, **_htb(shape))
    if shape.buffer_packets:
        link.tc("add", "pfifo", index, _LEAF, parent=_CLASS, limit=shape.buffer_packets)


def change(link: Any, index: int, shape: Shape) -> None:
    """Gives a device that `apply` has shaped another rate; what waits in its buffer stays there."""
    if shape.kind == "tbf":
        link.tc("change", "tbf", index, _ROOT, **_tbf(shape))
    else:
        link.tc("change-class", "htb", index, _CLASS, parent=_ROOT, **_htb(shape))


def _htb(shape: Shape) -> dict[str, int]:
    # A quantum is of use between classes only; said, so that the kernel does not complain of a large one.
    return {"rate": shape.rate, "burst": shape.burst, "cburst": shape.burst, "quantum": FRAME_BYTES}


def _tbf(shape: Shape) -> dict[str, int]:
    limit = (shape.buffer_packets or 1000) * FRAME_BYTES
    return {"rate": shape.rate, "burst": shape.burst, "limit": limit}
