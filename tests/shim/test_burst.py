"""Begins of one accept burst: they wait for each other, go before anybody could miss them, and where they
cannot go the flows go on without their module.

Rules: the server is a single-threaded program with an epoll set, its clients are its own; whether something
waits it reads from its record; what has come it sees by a call that no hook knows: looking changes
nothing.
"""

import os
import sys
from collections.abc import Iterator
from shutil import rmtree

import pytest

from tests.lib import counters
from tests.shim.host import PRELUDE, Host
from tests.shim.pooled import Module
from tests.shim.record import FAIL_CLOSED

# Events of the listener and of a pipe that stays readable: several at one time are a burst.
SERVER = f"""
os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
listener = listen(backlog=64)
for _ in range(3):
    pairs = [(socket.create_connection(listener.getsockname()), listener.accept()[0]) for _ in range(16)]
    for client, conn in pairs:
        conn.close()
    for client, conn in pairs:
        client.recv(1)
        client.close()
listener.setblocking(False)
readable, full = os.pipe()
os.write(full, b"x")
sleeper = select.epoll()
sleeper.register(listener.fileno(), select.EPOLLIN)
sleeper.register(readable, select.EPOLLIN)
def counter(index):
    with open(os.environ["MODNET_RECORD"], "rb") as file:
        return struct.unpack_from("<64Q", file.read(), 4096)[index]
joined = lambda: counter({counters.NAMES.index("begins_joined")})
returned = lambda: counter({counters.NAMES.index("returned")})
look = lambda: len(sleeper.poll())
def burst(count, flags=socket.SOCK_NONBLOCK):
    clients = [socket.create_connection(listener.getsockname()) for _ in range(count)]
    assert look() >= 1
    fds = [libc.accept4(listener.fileno(), None, None, flags) for _ in range(count)]
    assert min(fds) > 2, fds
    for fd in fds:
        sleeper.register(fd, select.EPOLLIN | select.EPOLLET)
    for number, client in enumerate(clients):
        client.sendall(b"%d" % number)
    return clients, fds
def idle():
    # Nothing is left that the set would tell.
    sleeper.unregister(readable)
    return sleeper.poll(0)
def has_come(fd):
    polled = struct.pack("ihh", fd, select.POLLIN, 0)
    at = ctypes.create_string_buffer(polled)
    forever = ctypes.create_string_buffer(struct.pack("qq", 20, 0))
    assert libc.syscall(271, at, 1, forever, 0, 0) == 1, f"nothing came at {{fd}}"
"""


def run(host: Host, body: str, **settings: int) -> None:
    host.record = host.module.record(**settings)
    print(host.run([sys.executable, "-c", PRELUDE + SERVER + body]), host.record.counters())


@pytest.mark.parametrize(
    "action",
    [
        "libc.recv(fds[0], ctypes.create_string_buffer(1), 1, socket.MSG_DONTWAIT | socket.MSG_PEEK)",
        "libc.read(fds[1], None, 0)",
        "os.write(fds[2], b'x')",
        "os.sendfile(fds[2], os.open('/etc/passwd', os.O_RDONLY), 0, 1)",
        "libc.syscall(1, fds[2], b'x', 1)",
        "idle()",
        "for _ in range(8): sleeper.poll()",
        "select.poll().poll(0)",
        "select.select([], [], [], 0)",
        "libc.ppoll(None, 0, struct.pack('qq', 0, 0), None)",
        "libc.pselect(0, None, None, None, struct.pack('qq', 0, 0), None)",
        "time.sleep(0.001)",
        "libc.usleep(1)",
        "libc.sleep(0)",
        "libc.nanosleep(struct.pack('qq', 0, 1), None)",
        "os.close(fds.pop())",
        "os.dup(fds[0])",
        "libc.shutdown(fds.pop(), socket.SHUT_WR)",
        "subprocess.run(['true'])",
        "child = os.fork()\nif not child: os._exit(0)\nos.waitpid(child, 0)",
        "fcntl.fcntl(fds[0], fcntl.F_SETFL, 0)",
        "os.set_blocking(fds[0], True)",
        "socket.create_connection(listener.getsockname()); listener.setblocking(True); listener.accept()",
        "a, b = socket.socketpair(); socket.send_fds(a, [b'x'], fds)",
        "b = select.epoll(); b.register(fds[0], 1)",
    ],
)
def test_what_lets_them_go(host: Host, action: str) -> None:
    """All three go with one message, and every one is heard."""
    # A pid with which fork's child could not be told from this process would be a mistake of its own.
    run(
        host,
        f"""
clients, fds = burst(3)
before = joined()
{action}
assert joined() == before + 3, (joined(), before)
for fd in fds:
    has_come(fd)
for number, fd in enumerate(fds):
    assert libc.send(fd, b"y", 1, 0) == 1
    assert clients[number].recv(1) in (b"y", b"x", b"r")
""",
    )


