"""Rows of docs/transparency.md about errors of the network: native and stolen give the same answers."""

import socket

from tests.shim.host import Host
from tests.shim.steps import expect, reset, send


def test_so_error(host: Host) -> None:
    host.compare(
        """
        out(conn.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        sync("send")
        select.select([conn], [], [], 5)
        out(conn.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), conn.recv(1))
        """,
        {"send": send(b"a")},
    )
    # A peer that only holds sockets: the reset is still on the real one when the application asks.
    for peer in host.peers:
        peer.stop()
    host.peers.clear()
    host.peer(hold=True)
    host.compare(
        """
        sync("reset"); sync("wait")
        out(errno.errorcode[conn.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)])
        out(conn.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        """,
        {"reset": reset, "wait": lambda s: None},
    )


def test_a_reset_is_told_once(host: Host) -> None:
    host.compare(
        """
        def into(): return conn.recv_into(bytearray(9))
        def by_c(): return c("read", conn.fileno(), ctypes.create_string_buffer(9), 9)
        reading = [
            lambda: conn.recv(9), lambda: conn.recvfrom(9), lambda: conn.recvmsg(9), into, by_c,
            lambda: os.read(conn.fileno(), 9), lambda: os.readv(conn.fileno(), [bytearray(1), bytearray(9)]),
            lambda: conn.recv(9, socket.MSG_PEEK), lambda: conn.recv(9, socket.MSG_TRUNC),
        ]
        writing = [
            lambda: conn.send(b"x"), lambda: conn.sendmsg([b"x"]), lambda: conn.sendto(b"x", ("127.1", 1)),
            lambda: os.write(conn.fileno(), b"x"), lambda: os.writev(conn.fileno(), [b"x", b"y"]),
        ]
        asking = lambda: conn.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        for way in [*reading, *writing, asking]:
            conn.close(); conn = connected(listener)
            sync("reset")
            poll = select.poll(); poll.register(conn, 0)
            assert poll.poll(5000)
            out(call(way), call(way), call(conn.recv, 9), asking())
            out(call(conn.send, b"x"))
        """,
        {"reset": reset},
    )


def test_reads_of_an_end(host: Host) -> None:
    host.compare(
        """
        sync("all")
        out(conn.recv(9), conn.recv(9), conn.recv(0), os.read(conn.fileno(), 0), os.read(conn.fileno(), 9))
        out(conn.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), conn.send(b"a"))
        sync("reset")
        # A reset behind the end is no news to a reader. The peer meets it by passing this on.
        call(conn.send, b"a", socket.MSG_NOSIGNAL)
        poll = select.poll(); poll.register(conn, 0)
        assert poll.poll(5000)
        out(conn.recv(9), os.read(conn.fileno(), 9), call(conn.send, b"a", socket.MSG_NOSIGNAL))
        """,
        {
            "all": lambda s: (s.sendall(b"last"), s.shutdown(socket.SHUT_WR)),
            # What was sent is through: bytes that the peer leaves unread would be an error of the pair's own.
            "reset": lambda s: (expect(b"a")(s), reset(s)),
        },
    )


def test_error_queue(host: Host) -> None:
    host.compare(
        """
        MSG_ERRQUEUE, IP_RECVERR = 0x2000, 11
        conn.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        out(call(conn.recv, 9, MSG_ERRQUEUE), call(conn.recvmsg, 9, 100, MSG_ERRQUEUE))
        """
    )
