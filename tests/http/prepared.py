"""A server that answers each path with bytes that were prepared: `python prepared.py PORT`.

For what no server of a distribution sends: folded lines, extensions of chunks, lengths that contradict each
other. After an answer that ends with the connection, or that parsers do not agree on, it is closed.
It must not parse more than the path; the tests and the server share the table.
"""

from __future__ import annotations

import asyncio
import sys

TEXT = b"a line of text, as there are many\n" * 400
HTML = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"


def chunked(*extensions: bytes) -> bytes:
    """The text in three chunks, with extensions."""
    third = len(TEXT) // 3
    pieces = (TEXT[:third], TEXT[third : 2 * third], TEXT[2 * third :])
    return b"".join(
        b"%X%b\r\n%b\r\n" % (len(piece), extension, piece)
        for piece, extension in zip(pieces, extensions, strict=True)
    )


# By path: what is sent, and whether the connection goes on.
ANSWERS: dict[str, tuple[bytes, bool]] = {
    "/extensions": (
        HTML
        + b"Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
        + chunked(b";a", b' ; b="c;d"', b";e=f")
        + b"000;last\r\nX-Sum: 1\r\n\r\n",
        True,
    ),
    "/folded": (
        HTML + b"X-Long: one\r\n\ttwo\r\n   three\r\nContent-Length: %d\r\n\r\n" % len(TEXT) + TEXT,
        True,
    ),
    "/close": (HTML + b"\r\n" + TEXT, False),
    "/1.0": (HTML.replace(b"1.1", b"1.0") + b"\r\n" + TEXT, False),
    "/picture": (
        b"HTTP/1.1 200  Fine \r\ncontent-TYPE:image/png\r\nX-Long: one\r\n two\r\n"
        b"Set-Cookie: a=1\r\nset-cookie: b=2\r\nTransfer-Encoding:  chunked\r\n\r\n"
        + chunked(b";a", b"", b" ;b=c")
        + b"0\r\nX-Sum:1\r\n\r\n",
        False,
    ),
    # What is not looked into: the reason's name in the counters is the path's.
    "/both_lengths": (
        HTML
        + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
        + chunked(b"", b"", b"")
        + b"0\r\n\r\n",
        False,
    ),
    "/bad_length": (
        HTML + b"Content-Length: 5\r\nContent-Length: %d\r\n\r\n" % len(TEXT) + TEXT,
        False,
    ),
    "/bare_line_end": (HTML + b"X: y\nContent-Length: %d\r\n\r\n" % len(TEXT) + TEXT, False),
    "/oversize": (
        HTML + b"X: " + b"y" * 70_000 + b"\r\nContent-Length: %d\r\n\r\n" % len(TEXT) + TEXT,
        False,
    ),
    "/transfer_encoding": (HTML + b"Transfer-Encoding: gzip\r\n\r\n" + TEXT, False),
    "/not_http": (b"<p>" + TEXT, False),
    "/bad_head": (HTML + b"no colon\r\n\r\n" + TEXT, False),
    "/unasked": (b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + TEXT, False),
}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, until it ends."""
    stays = True
    while stays and (line := await reader.readline()):
        while (await reader.readline()).strip():
            pass
        data, stays = ANSWERS[line.split()[1].decode()]
        writer.write(data)
        await writer.drain()
    writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
