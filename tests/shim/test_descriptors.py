"""Rows about descriptors: the hidden duplicate goes wherever its descriptor goes, and nowhere else."""

from tests.shim.host import Host
from tests.shim.steps import expect, expect_end

# The hidden duplicates of this process: the record's base is 10000, connections stand from 19247 on.
HIDDEN = """
def hidden():
    return sorted(fd - 10000 for fd in map(int, os.listdir("/proc/self/fd")) if 10000 <= fd < 19247)
"""
PREPARE = HIDDEN + "listener = listen()\nconn = connected(listener)\nn = conn.fileno()\n"


def probe(host: Host, body: str, steps=None, **more) -> list[str]:
    """Only stolen: what is looked at does not exist natively."""
    if not host.peers:
        host.peer()
    before = host.record.count("stolen")
    said = host.probe(body, steps, prepare=PREPARE, **more)
    assert host.record.count("stolen") > before, host.record.counters()
    return said


def test_close(host: Host) -> None:
    host.compare(
        """
        n = conn.fileno()
        conn.sendall(b"x"); conn.close()
        sync("end")
        out(call(os.close, n), call(os.fstat, n))
        """,
        {"end": lambda s: (expect(b"x")(s), expect_end(s))},
    )
    assert probe(host, "out(hidden() == [n]); conn.close(); out(hidden())") == ["=(True,)", "=([],)"]


def test_fclose(host: Host) -> None:
    body = """
        libc.fdopen.restype = ctypes.c_void_p
        file = ctypes.c_void_p(libc.fdopen(conn.detach(), b"r+"))
        libc.fputs(b"by stdio\\n", file)
        out(libc.fclose(file))
        sync("end")
        """
    steps = {"end": lambda s: (expect(b"by stdio\n")(s), expect_end(s))}
    host.compare(body, steps)
    assert probe(host, body + "out(hidden())", steps)[-1] == "=([],)"


def test_dup_family(host: Host) -> None:
    body = """
        name = conn.getpeername()
        copies = [os.dup(n), fcntl.fcntl(n, fcntl.F_DUPFD, 50), fcntl.fcntl(n, fcntl.F_DUPFD_CLOEXEC, 60)]
        libc.dup2(n, 70); libc.dup3(n, 71, os.O_CLOEXEC); copies += [70, 71]
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        out(call(os.dup2, n, n) == n, c("dup2", 999, 70), c("dup3", n, n, 0))
        open_ones = []
        for fd in copies:
            open_ones.append(again := socket.socket(fileno=fd))
            out(fd, again.getpeername() == name, fcntl.fcntl(fd, fcntl.F_GETFD), again.type)
        conn.close()
        again.sendall(b"still open")
        sync("read")
        """
    steps = {"read": expect(b"still open")}
    host.compare(body, steps, prepare=PREPARE)
    said = probe(host, body.replace("conn.close()", "out(hidden() == sorted([n, *copies]))"), steps)
    assert said[-1] == "=(True,)"


def test_dup2_over_a_stolen_socket(host: Host) -> None:
    body = """
        second = connected(listener); m = second.fileno()
        file = os.open("/dev/null", os.O_RDWR)
        os.dup2(file, n)
        out(call(conn.getpeername), call(os.write, n, b"x"))
        name = second.getpeername()
        os.dup2(m, n)
        out(conn.getpeername() == name)
        os.close(m)
        out(conn.getpeername() == name)
        """
    host.compare(body, prepare=PREPARE, stolen=2)
    assert probe(host, body + "out(hidden() == [n])")[-1] == "=(True,)"


def test_cloexec_is_mirrored(host: Host) -> None:
    said = probe(
        host,
        """
        both = lambda: (fcntl.fcntl(n, fcntl.F_GETFD), fcntl.fcntl(n + 10000, fcntl.F_GETFD))
        out(both())
        fcntl.fcntl(n, fcntl.F_SETFD, 0); out(both())
        fcntl.fcntl(n, fcntl.F_SETFD, 1); out(both())
        os.set_inheritable(n, True); out(both())
        fcntl.ioctl(n, 0x5451); out(both())
        """,
    )
    assert said == [f"=(({flag}, {flag}),)" for flag in (1, 0, 1, 0, 1)]


def test_close_range(host: Host) -> None:
    body = """
        second = connected(listener); third = connected(listener)
        first, m, last = n, second.fileno(), third.fileno()
        name = second.getpeername()
        out(c("close_range", 5, 4, 0), c("close_range", first, last, 99))
        out(c("close_range", first, first, 0), call(os.fstat, first))
        out(c("close_range", m + 1, 0xffffffff, 0), call(os.fstat, last), second.getpeername() == name)
        out(c("close_range", m, m, 4), fcntl.fcntl(m, fcntl.F_GETFD), second.getpeername() == name)
        """
    host.compare(body, prepare=PREPARE, stolen=3)
    assert (
        probe(host, body + "out(hidden() == [m], fcntl.fcntl(m + 10000, fcntl.F_GETFD))")[-1] == "=(True, 1)"
    )
    # All of them, the connections too; and the next accept is stolen again.
    assert probe(
        host,
        """
        libc.close_range(n, 0xffffffff, 0)
        out([fd for fd in map(int, os.listdir("/proc/self/fd")) if fd >= 10000])
        listener = listen(); conn = connected(listener); out(conn.getpeername()[0], len(hidden()))
        """,
    ) == ["=([],)", "=('127.0.0.1', 1)"]


