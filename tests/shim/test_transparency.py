"""Rows of docs/transparency.md about data, options and names: native and stolen give the same answers."""

import socket

from tests.lib.process import until
from tests.shim.host import Host
from tests.shim.peer import Peer
from tests.shim.steps import (
    drain,
    expect,
    expect_end,
    expect_reset,
    half_close,
    later,
    send,
)


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
        out(call(conn.recv, 1, socket.MSG_DONTWAIT), conn.send(b""))
        """,
        {"send": send(b"abcdefgh"), "hello": expect(b"hello!")},
    )


def test_sendfile(host: Host) -> None:
    host.compare(
        """
        file = os.memfd_create("x"); os.write(file, b"0123456789")
        out(os.sendfile(conn.fileno(), file, 2, 5))
        pipe = os.pipe(); os.write(pipe[1], b"ab")
        out(os.splice(pipe[0], conn.fileno(), 2))
        sync("read")
        """,
        {"read": expect(b"23456ab")},
    )


def test_shutdown(host: Host) -> None:
    host.compare(
        """
        conn.sendall(b"last")
        conn.shutdown(socket.SHUT_WR)
        sync("end")
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        out(call(conn.send, b"x"))
        sync("half")
        out(conn.recv(9), conn.recv(9), conn.recv(9))
        out(call(libc.shutdown, conn.fileno(), 9))
        """,
        {
            "end": lambda s: (expect(b"last")(s), expect_end(s)),
            "half": lambda s: (send(b"more")(s), half_close(s)),
        },
    )


def test_fionread(host: Host) -> None:
    host.compare(
        """
        def unread():
            return struct.unpack("i", fcntl.ioctl(conn, termios.FIONREAD, b"....")) [0]
        out(unread())
        sync("send")
        select.select([conn], [], [], 5)
        out(unread(), conn.recv(3), unread())
        """,
        {"send": send(b"abcdefgh")},
    )


def test_nonblocking(host: Host) -> None:
    host.compare(
        """
        flags = lambda: fcntl.fcntl(conn, fcntl.F_GETFL)
        out(flags())
        fcntl.fcntl(conn, fcntl.F_SETFL, flags() | os.O_NONBLOCK)
        out(flags(), call(conn.recv, 1))
        fcntl.ioctl(conn, 0x5421, struct.pack("i", 0))
        out(flags())
        sync("later")
        out(os.read(conn.fileno(), 5))
        """,
        {"later": later(b"x")},
    )


def test_setown(host: Host) -> None:
    host.compare(
        """
        got = []
        signal.signal(signal.SIGIO, lambda *_: got.append(1))
        fcntl.fcntl(conn, fcntl.F_SETOWN, os.getpid())
        out(fcntl.fcntl(conn, fcntl.F_GETOWN) == os.getpid())
        fcntl.fcntl(conn, fcntl.F_SETFL, fcntl.fcntl(conn, fcntl.F_GETFL) | os.O_ASYNC)
        sync("send")
        select.select([conn], [], [], 5)
        deadline = time.monotonic() + 5
        while not got and time.monotonic() < deadline:
            time.sleep(0.01)
        out(bool(got))
        """,
        {"send": send(b"x")},
    )


def test_outq(host: Host) -> None:
    host.compare(
        """
        SIOCOUTQ, SIOCOUTQNSD = 0x5411, 0x894B
        left = lambda request: struct.unpack("i", fcntl.ioctl(conn, request, b"....")) [0]
        out(left(SIOCOUTQ), left(SIOCOUTQNSD))
        conn.setblocking(False)
        try:
            while True:
                conn.send(b"x" * 65536)
        except BlockingIOError:
            pass
        out(left(SIOCOUTQ) > 0)
        sync("drain")
        deadline = time.monotonic() + 5
        while left(SIOCOUTQ) and time.monotonic() < deadline:
            time.sleep(0.01)
        out(left(SIOCOUTQ), left(SIOCOUTQNSD))
        """,
        {"drain": drain},
    )


def test_socket_ioctls(host: Host) -> None:
    host.compare(
        """
        SIOCATMARK, SIOCGIFINDEX, SIOCGIFNAME, TCGETS = 0x8905, 0x8933, 0x8910, 0x5401
        out(fcntl.ioctl(conn, SIOCATMARK, b"...."))
        out(fcntl.ioctl(conn, SIOCGIFINDEX, b"lo".ljust(40, b"\\0")))
        out(call(fcntl.ioctl, conn, TCGETS, b"." * 64), os.isatty(conn.fileno()),
            libc.sockatmark(conn.fileno()))
        """
    )


def test_accept_gives_the_same_number(host: Host) -> None:
    """Number, flags and address are those that accept gave; the numbers after it are free as they were."""
    host.compare(
        """
        print("#%d" % listener.getsockname()[1], flush=True)
        address = ctypes.create_string_buffer(16); size = ctypes.c_int(16)
        for flags in (0, os.O_NONBLOCK, os.O_CLOEXEC, os.O_NONBLOCK | os.O_CLOEXEC):
            if flags: print("#%d" % listener.getsockname()[1], flush=True)
            fd = c("accept4", listener.fileno(), address, ctypes.byref(size), flags)
            out(fd, size.value, address.raw[:2], fcntl.fcntl(fd, fcntl.F_GETFD), fcntl.fcntl(fd,
                fcntl.F_GETFL))
        print("#%d" % listener.getsockname()[1], flush=True)
        fd = c("accept", listener.fileno(), None, None)
        out(fd, fcntl.fcntl(fd, fcntl.F_GETFD), fcntl.fcntl(fd, fcntl.F_GETFL), os.open("/dev/null",
            os.O_RDONLY))
        listener.setblocking(False); out(call(listener.accept))
        """,
        stolen=6,
    )


def test_names(host: Host) -> None:
    said = host.compare(
        """
        out(conn.getsockname() == listener.getsockname(), conn.getpeername()[0], conn.getpeername()[1] > 0)
        out(conn.family, conn.type, conn.proto)
        short = ctypes.create_string_buffer(4); size = ctypes.c_int(4)
        out(c("getpeername", conn.fileno(), short, ctypes.byref(size)), size.value, short.raw[:2])
        out(c("getpeername", conn.fileno(), None, ctypes.byref(size)))
        """
    )
    assert said[0] == "=(True, '127.0.0.1', True)"


def test_ipv6(host: Host) -> None:
    host.compare(
        """
        FAMILY = socket.AF_INET6
        listener = listen()
        print("#%d:" % listener.getsockname()[1], flush=True)
        conn, address = listener.accept()
        out(address[0], conn.family, conn.getpeername() == address, conn.getsockname()[0])
        out(conn.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS))
        """,
        prepare="",
    )


def test_bind_connect_listen(host: Host) -> None:
    host.compare(
        """
        out(call(conn.bind, ("127.0.0.1", 0)), call(conn.listen, 5), call(conn.accept))
        out(call(conn.connect, ("127.0.0.1", 9)))
        """
    )


def test_disconnect(host: Host) -> None:
    host.compare(
        """
        out(c("connect", conn.fileno(), struct.pack("H14x", 0), 16))
        sync("end")
        out(call(conn.getpeername))
        """,
        {"end": lambda s: None},
    )


def test_timeouts(host: Host) -> None:
    host.compare(
        """
        def measured(name, value):
            conn.setsockopt(socket.SOL_SOCKET, name, struct.pack("ll", 0, value))
            return conn.getsockopt(socket.SOL_SOCKET, name, 16)
        out(conn.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16))
        out(measured(socket.SO_RCVTIMEO, 200000), measured(socket.SO_SNDTIMEO, 300000))
        start = time.monotonic()
        out(c("recv", conn.fileno(), ctypes.create_string_buffer(9), 9, 0),
            0.15 < time.monotonic() - start < 5)
        """
    )


def test_timeouts_are_inherited(host: Host) -> None:
    host.compare(
        """
        timeout = struct.pack("ll", 0, 252000)
        listener = listen()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 3)
        conn = connected(listener)
        out(conn.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16) == timeout)
        out(conn.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT))
        start = time.monotonic()
        out(c("recv", conn.fileno(), ctypes.create_string_buffer(9), 9, 0),
            0.2 < time.monotonic() - start < 5)
        """,
        prepare="",
    )


def test_rcvlowat(host: Host) -> None:
    host.compare(
        """
        out(conn.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT))
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 6)
        out(conn.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT))
        sync("later")
        out(conn.recv(9))
        """,
        {"later": later(b"abcdef")},
    )
    # In two parts TCP itself may sleep for ever (it waits for six further bytes), so this is not compared.
    assert host.probe(
        """
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 6)
        sync("parts")
        out(conn.recv(9))
        """,
        {"parts": lambda s: (send(b"abc")(s), later(b"def")(s))},
    ) == ["=(b'abcdef',)"]


def test_buffer_sizes(host: Host) -> None:
    host.compare(
        """
        for name in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            conn.setsockopt(socket.SOL_SOCKET, name, 50000)
            out(conn.getsockopt(socket.SOL_SOCKET, name))
        """
    )


def test_send_buffer_bounds_a_write(host: Host) -> None:
    """How much a non-blocking write takes is the kernel's bookkeeping; that it is bounded is not."""
    body = """
        listener = listen()
        if LISTENER: listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        conn = connected(listener)
        if not LISTENER: conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        conn.setblocking(False)
        out(conn.send(b"x" * 1000000) < 100000)
        """
    for listener in (True, False):
        assert host.compare(body.replace("LISTENER", str(listener)), prepare="") == ["=(True,)"]


