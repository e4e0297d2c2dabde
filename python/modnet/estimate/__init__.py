"""`modnet.estimate`: a client's bandwidth, from snapshots of its connection's state.

    bandwidth = Bandwidth()
    bandwidth.observe(flow.tcp.snapshot())      # in every hook, or every few milliseconds
    bandwidth.estimate                          # bytes/s of payload, or None
    bandwidth.confidence                        # 0..1

| estimator | from |
| --- | --- |
| `PacketPair` | the last two packets acknowledged: the paper's |
| `DeliveryRate` | how fast acknowledgements have come of late, and at most |
| `Bandwidth` | both and the kernel's own; which to believe, and how far |

Before the first snapshot nothing is known:

>>> from modnet.estimate import Bandwidth
>>> bandwidth = Bandwidth()
>>> bandwidth.estimate, bandwidth.confidence
(None, 0.0)

They are native: a policy asks between two pieces of a body. Each tells in its file in `crates/estimate` what
fools it; `tests/estimate` shows each case. An estimate is of payload: a link of 1 Mbit/s of Ethernet frames
carries 119,551 bytes/s of it (1448 of 1514).

Rules: no I/O, no clock, no thread; one object a connection. Must not: know of flows or modules, or import
anything of ours but the extension.
"""

from modnet._native import Bandwidth, DeliveryRate, PacketPair
from modnet.estimate.measure import Measure, Source
from modnet.estimate.snapshot import Packet, Snapshot

__all__ = ["Bandwidth", "DeliveryRate", "Measure", "Packet", "PacketPair", "Snapshot", "Source"]
