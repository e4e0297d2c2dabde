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


def test_a_reset_is_told_by_the_calls_that_move_bytes_in_the_kernel_and_by_those_of_many_messages(
    host: Host,
) -> None:
    host.compare(
        """
        class Vector(ctypes.Structure):
            _fields_ = [("at", ctypes.c_char_p), ("length", ctypes.c_size_t)]
        class Message(ctypes.Structure):
            _fields_ = [
                ("name", ctypes.c_void_p), ("name_length", ctypes.c_uint),
                ("vectors", ctypes.POINTER(Vector)), ("count", ctypes.c_size_t),
                ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
                ("flags", ctypes.c_long), ("length", ctypes.c_uint),
            ]
        vector = Vector(ctypes.cast(ctypes.create_string_buffer(b"x" * 9), ctypes.c_char_p), 9)
        def many(name, *more):
            messages = (Message * 2)(*[Message(None, 0, ctypes.pointer(vector), 1) for _ in range(2)])
            return c(name, conn.fileno(), messages, 2, 0, *more)
        file = os.memfd_create("x"); os.write(file, b"0123456789")
        pipe, empty = os.pipe(), os.pipe(); os.write(pipe[1], b"abcd")
        ways = [
            lambda: os.sendfile(conn.fileno(), file, 0, 5), lambda: os.splice(pipe[0], conn.fileno(), 1),
            lambda: os.splice(conn.fileno(), empty[1], 9),
            lambda: many("sendmmsg"), lambda: many("recvmmsg", None),
            lambda: c("preadv2", conn.fileno(), ctypes.pointer(vector), 1, ctypes.c_long(-1), 0),
            lambda: c("pwritev2", conn.fileno(), ctypes.pointer(vector), 1, ctypes.c_long(-1), 0),
        ]
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        for way in ways:
            conn.close(); conn = connected(listener)
            sync("reset")
            poll = select.poll(); poll.register(conn, 0)
            assert poll.poll(5000)
            out(call(way), call(way), call(conn.recv, 9))
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


def test_errno_is_left_alone_where_a_call_succeeds(host: Host) -> None:
    host.compare(
        """
        number = ctypes.byref(ctypes.c_int(1))
        name, size = ctypes.create_string_buffer(99), ctypes.byref(ctypes.c_int(99))
        def left(call, *arguments):
            ctypes.set_errno(77)
            assert getattr(libc, call)(*arguments) >= 0
            return ctypes.get_errno()
        fd = conn.fileno()
        out(left("send", fd, b"x", 1, 0), left("getpeername", fd, name, size), left("fcntl", fd, 3, 0))
        out(left("setsockopt", fd, 6, 1, number, 4), left("ioctl", fd, 0x541B, number))
        out(left("dup2", fd, 99), left("close", 99), left("shutdown", fd, 1), left("close", conn.detach()))
        """
    )


def test_a_signal_interrupts_a_call_that_waits(host: Host) -> None:
    host.compare(
        """
        hits = []
        signal.signal(signal.SIGALRM, lambda *_: hits.append(1))
        signal.siginterrupt(signal.SIGALRM, True)
        def interrupted(name, *arguments):
            # Again and again: one that comes before the call would be missed.
            signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
            result = c(name, *arguments)
            signal.setitimer(signal.ITIMER_REAL, 0)
            return result
        fd, room = conn.fileno(), ctypes.create_string_buffer(64)
        epoll = select.epoll(); epoll.register(conn, select.EPOLLIN)
        polled = ctypes.create_string_buffer(struct.pack("ihh", fd, 1, 0))
        out(interrupted("recv", fd, room, 9, 0), interrupted("read", fd, room, 9))
        out(interrupted("poll", polled, 1, 5000), interrupted("epoll_wait", epoll.fileno(), room, 2, 5000))
        out(interrupted("accept", listener.fileno(), None, None), len(hits) >= 5)
        """
    )


def test_what_no_socket_can_do_and_what_no_socket_has(host: Host) -> None:
    host.compare(
        """
        fd, file = conn.fileno(), os.memfd_create("x")
        out(call(conn.accept), call(os.lseek, fd, 0, 0), call(os.fsync, fd), call(os.ftruncate, fd, 0))
        out(call(os.pread, fd, 1, 0), call(os.pwrite, fd, b"x", 0), call(os.sendfile, file, fd, 0, 5))
        out(call(conn.recv, 1, socket.MSG_OOB | socket.MSG_DONTWAIT), call(conn.recv, 0, socket.MSG_DONTWAIT))
        out(c("recv", fd, None, 5, socket.MSG_DONTWAIT), c("send", fd, None, 5, 0), c("readv", fd, None, 1))
        out(c("readv", fd, None, -1), c("writev", fd, None, 0), os.fstat(fd).st_mode, os.isatty(fd))
        out(call(conn.getsockopt, 0, 99), call(conn.getsockopt, 1, 999), call(conn.getsockopt, 999, 1))
        out(call(conn.setsockopt, 1, 999, 1), call(conn.setsockopt, 6, 999, 1))
        out(call(conn.setsockopt, 6, 1, b"x"), c("setsockopt", fd, 6, 1, None, -1))
        out(call(conn.getsockopt, 6, 1, 2), c("getsockopt", fd, 6, 1, None, None))
        """
    )
