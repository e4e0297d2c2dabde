"""When stealing does not go as usual: each reason has its counter, and the application its socket."""

import os
import random
import shutil
import signal
import struct
import sys

import pytest

from tests.lib.process import until
from tests.shim.host import Host
from tests.shim.peer import Peer
from tests.shim.record import BYTES, FAIL_CLOSED, FRESH_PAIRS
from tests.shim.steps import expect, send

STRANGER = 65534
WHAT = """
SO_COOKIE = 57
def kind(conn):
    raw = ctypes.CDLL(None)
    # fstat of a hidden duplicate: only a stolen socket has one.
    try:
        os.fstat(conn.fileno() + 10000)
        return "stolen"
    except OSError:
        return "real"
"""
SERVE = (
    WHAT
    + """
listener = listen()
conn = connected(listener)
out(kind(conn), conn.getpeername()[0], conn.getsockopt(6, 1), os.get_blocking(conn.fileno()))
sync("ping")
out(conn.recv(4))
conn.sendall(b"pong")
sync("pong")
"""
)
STEPS = {"ping": send(b"ping"), "pong": expect(b"pong")}
REAL = ["=('real', '127.0.0.1', 0, True)", "=(b'ping',)"]
STOLEN = ["=('stolen', '127.0.0.1', 0, True)", "=(b'ping',)"]


def serve(host: Host, **more) -> list[str]:
    return host.probe("", STEPS, prepare=SERVE, **more)


def test_a_socket_is_stolen(host: Host) -> None:
    peer = host.peer()
    assert serve(host) == STOLEN
    assert host.record.counters() == {"stolen": 1, "connects": 1}
    [hello] = peer.hellos
    assert (hello.version, hello.flags, hello.position, hello.chain) == (2, 0, 0, ("peer",))
    assert (hello.record, hello.token) == (os.getpid(), host.record.token)


def test_no_module(host: Host) -> None:
    """Never registered, dead, gone with its directory: each time the real socket, as accept gave it."""
    (host.runtime / "modules").mkdir()
    assert serve(host) == REAL
    peer = host.peer()
    peer.stop()
    assert serve(host) == REAL
    shutil.rmtree(host.runtime / "modules" / "peer")
    assert serve(host) == REAL
    assert host.record.counters() == {"no_module": 3}


def test_no_registry(host: Host) -> None:
    body = f"""
os.rename({str(host.runtime)!r}, {str(host.runtime)!r} + "-away")
""" + SERVE.replace(
        'sync("pong")', f"os.rename({str(host.runtime)!r} + '-away', {str(host.runtime)!r})\nsync('pong')"
    )
    assert host.probe("", STEPS, prepare=body) == REAL
    assert host.record.counters() == {"no_registry": 1}


@pytest.mark.root
def test_wrong_owner(host: Host) -> None:
    """A stranger sits at the module's address (the registry's permissions would not let it)."""
    host.peer().stop()
    host.peers.clear()
    directory = host.runtime / "modules" / "peer"
    os.chown(directory, STRANGER, STRANGER)
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setuid(STRANGER)
        stranger = Peer(host.runtime)
        os.write(tell, b"x")
        stranger.join()
        os._exit(0)
    try:
        os.read(ready, 1)
        said = host.probe(
            "conn = connected(listener); out(kind(conn))", prepare=WHAT + "listener = listen()\n"
        )
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ready)
        os.close(tell)
    assert said == ["=('real',)"]
    assert host.record.counters() == {"wrong_owner": 1}


def test_full_queue(host: Host) -> None:
    """A module that is alive but takes nothing: its queue fills, then sockets pass by it."""
    host.peer().freeze()
    body = """
        kinds = []
        for _ in range(4000):
            client = socket.create_connection(listener.getsockname()); conn, _ = listener.accept()
            kinds.append(kind(conn)); client.close(); conn.close()
            if kinds[-1] == "real":
                break
        out(kinds[0], kinds[-1])
        """
    assert host.probe(body, prepare=WHAT + "listener = listen()\n") == ["=('stolen', 'real')"]
    assert host.record.count("queue_full") + host.record.count("in_flight") == 1