def test_peek_offset(host: Host) -> None:
    host.compare(
        """
        SO_PEEK_OFF = 42
        result = call(conn.setsockopt, socket.SOL_SOCKET, SO_PEEK_OFF, 2)
        out(result)
        sync("send")
        select.select([conn], [], [], 5)
        out(conn.recv(3, socket.MSG_PEEK))
        """,
        {"send": send(b"abcdefgh")},
    )


def test_kind_of_socket(host: Host) -> None:
    host.compare(
        """
        SO_DOMAIN, SO_PROTOCOL = 39, 38
        for name in (socket.SO_TYPE, SO_DOMAIN, SO_PROTOCOL, socket.SO_ACCEPTCONN):
            out(conn.getsockopt(socket.SOL_SOCKET, name))
        out(struct.unpack("3i", conn.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)))
        out(call(conn.setsockopt, socket.SOL_SOCKET, socket.SO_PASSCRED, 1))
        out(os.fstat(conn.fileno()).st_mode, socket.socket(fileno=os.dup(conn.fileno())).family)
        """
    )


def test_linger(host: Host) -> None:
    host.compare(
        """
        linger = lambda *v: conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", *v))
        linger(1, 7)
        out(conn.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))
        linger(1, 0)
        conn.close()
        sync("reset")
        """,
        {"reset": expect_reset},
    )


