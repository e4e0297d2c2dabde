"""Small writes by shared memory: which go that way, and that they keep their place among the others."""

import hashlib
import socket
import sys
import threading

import pytest

from tests.lib.process import until
from tests.shim.host import PRELUDE, Host, killing_after
from tests.shim.record import NO_INLINE

# Every call that writes; what each returns is compared with what it returns natively.
CALLS = """
fd, file = conn.fileno(), os.memfd_create("file")
os.write(file, bytes(range(256)) * 8)
message = b"so many bytes"
parts = [b"in ", b"", b"three"]
calls = [
    lambda: os.write(fd, message), lambda: os.writev(fd, parts), lambda: conn.send(message),
    lambda: conn.send(message, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL),
    lambda: conn.send(message, socket.MSG_MORE),
    lambda: conn.sendmsg(parts), lambda: c("sendto", fd, message, 13, 0, None, 0),
    lambda: os.sendfile(fd, file, 100, 1000), lambda: os.sendfile(fd, file, 2000, 1000),
]
"""


class Got:
    """A client that takes what comes, and asks for more when it has so many bytes."""

    def __init__(self) -> None:
        self.bytes = b""

    def some(self, conn: socket.socket) -> None:
        self.bytes += conn.recv(1 << 16)

    def all(self, conn: socket.socket) -> None:
        while part := conn.recv(1 << 16):
            self.bytes += part

    def begin(self, conn: socket.socket) -> None:
        self.reader = threading.Thread(target=self.all, args=(conn,))
        self.reader.start()

    def end(self, _: socket.socket) -> None:
        self.reader.join(60)


def test_every_call_writes_what_it_writes_natively(host: Host) -> None:
    got = Got()
    body = CALLS + "for one in calls:\n    out(one())\n    sync('some')\n"
    host.compare(body, {"some": got.some})
    third = len(got.bytes) // 3
    assert got.bytes == got.bytes[:third] * 3 and third > 1000
    # Whoever waits for the client's answer finds everything read.
    assert host.counters["inline_writes"] == 9, host.counters
    host.pooled(body, {"some": got.some}, flags=NO_INLINE)
    assert got.bytes == got.bytes[:third] * 4 and "inline_writes" not in host.counters


@pytest.mark.parametrize(
    "call",
    [
        "conn.send(b'x' * 20000)",
        "os.sendfile(fd, file, 0, 20000)",
        "os.sendfile(fd, file, None, 10)",
        "os.sendfile(fd, file, 5000, 10)",
        "conn.send(b'')",
        "c('send', fd, b'x', 1, socket.MSG_OOB)",
        "os.writev(fd, [b'x'] * 40)",
        "libc.dprintf(fd, b'%s', b'x')",
    ],
)
def test_what_goes_through_the_socket(host: Host, call: str) -> None:
    said = host.pooled(CALLS + f"result = {call}\nout(result)")
    assert said and "inline_writes" not in host.counters, host.counters


def test_a_pointer_to_nothing_is_an_error_as_natively(host: Host) -> None:
    host.compare(
        """
        import mmap
        libc.mmap.restype = ctypes.c_void_p
        at = libc.mmap(None, ctypes.c_size_t(8192), 3, 0x22, -1, ctypes.c_long(0))
        assert libc.munmap(ctypes.c_void_p(at + 4096), ctypes.c_size_t(4096)) == 0
        fd, file = conn.fileno(), os.memfd_create("file")
        os.write(file, b"12345")
        over = ctypes.c_void_p(at + 4096)
        out(c("write", fd, over, 10), c("send", fd, over, 10, 0), c("sendfile", fd, file, over, 5))
        out(c("writev", fd, over, 1), c("write", fd, ctypes.c_void_p(-4096), 1))
        vector = (ctypes.c_void_p * 2)(at + 4096, 8)
        out(c("writev", fd, vector, 1))
        """
    )


MIXED = """
import random, threading
draw, sent = random.Random(5), 0
fd, file = conn.fileno(), os.memfd_create("file")
sync("begin")
whole = draw.randbytes(SIZE)
os.write(file, whole)
while sent < SIZE:
    most = draw.choice((10, 300, 1500, 6000, 40000))
    part = whole[sent : sent + 1 + draw.randrange(most)]
    way = draw.randrange(WAYS)
    if way == 0: count = os.sendfile(fd, file, sent, len(part))
    elif way == 1: count = os.writev(fd, [part[:5], part[5:]])
    elif way < 5: count = conn.send(part)
    elif way == 5: count = libc.syscall(1, fd, part, len(part))
    else: count = libc.dprintf(fd, b"%.*s", len(part[:20]), bytes(byte % 94 + 33 for byte in part[:20])) and 0
    sent += count
conn.close()
"""


@pytest.mark.parametrize(("ways", "size"), [(5, 20_000_000), (6, 3_000_000)])
def test_bytes_keep_their_place_whatever_call_writes_them(host: Host, ways: int, size: int) -> None:
    body = MIXED.replace("SIZE", str(size)).replace("WAYS", str(ways)) + "sync('end')"
    got, natively = Got(), Got()
    host.pooled(body, {"begin": got.begin, "end": got.end})
    host.probe(body, {"begin": natively.begin, "end": natively.end}, stolen=False)
    assert hashlib.sha256(got.bytes).digest() == hashlib.sha256(natively.bytes).digest()


