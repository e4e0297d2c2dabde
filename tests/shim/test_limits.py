"""RLIMIT_NOFILE as programs see it."""

import resource
import shlex

from tests.shim.host import Host

LIMITS = """
import resource
N = resource.RLIMIT_NOFILE
get = lambda: resource.getrlimit(N)
"""
PREPARE = LIMITS + "listener = listen()\nconn = connected(listener)\n"
HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def test_limits(host: Host) -> None:
    """Read, set and refused as natively, before and after a socket was stolen."""
    host.compare(
        """
        out(get(), os.sysconf("SC_OPEN_MAX"), resource.prlimit(0, N), resource.prlimit(os.getpid(), N))
        resource.setrlimit(N, (512, get()[1])); out(get())
        connected(listener); out(get())
        out(resource.prlimit(0, N, (300, 4000)), get())
        connected(listener); out(get())
        try:
            resource.setrlimit(N, (5000, 4000))
        except ValueError as error:
            out("refused", get())
        resource.setrlimit(N, (64, 64))
        spare = []
        out(call(lambda: [spare.append(os.open("/dev/null", os.O_RDONLY)) for _ in range(99)]), max(spare))
        out(get(), libc.getdtablesize())
        """,
        prepare=PREPARE,
        stolen=3,
    )


def test_a_hard_limit_that_was_raised_for_the_duplicates(host: Host) -> None:
    """The launcher raised the real one; the application sees the former."""
    base = HARD // 2
    host.renew(base=base, shown=base - 100)
    host.peer()
    said = host.probe(
        """
        out(get())
        conn = connected(listener)
        out(get(), resource.prlimit(os.getpid(), N))
        resource.setrlimit(N, (700, get()[1])); out(get())
        """,
        prepare=PREPARE,
    )
    shown = base - 100
    assert said == [f"=((1024, {shown}),)", f"=((1024, {shown}), (1024, {shown}))", f"=((700, {shown}),)"]
    assert host.record.count("stolen") == 2


def test_an_ordinary_user_cannot_raise_the_shown_limit(host: Host) -> None:
    base = HARD // 2
    host.renew(base=base, shown=base - 100)
    host.peer()
    said = host.probe(
        f"""
        if os.geteuid() == 0: os.setuid(65534)
        try:
            resource.setrlimit(N, (100, {base + 5}))
        except ValueError as error:
            out(str(error))
        out(get())
        """,
        prepare=PREPARE,
    )
    assert said == ["=('not allowed to raise maximum limit',)", f"=((1024, {base - 100}),)"]


def test_limits_in_bash(host: Host) -> None:
    script = "ulimit -n; ulimit -Hn; ulimit -Sn 100; ulimit -n; ulimit -Hn; bash -c 'ulimit -n; ulimit -Hn'"
    assert host.run(["bash", "-c", script]) == host.run(["bash", "-c", script], stolen=False)


def test_a_lowered_hard_limit_outlives_exec(host: Host) -> None:
    """Who sets one for what it becomes may ask whether it has been set, as node's own tests do."""
    base = HARD // 4
    host.renew(base=base)
    lower = "ulimit -Sn 60; ulimit -Hn 60"
    inner = f"ulimit -n; ulimit -Hn; {lower}; bash -c 'ulimit -Hn; ulimit -Sn 70 2>&1; ulimit -Sn'"
    script = f"ulimit -n 64; bash -c {shlex.quote(inner)}; ulimit -Sn 32; bash -c 'ulimit -Sn; ulimit -Hn'"
    said = host.run(["bash", "-c", script])
    assert said == host.run(["bash", "-c", script], stolen=False)
    assert said.split()[:3] == ["64", "64", "60"]


def test_a_limit_set_by_a_script_does_not_end_stealing(host: Host) -> None:
    """`ulimit -n 512; exec server` is what many start scripts do."""
    host.peer()
    program = (
        "import socket; l = socket.create_server(('127.0.0.1', 0)); "
        "socket.create_connection(l.getsockname()); l.accept()"
    )
    host.run(["bash", "-c", f'ulimit -n 512; exec python3 -c "{program}"'])
    assert host.record.count("stolen") == 1