def test_fd_exhaustion(host: Host) -> None:
    """With one descriptor left the application gets its real socket, with none EMFILE, as natively."""
    host.peer()
    body = """
        spare = []
        try:
            while True:
                spare.append(os.open("/dev/null", os.O_RDONLY))
        except OSError as error:
            out(errno.errorcode[error.errno], len(spare) < 64)
        clients = []
        os.close(spare.pop()); os.close(spare.pop())
        client = socket.socket(); client.connect(listener.getsockname())
        fd = c("accept4", listener.fileno(), None, None, 0)
        out(fd == max(spare) + 2)
        try:
            os.fstat(fd + 10000); out("stolen")
        except OSError:
            out("real")
        other = c("accept4", listener.fileno(), None, None, os.O_NONBLOCK)
        out(other)
        """
    assert host.probe(body, prepare=WHAT + "listener = listen()\n", soft=64) == [
        "=('EMFILE', True)",
        "=(True,)",
        "=('real',)",
        "=('EMFILE',)",
    ]
    assert host.record.counters() == {"no_descriptor": 1}


def test_numbers_without_room_are_not_stolen(host: Host) -> None:
    host.peer()
    host.renew(base=200)
    # Six connections, six bells and twelve idle pairs: from 200 - 24 = 176 on no duplicate fits.
    assert host.probe(
        """
        spare = [os.open("/dev/null", os.O_RDONLY) for _ in range(175)]
        conn = connected(listener)
        try:
            os.fstat(conn.fileno() + 200); out("stolen")
        except OSError:
            out("real", conn.fileno() >= 176)
        """,
        prepare=WHAT + "listener = listen()\n",
        soft=200,
    ) == ["=('real', True)"]
    assert host.record.counters() == {"fd_range": 1}


def test_numbers_that_the_application_has_are_never_taken(host: Host) -> None:
    """Where the application's limit reaches into our numbers, what it has there stays its own."""
    host.peer()
    said = host.probe(
        """
        own = os.memfd_create("own"); os.write(own, b"mine")
        for fd in range(10000, 10020):
            os.dup2(own, fd)
        conn = connected(listener)
        out({os.readlink(f"/proc/self/fd/{fd}") for fd in range(10000,
            10020)} == {os.readlink(f"/proc/self/fd/{own}")})
        out(conn.getpeername()[0])
        """,
        prepare=WHAT + "listener = listen()\n",
        soft=15000,
    )
    assert said == ["=(True,)", "=('127.0.0.1',)"]
    assert host.record.counters() == {"fd_range": 1}


def test_a_dead_module_is_passed_over_and_found_again(host: Host) -> None:
    host.renew("near", "far")
    far = host.peer("far")
    near: list[Peer] = []
    body = """
        for step in ("", "start", "stop", "again"):
            if step: sync(step)
            conn = connected(listener); out(kind(conn)); conn.close()
        """
    steps = {
        "start": lambda s: near.append(host.peer("near")),
        "stop": lambda s: near.pop().stop(),
        "again": lambda s: near.append(host.peer("near")),
    }
    assert host.probe(body, steps, prepare=WHAT + "listener = listen()\n") == ["=('stolen',)"] * 4
    assert host.record.count("skipped") == 2
    assert [hello.position for hello in far.hellos] == [1] * len(far.hellos)
    assert host.record.count("stolen") == 4
    until(lambda: far.stolen == 2, 10, "two sockets")


def test_a_module_that_comes_back_steals_again(host: Host) -> None:
    """kill -9 of the module in mid-life: one connection passes by it at most while it is away, none fails."""
    peers = [host.peer()]
    body = """
        for step in ("", "stop", "start"):
            if step: sync(step)
            conn = connected(listener); out(kind(conn)); conn.close()
        """
    steps = {"stop": lambda s: peers[0].stop(), "start": lambda s: peers.append(host.peer())}
    assert host.probe(body, steps, prepare=WHAT + "listener = listen()\n") == [
        "=('stolen',)",
        "=('real',)",
        "=('stolen',)",
    ]
    assert host.record.count("no_module") == 1


def test_apply_takes_effect_at_the_next_accept(host: Host) -> None:
    first, second = host.peer("first"), host.peer("second")
    host.renew("first")
    body = """
        NODELAY = socket.IPPROTO_TCP, socket.TCP_NODELAY
        for step in ("", "second", "none", "both"):
            if step: sync(step)
            conn = connected(listener); out(kind(conn), conn.getsockopt(*NODELAY)); conn.close()
        """
    steps = {
        "second": lambda s: host.record.apply(("second",)),
        "none": lambda s: host.record.apply(()),
        "both": lambda s: host.record.apply(("first", "second")),
    }
    said = host.probe(body, steps, prepare=WHAT + "listener = listen()\n")
    assert [line.split("'")[1] for line in said] == ["stolen", "stolen", "real", "stolen"]
    until(lambda: (first.stolen, second.stolen) == (2, 1), 10, "three sockets")
    assert first.hellos[-1].chain == ("first", "second")


