"""Pairs that outlive a flow, seen from the application: what ends a pair with its flow, under which name, and
that the next flow finds nothing of the one before.

Rules: every test runs a program under the shim with a real forwarder (`pooled.py`), on pairs that have had
flows; what became of the pairs is read from the record.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lib.process import until
from tests.shim.host import PRELUDE, Host
from tests.shim.pooled import Module
from tests.shim.steps import expect, expect_end, send

# A second connection comes after the first, whose close the module has seen by then.
AFTER = """
conn.close()
sync("over")
conn = connected(listener)
"""
STEPS = {"over": expect_end, "x": send(b"x"), "yz": send(b"yz"), "a": expect(b"a")}


@pytest.mark.parametrize(
    ("reason", "body"),
    [
        ("duplicated", "other = conn.dup(); other.close()"),
        ("duplicated", "other = fcntl.fcntl(n, fcntl.F_DUPFD, 100); os.close(other)"),
        ("forked", "child = os.fork()\nif not child: os._exit(0)\nos.waitpid(child, 0)"),
        ("forked", "subprocess.run(['true'])"),
        ("forked", "os.waitpid(os.posix_spawnp('true', ['true'], os.environ), 0)"),
        ("forked", "os.system('true')"),
        (
            "forked",
            "libc.popen.restype = ctypes.c_void_p; libc.pclose(ctypes.c_void_p(libc.popen(b'true', b'r')))",
        ),
        ("shutdown", "conn.shutdown(socket.SHUT_RD)"),
        ("shutdown", "libc.syscall(48, n, socket.SHUT_RD)"),
        ("passed", "a, b = socket.socketpair(); socket.send_fds(a, [b'x'], [n]); a.close(); b.close()"),
        ("options", "conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 2)"),
        ("options", "conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack('ll', 1, 0))"),
        ("options", "conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))"),
        ("options", "fcntl.fcntl(n, fcntl.F_SETOWN, os.getpid())"),
        ("options", "fcntl.fcntl(n, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)"),
        ("epoll", "a, b = select.epoll(), select.epoll(); a.register(n, 1); b.register(n, 1)"),
        ("epoll", "e = select.epoll(); e.register(n, 1); f = e.fileno(); e.close(); e = select.epoll()"),
        ("busy", "libc.fdopen.restype = ctypes.c_void_p; libc.fdopen(n, b'r+')"),
        ("replaced", "os.dup2(os.open('/dev/null', os.O_RDONLY), n)"),
        ("replaced", "os.closerange(n, n + 1)"),
        ("io_uring", "libc.syscall(425, 1, ctypes.create_string_buffer(120))"),
    ],
)
def test_what_ends_a_pair_with_its_flow(host: Host, reason: str, body: str) -> None:
    said = host.pooled("n = conn.fileno()\n" + body + "\nout('done')")
    assert said == ["=('done',)"]
    assert host.pairs["reused"] > 0 and host.pairs.get(reason, 0) >= 1, host.pairs


@pytest.mark.parametrize(
    "body",
    [
        "conn.recv(1)",
        "e = select.epoll(); e.register(n, 1); e.poll(); conn.recv(1)",
        "e, f = select.epoll(), select.epoll(); e.register(n); e.unregister(n); f.register(n); conn.recv(1)",
        "e = select.epoll(); e.register(n, 1); e.modify(n, 5); conn.recv(1)",
        "p = select.poll(); p.register(n, 1); p.poll(); conn.recv(1)",
        "select.select([n], [], []); conn.recv(1)",
        "conn.setblocking(False); select.select([n], [], []); conn.recv(1)",
        "conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1); conn.recv(1)",
        "conn.recv(1); conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1); conn.send(b'a'); sync('a')",
        "os.set_inheritable(n, True); conn.recv(1)",
    ],
)
def test_what_lets_a_pair_go_on(host: Host, body: str) -> None:
    said = host.pooled("n = conn.fileno()\nsync('x')\n" + body + AFTER + "out('done')", STEPS)
    assert said == ["=('done',)"]
    assert set(host.pairs) == {"new", "reused"}, host.pairs


def test_the_next_flow_finds_a_new_socket(host: Host) -> None:
    """Whatever the flow before has set is as in a socket just accepted."""
    look = """
        n = conn.fileno()
        out(fcntl.fcntl(n, fcntl.F_GETFL) & os.O_NONBLOCK, fcntl.fcntl(n, fcntl.F_GETFD), conn.getblocking())
        out(conn.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16), fcntl.fcntl(n, fcntl.F_GETOWN))
        out([conn.getsockopt(socket.IPPROTO_TCP, one) for one in (socket.TCP_NODELAY, socket.TCP_CORK)])
        out(struct.unpack("i", fcntl.ioctl(n, termios.FIONREAD, bytes(4))))
        out(call(conn.recv, 1, socket.MSG_DONTWAIT))
    """
    change = """
        conn.setblocking(False)
        os.set_inheritable(n, True)
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    """
    lines = [line.strip() for line in (look + change + AFTER + look).splitlines()]
    assert host.compare("\n".join(lines), STEPS)
    assert host.pairs["reused"] > 1


def test_bytes_that_come_after_the_close_are_nobody_elses(host: Host) -> None:
    """The client goes on sending while the pair is on its way to the next flow."""
    body = """
