"""CPython's http.server over a directory: files, and for uploads /hash, /echo and /reset.

Rules: the standard library's classes do the work; only HTTP/1.1 (keep-alive) and a backlog fit for a load
are set.
"""

import functools
import hashlib
import http.server
import socket
import struct
import sys


class Files(http.server.SimpleHTTPRequestHandler):
    """Serves files, and answers uploads."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        left = int(self.headers["Content-Length"])
        if self.path == "/echo":
            self.start(left)
        digest = hashlib.sha256()
        while left:
            piece = self.rfile.read1(min(left, 65536))
            if not piece:
                return
            left -= len(piece)
            digest.update(piece)
            if self.path == "/echo":
                self.wfile.write(piece)
        if self.path == "/hash":
            answer = digest.hexdigest().encode()
            self.start(len(answer))
            self.wfile.write(answer)

    def do_GET(self) -> None:
        if self.path != "/reset":
            super().do_GET()
            return
        self.start(1 << 20)
        self.wfile.write(bytes(1000))
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # http.server would shut the connection down first, which is no reset.
        self.server.close_request(self.request)
        self.close_connection = True

    def start(self, length: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Silent: a log of 10,000 requests helps nobody."""


class Server(http.server.ThreadingHTTPServer):
    """One thread a connection."""

    request_queue_size = 1024

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that reset are part of the test."""
        if not isinstance(sys.exception() if hasattr(sys, "exception") else sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


if __name__ == "__main__":
    handler = functools.partial(Files, directory=sys.argv[2])
    Server(("127.0.0.1", int(sys.argv[1])), handler).serve_forever()
