"""Reading a connection's state: from TCP_INFO, as modules do where the kernel's state is not mapped.

`read()` gives what `modnet.estimate.Snapshot` asks for. It must not estimate.
"""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass

# struct tcp_info of linux/tcp.h, up to tcpi_bytes_retrans (Linux 4.19).
_INFO = struct.Struct("=8B24I4Q6I4Q2I2Q")
_MSS, _SRTT, _RETRANS = 10, 23, 31
_ACKED, _NOTSENT, _MIN_RTT, _RATE, _DELIVERED, _SENT, _RESENT = 34, 38, 39, 42, 46, 48, 49
_SEQUENCES = 1 << 32


@dataclass(frozen=True)
class Packet:
    """No packet: TCP_INFO tells of none."""

    arrival_ns: int = 0
    sent_ns: int = 0
    acked_bytes: int = 0


_NONE = (Packet(), Packet())


@dataclass(frozen=True, slots=True)
class Sampled:
    """A connection's state at the moment of reading; sequence numbers count from its first byte."""

    updated_ns: int
    snd_una: int
    snd_nxt: int
    write_seq: int
    mss: int
    delivered: int
    bytes_acked: int
    delivery_rate: float
    srtt_us: int
    min_rtt_us: int
    retransmits: int
    packets: tuple[Packet, Packet] = _NONE


def read(connection: socket.socket) -> Sampled:
    """The state now; one system call."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
    fields = _INFO.unpack(info)
    sent = fields[_SENT] - fields[_RESENT]
    return Sampled(
        updated_ns=time.monotonic_ns(),
        snd_una=fields[_ACKED] % _SEQUENCES,
        snd_nxt=sent % _SEQUENCES,
        write_seq=(sent + fields[_NOTSENT]) % _SEQUENCES,
        mss=fields[_MSS],
        delivered=fields[_DELIVERED],
        bytes_acked=fields[_ACKED],
        delivery_rate=float(fields[_RATE]),
        srtt_us=fields[_SRTT],
        min_rtt_us=fields[_MIN_RTT],
        retransmits=fields[_RETRANS],
    )