def test_eight_are_enough(host: Host) -> None:
    """The ninth waits for others again."""
    run(
        host,
        """
before = joined()
clients, fds = burst(9)
assert joined() == before + 8
for fd in fds[:8]:
    has_come(fd)
select.select([], [], [], 0)
assert joined() == before + 8, "one alone is joined with nobody"
has_come(fds[8])
""",
    )


@pytest.mark.parametrize(
    ("why", "change"),
    [
        ("one event alone", "sleeper.unregister(readable)"),
        ("a chain that fails closed", ""),
        ("accepted to block", "burst = lambda count, real=burst: real(count, 0)"),
        (
            "another thread",
            "import threading; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
        ),
        ("no epoll_wait", "look = lambda: len(select.select([listener], [], [], 9)[0])"),
    ],
)
def test_who_never_waits(host: Host, why: str, change: str) -> None:
    """Each begin goes by itself."""
    settings = {"flags": FAIL_CLOSED} if why == "a chain that fails closed" else {}
    run(
        host,
        f"""
{change}
before = joined()
clients, fds = burst(3)
for fd in fds:
    has_come(fd)
assert joined() == before
os._exit(0)
""",
        **settings,
    )


def test_exec_takes_them_along(host: Host) -> None:
    """The next program has them by number, with what has come."""
    run(
        host,
        """
clients, fds = burst(3)
for one in clients:
    os.set_inheritable(one.fileno(), True)
code = "import os, sys; [os.set_blocking(int(fd), True) for fd in sys.argv[1:]];" \\
    "assert [os.read(int(fd), 9) for fd in sys.argv[1:]] == [b'0', b'1', b'2']"
os.execv(sys.executable, [sys.executable, "-c", code, *map(str, fds)])
""",
    )


@pytest.mark.parametrize("name", ["execl", "execlp", "execle", "execvp", "execve", "execvpe"])
def test_every_exec_is_itself(host: Host, name: str) -> None:
    """With its arguments as they came."""
    words = "b'/bin/echo', b'echo', b'a', b'b', b'c', b'd', b'e', b'f', None"
    call = {
        "execl": f"libc.execl({words})",
        "execlp": f"libc.execlp({words})",
        "execle": f"libc.execle({words}, ctypes.c_void_p())",
        "execvp": "os.execvp('echo', 'echo a b c d e f'.split())",
        "execve": "os.execve('/bin/echo', 'echo a b c d e f'.split(), {})",
        "execvpe": "os.execvpe('echo', 'echo a b c d e f'.split(), os.environ)",
    }[name]
    host.record = host.module.record()
    assert host.run([sys.executable, "-c", PRELUDE + call]) == "a b c d e f\n"


def test_fork_by_a_way_without_a_hook(host: Host) -> None:
    """The child has nothing that waits, the parent's go once."""
    run(
        host,
        """
clients, fds = burst(3)
child = ctypes.CDLL(None).syscall(56, 17, 0, 0, 0, 0)
if not child:
    select.select([], [], [], 0)
    os._exit(0)
os.waitpid(child, 0)
before = joined()
select.select([], [], [], 0)
for fd in fds:
    has_come(fd)
""",
    )


def unless_gone(_call: object, _path: str, found: tuple[type, BaseException, object]) -> None:
    """What a killed module has left, its janitor removes at the same time; every other error is one."""
    if not isinstance(found[1], FileNotFoundError):
        raise found[1]


@pytest.fixture
def dying() -> Iterator[Module]:
    """A module for this test alone."""
    module = Module()
    try:
        yield module
    finally:
        for name in module.names():
            module.modnet("stop", name)
        rmtree(module.runtime, onerror=unless_gone)


