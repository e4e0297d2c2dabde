"""Each row of docs/transparency.md: the same program natively and stolen, the same answers."""

import socket

import pytest

from tests.shim.host import Host


def send(data: bytes):
    return lambda client: client.sendall(data)


def nothing(client: socket.socket) -> None:
    """Only lets the probe know that the client has connected."""


def test_data_and_readiness(host: Host) -> None:
    host.compare(
        """
        poll = select.poll(); poll.register(conn, select.POLLIN)
        epoll = select.epoll(); epoll.register(conn, select.EPOLLIN | select.EPOLLET | select.EPOLLRDHUP)
        out(poll.poll(0), epoll.poll(0), select.select([conn], [conn], [], 0)[:1] == ([],))
        sync("send")
        out(poll.poll(5000) == [(conn.fileno(), select.POLLIN)], epoll.poll(5))
        out(conn.recv(2), os.read(conn.fileno(), 2), os.readv(conn.fileno(), [bytearray(1), bytearray(9)]))
        out(os.write(conn.fileno(), b"he"), os.writev(conn.fileno(), [b"l", b"lo"]), conn.send(b"!"))
        sync("hello")
        """,
        {"send": send(b"abcdefgh"), "hello": lambda s: expect(s, b"hello!")})


def expect(client: socket.socket, wanted: bytes) -> None:
    got = b""
    while len(got) < len(wanted):
        got += client.recv(len(wanted) - len(got)) or pytest.fail(f"end after {got!r}")
    assert got == wanted


def test_accept_gives_the_same_number(host: Host) -> None:
    host.compare(
        """
        first = connected(listener)
        out(conn.fileno(), first.fileno(), os.open("/dev/null", os.O_RDONLY))
        out(fcntl.fcntl(conn, fcntl.F_GETFD), os.get_blocking(conn.fileno()))
        """, stolen=2)
    host.compare("", stolen=1)


def test_names(host: Host) -> None:
    said = host.compare(
        """
        out(conn.getsockname() == listener.getsockname(), conn.getpeername()[0])
        out(conn.family, conn.type, conn.proto)
        """)
    assert "True" in said[0]