def test_linger_on_the_listener(host: Host) -> None:
    """Set when the listener has been met already: what is accepted from then on ends by a reset."""
    host.compare(
        """
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        conn = connected(listener)
        out(conn.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))
        conn.close()
        sync("reset")
        """,
        {"reset": expect_reset},
    )


def test_socket_options(host: Host) -> None:
    host.compare(
        """
        for name in ("SO_KEEPALIVE", "SO_REUSEADDR", "SO_REUSEPORT", "SO_OOBINLINE", "SO_PRIORITY",
            "SO_MARK", "SO_BROADCAST",
                     "SO_DONTROUTE"):
            number = getattr(socket, name)
            before = call(conn.getsockopt, socket.SOL_SOCKET, number)
            out(name, before, call(conn.setsockopt, socket.SOL_SOCKET, number, 1))
            out(call(conn.getsockopt, socket.SOL_SOCKET, number))
        out(call(conn.getsockopt, socket.SOL_SOCKET, 9999), call(conn.setsockopt, socket.SOL_SOCKET, 9999, 1))
        out(call(conn.setsockopt, socket.SOL_SOCKET, socket.SO_KEEPALIVE, b"x"))
        out(call(conn.setsockopt, socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo"))
        """
    )


def test_tcp_options(host: Host) -> None:
    host.compare(
        """
        for name, value in (("TCP_KEEPIDLE", 55), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4),
            ("TCP_USER_TIMEOUT", 777),
                            ("TCP_QUICKACK", 1), ("TCP_NOTSENT_LOWAT", 16384), ("TCP_LINGER2",
                                3), ("TCP_SYNCNT", 3)):
            number = getattr(socket, name)
            out(name, call(conn.setsockopt, socket.IPPROTO_TCP, number, value))
            out(call(conn.getsockopt, socket.IPPROTO_TCP, number))
        out(conn.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16))
        info = conn.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)
        out(info[0], len(info), call(conn.getsockopt, socket.IPPROTO_TCP, 999))
        """
    )


def test_ip_options(host: Host) -> None:
    host.compare(
        """
        conn.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x10)
        out(conn.getsockopt(socket.IPPROTO_IP, socket.IP_TOS), conn.getsockopt(socket.IPPROTO_IP,
            socket.IP_TTL))
        out(call(conn.getsockopt, socket.IPPROTO_IPV6, socket.IPV6_TCLASS))
        """
    )


