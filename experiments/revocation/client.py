"""The client, a program of its own on the client's host: reads, and notes when new content is there.

    python client.py ADDRESS PORT MARKS      reads until content MARKS has been seen, then prints JSON

Old content is zeros, the nth new content bytes of value n. It prints one object: `marks` (value → first seen,
ns of CLOCK_MONOTONIC) and `counts` (pairs of time and bytes so far, at most one in five milliseconds). It
must not import anything of ours: it is started for every connection.
"""

import json
import socket
import sys
import time

_EVERY_NS = 5_000_000
_PATIENCE_S = 60.0


def connect(address: str, port: int) -> socket.socket:
    """A connection to a server that may be just starting."""
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return socket.create_connection((address, port), _PATIENCE_S)
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


def main() -> None:
    """Runs with the arguments above."""
    last = int(sys.argv[3])
    marks: dict[int, int] = {}
    total = 0
    with connect(sys.argv[1], int(sys.argv[2])) as connection:
        counts = [(time.monotonic_ns(), 0)]
        while last not in marks:
            piece = connection.recv(1 << 18)
            now = time.monotonic_ns()
            if not piece:
                raise SystemExit("the server closed before the last content came")
            total += len(piece)
            if now >= counts[-1][0] + _EVERY_NS:
                counts.append((now, total))
            if piece.count(0) != len(piece):
                for mark in set(piece) - {0}:
                    marks.setdefault(mark, now)
    print(json.dumps({"marks": marks, "counts": counts}))


if __name__ == "__main__":
    main()