for turn in range(30):
    conn.close()
    sync("yz")
    conn = connected(listener)
    assert call(conn.recv, 9, socket.MSG_DONTWAIT) == "EAGAIN"
out("done")
"""
    assert host.pooled(body, {"yz": late}) == ["=('done',)"]
    assert host.pairs["reused"] > 0, host.pairs


def late(client) -> None:
    """Sends into what is being closed."""
    try:
        client.sendall(b"yz" * 1000)
    except OSError:
        return


def test_a_thread_that_reads_from_what_is_closed_gets_nothing_of_the_next_flow(host: Host) -> None:
    said = host.pooled(
        """
import threading
n, got = conn.fileno(), []
thread = threading.Thread(target=lambda: got.append(call(os.read, n, 1)))
thread.start()
state = lambda: open(f"/proc/self/task/{thread.native_id}/syscall").read().split()[0]
while state() != "0": pass
os.close(conn.detach())
"""
        + OTHERS
        + """
thread.join()
out(got)
""",
        OTHERS_STEPS,
    )
    # As natively: the read goes on with its own connection until that ends.
    assert said == ["=([b''],)"]
    assert host.pairs["busy"] == 1, host.pairs


# Flows on whatever pairs there are now, while the client of the one before still stands; then it ends.
OTHERS = """
sync("over?")
later = []
for _ in range(8):
    later.append(connected(listener))
    sync("x")
    assert later[-1].recv(1) == b"x"
sync("end")
"""
OTHERS_STEPS = {"over?": lambda s: kept.append(s), "x": send(b"x"), "end": lambda s: kept.pop().close()}
kept: list = []


def test_a_read_that_begins_in_the_middle_of_the_close_gets_nothing_of_the_next_flow(
    host: Host, compiled: Callable[..., Path]
) -> None:
    library = compiled("closing", "-shared", "-fPIC", "-pthread", suffix=".so")
    said = host.pooled(
        f"closing = ctypes.CDLL({str(library)!r}); closing.what_it_read.restype = ctypes.c_long"
        "\nassert closing.close_beside_a_read(conn.detach()) == 0" + OTHERS + "out(closing.what_it_read())",
        OTHERS_STEPS,
    )
    assert said == ["=(0,)"]
    assert host.pairs["busy"] == 1, host.pairs


def test_io_uring_of_a_library_that_was_loaded_late(host: Host, compiled: Callable[..., Path]) -> None:
    library = compiled("ring", "-shared", "-fPIC", suffix=".so")
    assert host.pooled(f"out(ctypes.CDLL({str(library)!r}).ask())") == ["=(4711,)"]
    assert host.pairs["io_uring"] >= 1, host.pairs


def test_forks_beside_accepts(host: Host, module: Module) -> None:
    """Threads accept while others fork: no child keeps a connection open that its parent has closed."""
    code = PRELUDE + FORKING
    record = module.record()
    host.record = record
    assert host.run([sys.executable, "-c", code]) == "done\n"
    pairs = record.pairs()
    assert pairs["forked"] >= 40 and pairs["reused"] > 200, pairs


FORKING = """
import threading
listener, stop, children, clients = listen(backlog=64), [], [], 4
def serve():
    while not stop:
        conn, _ = listener.accept()
        data = conn.recv(100)
        if data.endswith(b"0"): fork()
        conn.sendall(data.upper())
        conn.close()