def test_closefrom(host: Host) -> None:
    body = """
        second = connected(listener)
        name = conn.getpeername()
        libc.closefrom(n + 1)
        out(conn.getpeername() == name, call(second.getpeername))
        libc.closefrom(3)
        out(call(conn.getpeername))
        """
    host.compare(body, prepare=PREPARE, stolen=2)
    assert probe(host, body + "out(hidden())")[-1] == "=([],)"


def test_proc_walking_close_loop(host: Host) -> None:
    """Descriptors that the loop keeps stay whole, none of the numbers that it finds fails to close."""
    body = """
        second = connected(listener)
        name = conn.getpeername()
        for fd in sorted(map(int, os.listdir("/proc/self/fd"))):
            try:
                os.fstat(fd)
            except OSError:
                # The one that the listing itself was, or one that has gone with its descriptor.
                continue
            if fd > 2 and fd != n:
                os.close(fd)
        out(conn.getpeername() == name, call(second.getpeername))
        numbers = list(map(int, os.listdir("/proc/self/fd")))
        for fd in numbers:
            if fd > 2:
                libc.close(fd)
        out(call(conn.getpeername))
        """
    host.compare(body, prepare=PREPARE, stolen=2)
    assert probe(host, body + "out(hidden())")[-1] == "=([],)"
    # Closing what a list says, though closing another has closed it: no error that natively is none.
    assert probe(
        host,
        """
        numbers = sorted(map(int, os.listdir("/proc/self/fd")))
        out([fd for fd in numbers if fd >= n and c("close", fd) != 0])
        """,
    ) in (["=([],)"], ["=([6],)"], ["=([5],)"])


def test_fork(host: Host) -> None:
    """Parent and child hold the connection; the child's own accepts are stolen too."""
    body = """
        name = conn.getpeername()
        pid = os.fork()
        if pid == 0:
            out(conn.getpeername() == name)
            conn.sendall(b"child")
            conn.close()
            conn = connected(listener)
            out(conn.getpeername()[0])
            os._exit(0)
        os.waitpid(pid, 0)
        conn.sendall(b"+parent"); out(conn.getpeername() == name)
        """
    host.compare(body, stolen=2)
    hellos = host.peers[0].hellos
    assert len({hello.pid for hello in hellos}) == 2, "the child greets by itself"


def test_vfork(host: Host) -> None:
    """CPython starts children by vfork and arranges their descriptors in the parent's memory."""
    body = """
        name = conn.getpeername()
        script = "import socket; s = socket.socket(fileno=0); print(s.getpeername()[1]); s.sendall(b'hello')"
        child = subprocess.run([sys.executable, "-c", script], stdin=conn, stdout=subprocess.PIPE, text=True)
        out(child.stdout == f"{name[1]}\\n", conn.getpeername() == name, fcntl.fcntl(n, fcntl.F_GETFD))
        sync("hello")
        child = subprocess.run(["true"], pass_fds=[n])
        out(child.returncode, conn.getpeername() == name)
        """
    host.compare(body, {"hello": expect(b"hello")}, prepare=PREPARE)
    assert probe(host, body + "out(hidden() == [n])", {"hello": expect(b"hello")})[-1] == "=(True,)"


def test_posix_spawn(host: Host) -> None:
    host.compare(
        """
        name = conn.getpeername()
        os.set_inheritable(n, True)
        script = f"import socket; s = socket.socket(fileno={n}); s.sendall(b'%d' % s.getpeername()[1])"
        pid = os.posix_spawn(sys.executable, [sys.executable, "-c", script], os.environ)
        out(os.waitpid(pid, 0)[1], conn.getpeername() == name)
        pid = os.posix_spawn("/bin/sh", ["sh", "-c", "echo -n by shell >&9"], os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, n, 9)])
        out(os.waitpid(pid, 0)[1])
        sync("read")
        """,
        {"read": lambda s: (s.recv(len(str(s.getsockname()[1]))), expect(b"by shell")(s))},
        prepare=PREPARE,
    )


def test_exec(host: Host) -> None:
    """What goes through exec is whole on the other side; what does not leaves nothing."""
    script = (
        "import os, socket, sys; s = socket.socket(fileno=int(sys.argv[1])); "
        "print('=' + repr((s.family, s.getpeername()[0], s.getsockopt(6, 1))), flush=True); "
        "s.sendall(b'after'); "
    )
    count = (
        "found = [f for f in map(int, os.listdir('/proc/self/fd')) if f >= 10000]; "
        "print('=' + repr(found == [int(sys.argv[1]) + 10000]))"
    )
    body = """
        kept = connected(listener)
        os.set_inheritable(kept.fileno(), True)
        os.execv(sys.executable, [sys.executable, "-c", SCRIPT, str(kept.fileno())])
        """
    # conn itself is close-on-exec and ends here.
    prepare = "listener = listen()\nconn = connected(listener)\n"
    host.compare(body.replace("SCRIPT", repr(script)), stolen=2, prepare=prepare)
    assert host.record.count("adopted") == 1
    said = host.probe(body.replace("SCRIPT", repr(script + count)), prepare=prepare)
    assert said[-1] == "=True"