LOST = """
clients, fds = burst(3)
before = joined()
sync("stop")
LOOK
assert joined() == before and returned() == RETURNED, returned()
for fd in fds:
    has_come(fd)
told = dict(sleeper.poll())
assert set(fds) <= set(told), told
for number, fd in enumerate(fds):
    assert told[fd] == select.EPOLLIN
    assert os.read(fd, 9) == b"%d" % number
    assert call(os.read, fd, 9) == "EAGAIN"
    os.write(fd, b"y")
    os.close(fd)
    assert clients[number].recv(9) == b"y"
    assert clients[number].recv(9) == b""
out("done")
"""
LOOKS = ["select.select([], [], [], 0)", "sleeper.poll()", "libc.recv(fds[0], None, 0, 0)"]


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("second", [False, True])
def test_a_module_that_goes_meanwhile(host: Host, dying: Module, look: str, second: bool) -> None:
    """The application notices nothing: it has its sockets, by the next module or without."""
    chain = ("peer", "other") if second else ("peer",)
    host.record = dying.record(chain=chain)
    if second:
        dying.modnet("start", "forwarder,as=other")
    body = LOST.replace("LOOK", look).replace("RETURNED", "0" if second else "3")
    said = host.drive(
        [sys.executable, "-c", PRELUDE + SERVER + body], {"stop": lambda _: dying.modnet("stop", "peer")}
    )
    assert said == ["=('done',)"]


def test_an_end_of_another_that_has_the_same_data(host: Host, dying: Module) -> None:
    """It is shown, once."""
    host.record = dying.record()
    body = LOST.replace(
        'sync("stop")\n',
        """
one, other = socket.socketpair()
event = struct.pack("<IQ", select.EPOLLIN | select.EPOLLET, fds[0])
assert libc.epoll_ctl(sleeper.fileno(), 1, one.fileno(), event) == 0
other.close()
sync("stop")
told = sleeper.poll()
assert [fd for fd, _ in told if fd != readable] == [fds[0]], told
""",
    )
    said = host.drive(
        [sys.executable, "-c", PRELUDE + SERVER + body.replace("LOOK", "").replace("RETURNED", "3")],
        {"stop": lambda _: dying.modnet("stop", "peer")},
    )
    assert said == ["=('done',)"]


# Died, but for its ends of the queues' connections: so a process that is dying stands for a while, since it
# closes one descriptor after the other.
DYING = """
clients, fds = burst(3)
before = joined()
sync("die")
LOOK
"""


@pytest.fixture
def queues(dying: Module) -> Iterator[list[int]]:
    """Descriptors that the test holds of a module that it kills."""
    held: list[int] = []
    try:
        yield held
    finally:
        for fd in held:
            os.close(fd)


def test_a_module_that_is_dying_while_its_queue_takes_messages_still(
    host: Host, dying: Module, queues: list[int]
) -> None:
    """Who has seen its end sends it nothing: what is sent then is lost, and the event has been seen."""
    host.record = dying.record()
    body = DYING.replace("LOOK", "") + LOST[LOST.index("LOOK") :].replace("LOOK", LOOKS[1]).replace(
        "RETURNED", "3"
    )
    said = host.drive(
        [sys.executable, "-c", PRELUDE + SERVER + body], {"die": lambda _: queues.extend(dying.die())}
    )
    assert said == ["=('done',)"]


def test_begins_that_a_dying_module_has_taken(host: Host, dying: Module, queues: list[int]) -> None:
    """They are lost with it, and the application is told, though the end came while they waited."""
    host.record = dying.record()
    body = (
        DYING.replace("LOOK", LOOKS[0])
        + """
assert joined() == before + 3 and returned() == 0, returned()
told = dict(sleeper.poll())
for fd, client in zip(fds, clients):
    assert told[fd] & select.EPOLLHUP, told
    assert call(os.read, fd, 9) in (b"", "ECONNRESET")
    os.close(fd)
sync("rest")
for client in clients:
    assert call(client.recv, 9) in (b"", "ECONNRESET")
out("done")
"""
    )

    def rest(_: object) -> None:
        while queues:
            os.close(queues.pop())

    steps = {"die": lambda _: queues.extend(dying.die()), "rest": rest}
    said = host.drive([sys.executable, "-c", PRELUDE + SERVER + body], steps)
    assert said == ["=('done',)"]