def ask(name):
    for turn in range(200):
        with socket.create_connection(listener.getsockname(), timeout=20) as client:
            said = b"%d %d" % (name, turn)
            client.sendall(said)
            got = b""
            while part := client.recv(100): got += part
            assert got == said.upper(), (got, said)
def fork():
    child = os.fork()
    if not child:
        os.closerange(3, 1024)
        time.sleep(60)
        os._exit(0)
    children.append(child)
servers = [threading.Thread(target=serve, daemon=True) for _ in range(3)]
asking = [threading.Thread(target=ask, args=(name,)) for name in range(clients)]
for thread in servers + asking: thread.start()
for thread in asking: thread.join()
for child in children: os.kill(child, 9); os.waitpid(child, 0)
stop.append(1)
print("done", flush=True)
os._exit(0)
"""


def test_idle_pairs_go_while_the_program_sleeps(host: Host, module: Module) -> None:
    """Some seconds in one epoll_wait: nothing is kept any more."""
    code = PRELUDE + SLEEPING
    host.record = record = module.record()
    with host.start([sys.executable, "-c", code]) as server:
        assert server.stdout.readline() == "idle\n"
        assert record.pairs().get("trimmed", 0) == 0
        until(lambda: record.pairs().get("trimmed", 0) >= 8, 60, "idle pairs are closed")
        server.stdin.write("\n")
        server.stdin.flush()
        assert server.stdout.readline() == "1\n"


def test_the_module_lets_idle_pairs_go_too(host: Host, module: Module) -> None:
    """A program that sleeps in a call without a hook cannot close them."""
    before = module.descriptors()
    host.record = record = module.record()
    with host.start([sys.executable, "-c", PRELUDE + IDLE + "sys.stdin.readline()"]) as server:
        assert server.stdout.readline() == "idle\n"
        assert module.descriptors() >= before + 10
        # A connection for each core that it ran on, with a bell.
        until(lambda: module.descriptors() <= before + 4, 60, "idle pairs are closed")
        assert record.pairs().get("trimmed", 0) == 0
        server.stdin.write("\n")


IDLE = """
listener = listen(backlog=64)
for _ in range(4):
    pairs = [(socket.create_connection(listener.getsockname()), listener.accept()[0]) for _ in range(10)]
    for client, conn in pairs:
        conn.close()
    for client, conn in pairs:
        client.recv(1)
        client.close()
print("idle", flush=True)
"""
SLEEPING = (
    IDLE
    + """
sleeper = select.epoll()
sleeper.register(0, select.EPOLLIN)
print(len(sleeper.poll()), flush=True)
"""
)


def test_no_number_for_idle_pairs(host: Host, module: Module) -> None:
    """More flows end at one time than there is room for: the rest ends as every socket does."""
    code = PRELUDE + BURST
    host.record = record = module.record(base=512)
    assert host.run([sys.executable, "-c", code], soft=500) == "done\n"
    pairs = record.pairs()
    assert pairs["no_room"] > 0 and pairs["reused"] > 0, pairs


BURST = """
# Each core has pairs of its own.
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
listener = listen(backlog=200)
for _ in range(3):
    pairs = [(socket.create_connection(listener.getsockname()), listener.accept()[0]) for _ in range(100)]
    for client, conn in pairs:
        conn.close()
    for client, conn in pairs:
        assert client.recv(1) == b""
        client.close()
print("done")
"""


def test_what_is_kept_is_not_seen(host: Host) -> None:
    """Idle pairs count neither as the application's descriptors nor against its limit."""
    said = host.pooled(
        """
numbers = lambda: [n for n in map(int, os.listdir("/proc/self/fd")) if n < 10000]
before = numbers()
conn.close()
sync("over")
out(len(before) - len(numbers()))
""",
        STEPS,
    )
    assert said == ["=(1,)"]