def test_exec_sweeps_orphans(host: Host) -> None:
    """A descriptor closed by a raw system call leaves its duplicate; exec finds it."""
    body = """
        os.set_inheritable(n, True)
        file = os.open("/dev/null", os.O_RDWR)
        actions = [(os.POSIX_SPAWN_CLOSE, n)]
        script = "import os; print('=%r' % [f for f in map(int, os.listdir('/proc/self/fd')) if f > 9999])"
        os.waitpid(os.posix_spawn(sys.executable, [sys.executable, "-c", script], os.environ,
            file_actions=actions), 0)
        """
    assert probe(host, body) == ["=[]"]


def test_stale_records_are_swept(host: Host) -> None:
    """freopen closes inside libc; the number comes back as another socket."""
    said = probe(
        host,
        """
        libc.fdopen.restype = ctypes.c_void_p
        file = ctypes.c_void_p(libc.fdopen(conn.detach(), b"r+"))
        libc.freopen(b"/dev/null", b"r", file)
        out(hidden() == [n])
        out(c("getpeername", n, ctypes.create_string_buffer(28), ctypes.byref(ctypes.c_int(28))))
        out(hidden())
        """,
    )
    assert said == ["=(True,)", "=('ENOTSOCK',)", "=([],)"]
    assert host.record.count("swept") == 1


def test_fd_passing(host: Host) -> None:
    host.compare(
        """
        left, right = socket.socketpair()
        socket.send_fds(left, [b"x"], [conn.fileno()])
        _, [fd], _, _ = socket.recv_fds(right, 1, 1)
        conn.close()
        out(os.read(fd, 0), os.write(fd, b"passed"))
        os.close(fd)
        sync("end")
        """,
        {"end": lambda s: (expect(b"passed")(s), expect_end(s))},
    )


def test_a_passed_socket_has_its_addresses(host: Host) -> None:
    for family, mark in (("AF_INET", ""), ("AF_INET6", ":")):
        host.compare(
            """
            print("#%d" % listener.getsockname()[1] + MARK, flush=True)
            conn = listener.accept()[0]
            left, right = socket.socketpair()
            socket.send_fds(left, [b"x"], [0, conn.fileno()])
            names = conn.getsockname(), conn.getpeername()
            kind = conn.family, conn.type, conn.proto
            conn.close()
            if os.fork():
                os._exit(os.waitpid(-1, 0)[1])
            _, fds, _, _ = socket.recv_fds(right, 1, 2)
            got = socket.socket(fileno=fds[1])
            out((got.getsockname(), got.getpeername()) == names, (got.family, got.type, got.proto) == kind)
            out(call(got.setsockopt, socket.IPPROTO_TCP, socket.TCP_NODELAY, 1))
            out(call(got.setsockopt, socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))
            # Again, and by somebody who never accepted it.
            socket.send_fds(left, [b"x"], [fds[1]])
            _, [fd], _, _ = socket.recv_fds(right, 1, 1)
            short = ctypes.create_string_buffer(2); len = ctypes.c_uint(2)
            libc.getsockname(fd, short, ctypes.byref(len))
            out(short.raw, len.value, socket.socket(fileno=fd).getpeername() == names[1])
            # Others are what they were.
            out(left.getsockname(), left.getpeername(), left.family, left.proto)
            out(call(left.setsockopt, socket.IPPROTO_TCP, socket.TCP_NODELAY, 1))
            """,
            prepare=f"FAMILY = socket.{family}; MARK = {mark!r}\nlistener = listen()\n",
        )


def test_a_closed_socket_ends_for_the_client_while_a_duplicate_is_open(host: Host) -> None:
    host.compare(
        """
        copy = conn.dup(); conn.close()
        copy.sendall(b"1"); sync("one"); copy.shutdown(socket.SHUT_WR)
        sync("end")
        """,
        {"one": expect(b"1"), "end": expect_end},
    )


def test_three_thousand_connections_leave_nothing(host: Host) -> None:
    said = probe(
        host,
        """
        conn.close()
        # Without the connections to the queues, one for each core that it happens to run on.
        numbers = lambda: sorted(fd for fd in map(int, os.listdir("/proc/self/fd")) if fd < 19247)
        before = numbers()
        port = listener.getsockname()
        for _ in range(3000):
            client = socket.create_connection(port); served, _ = listener.accept()
            served.close(); client.close()
        out(numbers() == before)
        """,
    )
    assert said == ["=(True,)"]
    # A slow peer's queue may fill: those sockets pass by it, and leave nothing either.
    assert sum(map(host.record.count, ("stolen", "queue_full", "in_flight"))) == 3001
    assert host.record.count("stolen") > 1000
