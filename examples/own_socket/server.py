"""An application that yields connections of its own: what it serves below /slow goes through a module.

    modnet module start throttle,rate=100KB
    modnet run -- python3 examples/own_socket/server.py 8000

No chain is applied to the process: each connection gets the modules that the application names for it.
"""

import http.server
import sys

from modnet import calls


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the current directory, as `python3 -m http.server` does."""

    def do_GET(self) -> None:
        """The request has been read; what is answered from here on passes the module."""
        if self.path.startswith("/slow/"):
            calls.yield_(-1, self.connection.fileno(), ["throttle"], calls.APPLY_RIGHT)
        super().do_GET()


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
