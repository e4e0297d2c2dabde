"""An application that says what its calls tell it of a client that has gone.

For each line of JSON on standard input it accepts a connection, reads `hello`, answers if told so, waits
until the end of the client can be seen, makes the calls it is told, and prints what they gave.

Rules: one connection at a time; each wait has an event that ends it, and one that does not come is told as
a result. It knows nothing of modules.
"""

import errno
import json
import select
import socket
import struct
import sys
import termios
from fcntl import ioctl

SECONDS = 5000
# Of the events of poll and epoll, which have the same numbers, those that tell something about the end.
NAMES = {select.POLLIN: "IN", select.POLLRDHUP: "RDHUP", select.POLLHUP: "HUP", select.POLLERR: "ERR"}
# A client that has closed is an end of its bytes; only one that has reset is a hang-up.
WAITS = {"end": select.POLLRDHUP, "hang-up": 0}


def named(events: int) -> str:
    return "|".join(name for bit, name in NAMES.items() if events & bit) or "nothing"


def events(conn: socket.socket) -> str:
    """What poll shows; and epoll, should that be something else."""
    polled = select.poll()
    polled.register(conn, select.POLLIN | select.POLLRDHUP)
    seen = named(dict(polled.poll(0)).get(conn.fileno(), 0))
    with select.epoll() as epoll:
        epoll.register(conn, select.EPOLLIN | select.EPOLLRDHUP)
        other = named(dict(epoll.poll(0)).get(conn.fileno(), 0))
    return seen if seen == other else f"poll {seen}, epoll {other}"


def wait(conn: socket.socket, mask: int) -> str:
    polled = select.poll()
    polled.register(conn, mask)
    return "" if polled.poll(SECONDS) else "none"


def told(call, *arguments) -> str:
    """The result of a call, or the name of its error."""
    try:
        result = call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    if isinstance(result, bytes):
        return f"{len(result)} bytes" if result else "end"
    return str(result)


def pending(conn: socket.socket) -> str:
    code = conn.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return errno.errorcode[code] if code else "0"


def observe(conn: socket.socket, step: str) -> str:
    if step == "events":
        return events(conn)
    if step == "FIONREAD":
        return str(struct.unpack("i", ioctl(conn, termios.FIONREAD, bytes(4)))[0])
    if step == "read":
        return told(conn.recv, 100)
    if step == "write":
        return told(conn.send, b"more")
    if step == "SO_ERROR":
        return pending(conn)
    # A write to a client that has closed is answered by a reset: after that, not before.
    assert step == "hang-up", step
    return wait(conn, 0) or events(conn)


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(listener.getsockname()[1], flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        conn, _ = listener.accept()
        assert conn.recv(5, socket.MSG_WAITALL) == b"hello"
        if order["written"]:
            conn.sendall(b"answer")
        print("ready", flush=True)
        assert sys.stdin.readline() == "gone\n"
        missed = wait(conn, WAITS[order["wait"]]) if order["wait"] else ""
        conn.setblocking(False)
        seen = [missed] if missed else [observe(conn, step) for step in order["steps"]]
        conn.close()
        print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    main()