def test_a_write_that_no_hook_counts_ends_inline(host: Host) -> None:
    got = Got()
    calls = ["conn.send(b'a')", "libc.dprintf(fd, b'b')", "conn.send(b'c')", "conn.send(b'd')"]
    body = "fd = conn.fileno()\n" + "".join(f"{one}\nsync('some')\n" for one in calls)
    host.pooled(body, {"some": got.some})
    assert got.bytes == b"abcd"
    assert (host.counters["inline_writes"], host.counters["inline_untold"]) == (1, 1)


def test_threads_that_write_at_one_time_each_keep_their_order(host: Host) -> None:
    got = Got()
    host.pooled(
        """
        import threading
        def write(name):
            for number in range(20000):
                conn.send(b"%s%07d" % (name, number))
        threads = [threading.Thread(target=write, args=(name,)) for name in (b"a", b"b", b"c")]
        sync("begin")
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        conn.close()
        sync("end")
        """,
        {"begin": got.begin, "end": got.end},
    )
    each = [got.bytes[at : at + 8] for at in range(0, len(got.bytes), 8)]
    for name in b"abc":
        assert [int(one[1:]) for one in each if one[0] == name] == list(range(20000))


LAST = """
import random
listener = listen()
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
print(listener.getsockname()[1], flush=True)
for number in range(6):
    conn = listener.accept()[0]
    conn.recv(1)
    conn.send(b"last ")
    conn.send(b"words")
    if number == 5: os.kill(os.getpid(), signal.SIGKILL)
    conn.close()
"""


def test_what_was_written_before_a_kill_arrives(host: Host) -> None:
    record = host.record = host.module.record()
    with host.start([sys.executable, "-c", PRELUDE + LAST]) as server, killing_after(server, 60) as hung:
        port = int(server.stdout.readline())
        for _ in range(6):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
                client.sendall(b"x")
                got = Got()
                got.all(client)
                assert got.bytes == b"last words"
        assert server.wait(30) == -9 and not hung
    assert record.count("inline_writes") > 0


def test_a_slow_client_stops_who_writes_little_at_a_time(host: Host) -> None:
    host.pooled(
        """
        conn.setblocking(False)
        sent = 0
        try:
            while True: sent += conn.send(b"x" * 500)
        except BlockingIOError:
            pass
        out(sent < 30_000_000)
        """
    )


def test_who_asks_what_is_unsent_is_told_of_it(host: Host, compiled) -> None:
    # Whatever lies where, it is sent in the end.
    said = host.pooled(
        """
        room = ctypes.c_int()
        def unsent():
            assert libc.ioctl(conn.fileno(), 0x5411, ctypes.byref(room)) == 0
            return room.value
        conn.send(b"x" * 1000)
        end = time.monotonic() + 20
        while unsent() and time.monotonic() < end: pass
        out(unsent())
        """
    )
    assert said == ["=(0,)"] and host.counters["inline_writes"] == 1


def test_a_network_that_is_gone_is_told_by_the_next_write(host: Host) -> None:
    def reset(conn: socket.socket) -> None:
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        conn.close()

    body = """
        conn.send(b"x")
        sync("reset")
        poll = select.poll(); poll.register(conn, 0)
        assert poll.poll(20000)
        out(call(conn.send, b"x"), call(conn.send, b"x"))
    """
    natively = host.probe(body, {"reset": reset}, stolen=False)
    assert host.pooled(body, {"reset": reset}) == natively


def test_a_child_writes_by_the_socket(host: Host) -> None:
    got = Got()
    host.pooled(
        """
        conn.send(b"parent ")
        child = os.fork()
        if not child:
            conn.send(b"child ")
            os._exit(0)
        os.waitpid(child, 0)
        conn.send(b"parent again")
        conn.close()
        sync("all")
        """,
        {"all": got.all},
    )
    assert got.bytes == b"parent child parent again"
    assert host.counters["inline_writes"] == 1


def test_idle_flows_share_what_they_have(host: Host) -> None:
    """Only the first pairs have areas; the others write by the socket."""
    record = host.record = host.module.record()
    server = "listener = listen(backlog=500)\nprint(listener.getsockname()[1], flush=True)\n" + (
        "conns = [listener.accept()[0] for _ in range(400)]\n"
        "for conn in conns: conn.send(b'hello')\n"
        "sys.stdin.readline()\n"
    )
    command = [sys.executable, "-c", PRELUDE + server]
    with host.start(command, soft=4096) as process, killing_after(process, 60) as hung:
        port = int(process.stdout.readline())
        clients = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(400)]
        for client in clients:
            with client:
                assert client.recv(5, socket.MSG_WAITALL) == b"hello"
        until(lambda: record.count("stolen") == 400, 20, "all to be counted")
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.wait(30) == 0 and not hung
