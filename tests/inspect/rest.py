"""A connection comes to rest; its state and TCP_INFO, as one JSON object.

rest.py ADDRESS CONGESTION [NAMESPACE_OF_THE_CLIENT]
"""

import ctypes
import json
import socket
import struct
import sys
import time
from pathlib import Path

from modnet import calls

TCP_INFO, TCP_CONGESTION = 11, 13
BYTES = 200_000
PLACES = {
    "state": (0, "B"),
    "mss": (16, "I"),
    "packets_out": (24, "I"),
    "sacked_out": (28, "I"),
    "lost_out": (32, "I"),
    "retrans_out": (36, "I"),
    "srtt_us": (68, "I"),
    "rttvar_us": (72, "I"),
    "ssthresh": (76, "I"),
    "cwnd": (80, "I"),
    "retransmits": (100, "I"),
    "pacing_rate": (104, "Q"),
    "bytes_acked": (120, "Q"),
    "min_rtt_us": (148, "I"),
    "delivery_rate": (160, "Q"),
    "delivered": (192, "I"),
    "snd_wnd": (228, "I"),
}
"""Where TCP_INFO has the same."""


def tcp_info(connection: socket.socket) -> dict[str, int]:
    """TCP_INFO by the names of a state."""
    info = connection.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 256)
    found = {name: struct.unpack_from(kind, info, at)[0] for name, (at, kind) in PLACES.items()}
    return found | {"app_limited": info[7] & 1}


def enter(namespace: str) -> None:
    """From here on sockets are made there; the listener, and what it accepts, stays where it is."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/run/netns", namespace).open() as file:
        assert libc.setns(file.fileno(), 0) == 0, ctypes.get_errno()


def main() -> None:
    address, congestion = sys.argv[1:3]
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as listener:
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        mapped = address.startswith("::ffff:")
        listener.bind(("::" if mapped else address, 0))
        listener.listen()
        listener.setsockopt(socket.IPPROTO_TCP, TCP_CONGESTION, congestion.encode())
        port = listener.getsockname()[1]
        for namespace in sys.argv[3:]:
            enter(namespace)
        client = socket.create_connection((address.removeprefix("::ffff:"), port))
        server = listener.accept()[0]
    tcp = calls.map_state(server.fileno())
    before = tcp.snapshot()
    for _ in range(5):
        server.sendall(bytes(BYTES))
        got = 0
        while got < BYTES:
            got += len(client.recv(1 << 20))
        client.sendall(b"more")
        assert server.recv(4, socket.MSG_WAITALL) == b"more"
    # At rest: nothing out, and no acknowledgement held back by the peer's timer.
    end = time.monotonic() + 20
    while (now := tcp_info(server))["packets_out"] or now["bytes_acked"] < 5 * BYTES:
        assert time.monotonic() < end, now
    after = tcp.snapshot()
    names = [*PLACES, "app_limited"]
    print(
        json.dumps(
            {
                "source": after.source,
                "family": server.family.name,
                "state": {name: int(getattr(after, name)) for name in names},
                "info": tcp_info(server),
                "sent": (after.snd_una - before.snd_una) % 2**32,
                "received": (after.rcv_nxt - before.rcv_nxt) % 2**32,
                "in_order": after.snd_una == after.snd_nxt == after.write_seq,
                "packets": [
                    [p.arrival_ns, p.sent_ns, p.seq, p.ack_seq, p.acked_bytes, p.acked_packets]
                    for p in after.packets
                ],
                "snd_una": after.snd_una,
                "updated_ns": after.updated_ns,
                "now": time.monotonic_ns(),
                "sndbuf": server.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF),
                "snd_buf": after.snd_buf,
            }
        )
    )


main()