def test_a_chain_applied_to_a_running_process(host: Host) -> None:
    """Its listener is older than the chain."""
    host.peer()
    host.renew(base=10000)
    host.record.apply(())
    body = """
        conn = connected(listener); out(kind(conn)); conn.close()
        sync("apply")
        conn = connected(listener); out(kind(conn), conn.getsockopt(6, 1))
        """
    said = host.probe(
        body, {"apply": lambda s: host.record.apply(("peer",))}, prepare=WHAT + "listener = listen()\n"
    )
    assert said == ["=('real',)", "=('stolen', 0)"]


def test_queues_of_other_cores(host: Host) -> None:
    """A module told to use one core has one queue, whichever core the application runs on."""
    host.peer(cpus=[77])
    assert serve(host) == STOLEN


def test_fail_closed(host: Host) -> None:
    (host.runtime / "modules").mkdir()
    host.renew(flags=FAIL_CLOSED | FRESH_PAIRS)
    said = host.probe(
        """
        client = socket.create_connection(listener.getsockname())
        out(call(listener.accept)); out(call(client.recv, 1))
        """,
        prepare=WHAT + "listener = listen()\n",
    )
    assert said == ["=('ECONNABORTED',)", "=('ECONNRESET',)"]
    assert host.record.counters() == {"no_module": 1, "refused": 1}
    peer = host.peer()
    assert serve(host) == STOLEN
    assert peer.hellos[0].flags == 2


def test_other_listeners_are_untouched(host: Host) -> None:
    host.peer()
    body = """
        path = f"/tmp/mn-{os.getpid()}"
        unix = socket.socket(socket.AF_UNIX); unix.bind(path); unix.listen()
        client = socket.socket(socket.AF_UNIX); client.connect(path)
        conn, _ = unix.accept(); os.unlink(path)
        out(conn.family, conn.getsockname() == path, os.get_blocking(conn.fileno()))
        unix.setblocking(False); out(call(unix.accept))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); out(call(udp.accept), call(udp.listen))
        out(c("accept", 999, None, None), c("accept", 0, None, None), c("accept4", unix.fileno(), None,
            None, 12345))
        closed = socket.socket(); out(call(closed.accept))
        """
    natively = host.probe(body, stolen=False, prepare="")
    assert host.probe(body, prepare="") == natively
    assert host.record.counters() == {}


def test_client_sockets_are_untouched(host: Host) -> None:
    host.peer()
    body = """
        server = listen()
        client = socket.create_connection(server.getsockname())
        client.setsockopt(6, 1, 1); client.setsockopt(socket.SOL_SOCKET, 60, 1)
        out(client.getsockopt(6, 1), client.getsockopt(socket.SOL_SOCKET, 60), call(client.send, b"!",
            socket.MSG_OOB))
        """
    assert host.probe(body, prepare="") == host.probe(body, stolen=False, prepare="")


def test_without_a_record_nothing_happens(host: Host) -> None:
    host.peer()
    environment = {"MODNET_RECORD": ""}
    for record in ("", "/nonexistent/processes/1", "relative/processes/1", str(host.runtime / "processes")):
        environment["MODNET_RECORD"] = record
        assert serve(host, env=environment) == REAL
    assert host.record.counters() == {}


def test_any_bytes_as_a_record(host: Host) -> None:
    """Nothing that a record may hold crashes the program, prints a word, or costs it a connection."""
    (host.runtime / "modules" / "peer").mkdir(parents=True)
    good = host.record.path.read_bytes()
    rng = random.Random(20261123)
    contents = [b"", b"\0" * BYTES, b"\xff" * BYTES, good[:4096], good + b"\0", rng.randbytes(BYTES)]
    for _ in range(60):
        page = bytearray(good)
        for _ in range(rng.choice((1, 3, 30))):
            # Past the magic and the version, which are what makes it a record.
            page[rng.randrange(8, 600)] = rng.choice((0, 1, 0xFF, rng.randrange(256)))
        contents.append(bytes(page))
    server = host.runtime / "server.py"
    server.write_text(SMALL)
    for content in contents:
        host.record.path.write_bytes(content)
        # The policy may be "fail closed" now, which is no crash.
        flags = struct.unpack_from("<I", content, 20)[0] if len(content) == BYTES else 0
        said = host.run([sys.executable, "-I", str(server)])
        assert said == "ok\n" or (flags & FAIL_CLOSED and said == "ECONNABORTED\n"), said


SMALL = """
import errno, socket
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
try:
    conn, _ = listener.accept()
except OSError as error:
    print(errno.errorcode[error.errno])
else:
    conn.getpeername(); conn.sendall(b"x"); assert client.recv(1) == b"x"; conn.close()
    print("ok")
"""
