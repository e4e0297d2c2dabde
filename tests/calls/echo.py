"""Echoes each connection until its client sends no more. `echo.py [MODULE…]`: yields it to those first.

After the word `who` it answers with what it knows of the connection.
"""

import contextlib
import socket
import sys
import threading

from modnet import calls


def serve(connection: socket.socket) -> None:
    with contextlib.suppress(ConnectionError), connection:
        if sys.argv[1:]:
            first = connection.recv(65536)
            try:
                calls.yield_(-1, connection.fileno(), sys.argv[1:], calls.APPLY_RIGHT)
            except OSError as error:
                first += str(error.errno).encode()
            connection.sendall(first)
        while data := connection.recv(65536):
            if data == b"who":
                nodelay = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                data = f"{connection.getpeername()[1]} {nodelay}".encode()
            connection.sendall(data)


listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
