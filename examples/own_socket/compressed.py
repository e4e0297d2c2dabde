"""An application that has its own connections compressed, at its own choice of port.

    modnet module start gzip
    modnet run -- python3 examples/own_socket/compressed.py 8000

It yields each connection as it comes, before the request is read: module gzip reads it, and so knows what the
answer belongs to.
"""

import http.server
import sys

from modnet import calls


class Server(http.server.ThreadingHTTPServer):
    """Serves the current directory, as `python3 -m http.server` does."""

    def get_request(self):
        """Accepts one."""
        connection, peer = super().get_request()
        calls.yield_(-1, connection.fileno(), ["gzip"], calls.APPLY_RIGHT)
        return connection, peer


Server(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