def test_nodelay_and_cork(host: Host) -> None:
    host.compare(
        """
        size = ctypes.c_int(0)
        for name in (socket.TCP_NODELAY, 3):
            for value in (0, 1, 1, 0, 7):
                conn.setsockopt(socket.IPPROTO_TCP, name, value)
                out(conn.getsockopt(socket.IPPROTO_TCP, name))
            out(call(conn.setsockopt, socket.IPPROTO_TCP, name, b"x"))
            out(c("setsockopt", conn.fileno(), socket.IPPROTO_TCP, name, None, 4))
            out(conn.getsockopt(socket.IPPROTO_TCP, name, 2), conn.getsockopt(socket.IPPROTO_TCP, name, 16))
            out(c("getsockopt", conn.fileno(), socket.IPPROTO_TCP, name, None, ctypes.byref(size)),
                size.value)
        conn.sendall(b"corked"); conn.shutdown(socket.SHUT_WR)
        sync("read")
        """,
        {"read": expect(b"corked")},
    )


def test_nodelay_on_the_listener(host: Host) -> None:
    """The real sockets run with TCP_NODELAY; the application reads, and sockets inherit, what it has set."""
    body = """
        NODELAY = socket.IPPROTO_TCP, socket.TCP_NODELAY
        listener = listen()
        out(listener.getsockopt(*NODELAY))
        conn = connected(listener)
        out(conn.getsockopt(*NODELAY))
        listener.setsockopt(*NODELAY, 1)
        listener.listen(7)
        again = listener.dup()
        out(listener.getsockopt(*NODELAY), again.getsockopt(*NODELAY))
        conn = connected(listener)
        out(conn.getsockopt(*NODELAY))
        listener.setsockopt(*NODELAY, 0)
        conn = connected(listener)
        out(conn.getsockopt(*NODELAY))
        """
    host.compare(body, prepare="", stolen=3)
    peer = host.peers[0]
    peer.stop()
    host.peers.clear()
    held = host.peer(hold=True)
    seen: list[int] = []
    host.probe('sync("look")', {"look": lambda _: seen.extend(nodelay(held))})
    assert seen == [1]


def nodelay(peer: Peer) -> list[int]:
    until(lambda: bool(peer.flows), 10, "the stolen socket")
    return [flow.right.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for flow in peer.flows]


def test_out_of_band(host: Host) -> None:
    host.peer()
    assert host.probe("out(call(conn.send, b'!', socket.MSG_OOB))") == ["=('ENOTSUP',)"]
    assert host.probe("out(call(conn.sendmsg, [b'!'], [], socket.MSG_OOB))") == ["=('ENOTSUP',)"]
    assert host.record.count("out_of_band") == 2
    host.compare("out(call(conn.recv, 1, socket.MSG_OOB | socket.MSG_DONTWAIT))")


def test_fastopen(host: Host) -> None:
    host.compare("out(call(conn.sendto, b'x', socket.MSG_FASTOPEN, listener.getsockname()))")


def test_send_with_an_address(host: Host) -> None:
    host.compare(
        """
        address = listener.getsockname()
        out(conn.sendto(b"one", address), conn.sendmsg([b"t", b"wo"], [], 0, address))
        class Message(ctypes.Structure):
            _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint), ("iov", ctypes.c_void_p),
                ("iovlen", ctypes.c_size_t),
                        ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t), ("flags",
                            ctypes.c_long), ("len", ctypes.c_uint)]
        data = ctypes.create_string_buffer(b"three")
        vector = (ctypes.c_size_t * 2)(ctypes.addressof(data), 5)
        sockaddr = ctypes.create_string_buffer(struct.pack("HHI8x", 2, 9, 9))
        messages = (Message * 2)()
        for message in messages:
            message.iov, message.iovlen = ctypes.addressof(vector), 1
        messages[1].name, messages[1].namelen = ctypes.addressof(sockaddr), 16
        out(c("sendmmsg", conn.fileno(), messages, 2, 0), messages[0].len, messages[1].len)
        sync("read")
        # The kernel takes so many at a time, whoever sends more.
        many = (Message * 1100)(*[messages[1]] * 1100)
        out(c("sendmmsg", conn.fileno(), many, 1100, 0))
        sync("many")
        """,
        {"read": expect(b"onetwothreethree"), "many": expect(b"three" * 1024)},
    )


