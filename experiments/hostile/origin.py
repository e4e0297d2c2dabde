"""A server that plays along with every attack, on the server's host: `python origin.py PORT`.

/bomb: zeros without end, as text; /noise: noise without end, as text; /sent: bytes of noise that have gone;
a head that does not end is read for ever.
It must not defend itself: what is measured is the module in front of it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections import Counter

_PIECES = {b"/bomb": bytes(1 << 18), b"/noise": os.urandom(1 << 18)}
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n"
_MOST = 1 << 16
_sent: Counter[int] = Counter()
"""By descriptor: each is one thread's."""


def serve(connection: socket.socket) -> None:
    """One connection, until its client is gone."""
    with connection, contextlib.suppress(OSError):
        head, buffer = b"", bytearray(1 << 20)
        while b"\r\n\r\n" not in head:
            count = connection.recv_into(buffer)
            if not count:
                return
            # Of a head that does not end its beginning is enough.
            head += buffer[: min(count, _MOST - len(head))]
        connection.sendall(_HEAD)
        path = head.split()[1]
        if path == b"/sent":
            connection.sendall(str(sum(_sent.values())).encode())
            return
        while True:
            _sent[connection.fileno()] += connection.send(_PIECES[path])


def main() -> None:
    """Serves until it is ended."""
    with socket.create_server(("", int(sys.argv[1])), backlog=1024) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
