"""Three echo servers: a thread per connection, one selector for all, asyncio. Usage: echo.py STYLE PORT

Rules: each returns what it reads, with back-pressure, and closes when its client has ended its direction.
"""

import asyncio
import selectors
import socket
import sys
import threading


def threads(listener: socket.socket) -> None:
    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(10_000):
                    connection.sendall(data)
            except OSError:
                pass

    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


def one_selector(listener: socket.socket) -> None:
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    waiting: dict[socket.socket, bytes] = {}
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                connection = listener.accept()[0]
                connection.setblocking(False)
                waiting[connection] = b""
                selector.register(connection, selectors.EVENT_READ)
            else:
                turn(selector, key.fileobj, waiting)


def turn(
    selector: selectors.BaseSelector, connection: socket.socket, waiting: dict[socket.socket, bytes]
) -> None:
    """Reads only when everything read before has been sent."""
    try:
        data = waiting[connection] or connection.recv(50_000)
        if not data:
            raise EOFError
        waiting[connection] = data
        waiting[connection] = data[connection.send(data) :]
    except BlockingIOError:
        pass
    except (OSError, EOFError):
        selector.unregister(connection)
        del waiting[connection]
        connection.close()
        return
    selector.modify(connection, selectors.EVENT_WRITE if waiting[connection] else selectors.EVENT_READ)


def with_asyncio(listener: socket.socket) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(20_000):
                writer.write(data)
                await writer.drain()
            writer.close()
            await writer.wait_closed()
        except OSError:
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, sock=listener)
        await server.serve_forever()

    asyncio.run(main())


if __name__ == "__main__":
    styles = {"threads": threads, "selectors": one_selector, "asyncio": with_asyncio}
    styles[sys.argv[1]](socket.create_server(("127.0.0.1", int(sys.argv[2])), backlog=1024))
