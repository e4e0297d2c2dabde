"""Taking back what has not been sent, for programs and modules.

| name | is |
| --- | --- |
| `RevocableSocket` | a connected TCP socket of this program whose unsent bytes can be taken back |
| `RevocableTransport`, `open` | the same for asyncio, under its streams |
| `Journal` | for modules that transform: the original beside the transformed until it is sent |

    >>> import socket
    >>> with socket.create_server(("127.0.0.1", 0)) as listener:
    ...     client = socket.create_connection(listener.getsockname())
    ...     server = RevocableSocket(listener.accept()[0])
    >>> with server.lock():
    ...     server.write(b"good morning")
    ...     server.yank(7)
    ...     server.write(b"evening")
    b'morning'
    >>> client.recv(100)
    b'good evening'
    >>> server.close(), client.close()
    (None, None)
"""

from __future__ import annotations

from modnet.revoke.journal import Journal
from modnet.revoke.socket import RevocableSocket
from modnet.revoke.transport import RevocableTransport, open

__all__ = ["Journal", "RevocableSocket", "RevocableTransport", "open"]
