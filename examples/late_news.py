"""News for slow readers: a line that has not been sent yet gives way to a newer one.

while date; do sleep 1; done | python3 examples/late_news.py 8080      # and: nc localhost 8080
"""

import contextlib
import socket
import sys
import threading

from modnet.revoke import RevocableSocket


class Reader:
    """One client, and the line that it was given last."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket, self.last = RevocableSocket(connection), b""

    def tell(self, line: bytes) -> None:
        with self.socket.lock():
            # Whole or not at all: of a line that is half sent, the other half stays.
            if self.socket.peek(len(self.last)) == self.last:
                self.socket.yank(len(self.last))
            self.socket.write(line)
        self.last = line


def welcome(listener: socket.socket) -> None:
    while True:
        readers.append(Reader(listener.accept()[0]))
        readers[-1].tell(b"welcome\n")


readers: list[Reader] = []
threading.Thread(target=welcome, args=(socket.create_server(("", int(sys.argv[1]))),), daemon=True).start()
for line in sys.stdin.buffer:
    for reader in list(readers):
        with contextlib.suppress(OSError):
            reader.tell(line)