def test_truncating_receive(host: Host) -> None:
    host.compare(
        """
        sync("send")
        select.select([conn], [], [], 5)
        out(c("recv", conn.fileno(), None, 3, socket.MSG_TRUNC), conn.recv(1))
        out(c("recv", conn.fileno(), None, 100, socket.MSG_TRUNC | socket.MSG_PEEK))
        size = ctypes.c_int(16)
        out(c("recvfrom", conn.fileno(), None, 2, socket.MSG_TRUNC, ctypes.create_string_buffer(16),
            ctypes.byref(size)), size.value)
        out(conn.recvmsg(2, 100, socket.MSG_TRUNC)[1:], conn.recvmsg(9, 100))
        out(c("recv", conn.fileno(), None, 3, socket.MSG_TRUNC | socket.MSG_DONTWAIT))
        sync("big")
        out(c("recv", conn.fileno(), None, 100000, socket.MSG_TRUNC | socket.MSG_WAITALL), conn.recv(9))
        """,
        {"send": send(b"abcdefghij"), "big": send(b"x" * 100000 + b"end")},
    )


def declined(host: Host, attempt: str) -> list[str]:
    if not host.peers:
        host.peer()
    before = host.record.count("declined")
    said = host.probe(f"out({attempt})")
    assert host.record.count("declined") == before + 1
    return said


def test_zerocopy_is_declined(host: Host) -> None:
    assert declined(host, "call(conn.setsockopt, socket.SOL_SOCKET, 60, 1)") == ["=('ENOTSUP',)"]
    assert declined(host, "call(conn.setsockopt, socket.SOL_SOCKET, 37, 1)") == ["=('ENOTSUP',)"]
    host.compare("out(conn.getsockopt(socket.SOL_SOCKET, 60), conn.send(b'x', 0x4000000))")


def test_zerocopy_listener_is_left_alone(host: Host) -> None:
    host.compare(
        """
        listener = socket.socket(); listener.bind(("127.0.0.1", 0))
        listener.setsockopt(socket.SOL_SOCKET, 60, 1)
        listener.listen()
        conn = connected(listener)
        out(conn.getsockopt(socket.SOL_SOCKET, 60), conn.send(b"x", 0x4000000))
        select.select([], [], [conn], 0)
        poll = select.poll(); poll.register(conn, 0)
        out(poll.poll(5000) == [(conn.fileno(), select.POLLERR)])
        """,
        prepare="",
        stolen=0,
    )
    assert host.record.count("declined") == 1
    assert host.record.count("stolen") == 0


def test_ulp_is_declined(host: Host) -> None:
    assert declined(host, "call(conn.setsockopt, 6, 31, b'tls')") == ["=('ENOENT',)"]


def test_repair_is_declined(host: Host) -> None:
    assert declined(host, "call(conn.setsockopt, 6, 19, 1)") == ["=('EPERM',)"]


def test_inq_is_declined(host: Host) -> None:
    assert declined(host, "call(conn.setsockopt, 6, 36, 1)") == ["=('ENOPROTOOPT',)"]


def test_zerocopy_receive_is_declined(host: Host) -> None:
    assert declined(host, "call(conn.getsockopt, 6, 35, 64)") == ["=('ENOPROTOOPT',)"]


def test_syscall_function(host: Host) -> None:
    """The numbers are x86-64's."""
    host.compare(
        """
        accept4, getpeername, getsockopt, dup, dup2, close, close_range = 288, 52, 55, 32, 33, 3, 436
        listener = listen()
        print("#%d" % listener.getsockname()[1], flush=True)
        fd = c("syscall", accept4, listener.fileno(), None, None, os.O_CLOEXEC)
        buffer = ctypes.create_string_buffer(28); size = ctypes.c_int(28)
        out(fd, c("syscall", getpeername, fd, buffer, ctypes.byref(size)), size.value, buffer.raw[:2])
        value = ctypes.c_int(0); size = ctypes.c_int(4)
        out(c("syscall", getsockopt, fd, socket.SOL_SOCKET, 39, ctypes.byref(value), ctypes.byref(size)),
            value.value)
        copy = c("syscall", dup, fd)
        out(copy, c("syscall", dup2, fd, 77), socket.socket(fileno=77).family)
        out(c("syscall", close, fd), c("syscall", close, fd), c("syscall", close_range, copy, copy, 0),
            c("syscall", close, copy))
        out(c("syscall", 9999), c("syscall", 39) == os.getpid(), c("syscall", 257, -100, b"/dev/null", 0) > 0)
        """,
        prepare="",
    )
