"""Kinds of programs: threads, signal handlers, other people's libraries, sanitizers, strace, node, shells."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lib.place import free_port
from tests.shim.host import SHIM, Host

Compiled = Callable[..., Path]


@pytest.mark.parametrize("stack", [65536, 1 << 20])
def test_threads_with_small_stacks(host: Host, compiled: Compiled, stack: int) -> None:
    host.peer()
    assert host.run([compiled("threads"), str(stack)]) == "done\n"
    assert host.record.count("stolen") == 800
    assert set(host.record.counters()) == {"stolen", "connects"}


def test_forks_while_threads_accept(host: Host, compiled: Compiled) -> None:
    host.peer()
    assert host.run([compiled("forks")]) == "done\n"
    assert host.record.count("stolen") > 100
    # The kernel copies descriptors before memory: a child may remember a socket that it was not given.
    assert set(host.record.counters()) <= {"stolen", "connects", "swept"}


def test_signal_handlers(host: Host, compiled: Compiled) -> None:
    host.peer()
    assert host.run([compiled("signals")]) == "done 1024\n"
    assert host.record.count("stolen") > 300
    assert set(host.record.counters()) <= {"stolen", "connects", "queue_full", "in_flight"}


def test_cancellation(host: Host, compiled: Compiled) -> None:
    host.peer()
    assert host.run([compiled("cancel")]) == "1 1 2\n"
    assert host.record.count("stolen") == 1


def test_a_library_opened_later(host: Host, compiled: Compiled) -> None:
    host.peer()
    library = compiled("plugin", "-shared", "-fPIC", suffix=".so")
    assert host.run([compiled("plugin", "-DMAIN"), library]) == "5 0\n"
    assert host.record.count("stolen") == 1


@pytest.mark.parametrize("first", [True, False])
def test_beside_another_preloaded_library(host: Host, compiled: Compiled, first: bool) -> None:
    """Whichever stands first, both see the application's calls."""
    host.peer()
    other = compiled("preload", "-shared", "-fPIC", suffix=".so")
    order = [str(other), str(SHIM)] if first else [str(SHIM), str(other)]
    said = host.run([compiled("threads"), "1000000"], env={"LD_PRELOAD": " ".join(order)})
    assert sorted(said.splitlines()) == ["accepts 0", "done"]
    said = host.run([compiled("cancel")], env={"LD_PRELOAD": " ".join(order)})
    # conn, and the one that was cancelled; where the shim stands first it calls the other's accept.
    assert sorted(said.splitlines()) == ["1 1 2", "accepts 2"]
    assert host.record.count("stolen") == 801


def test_vfork_in_c(host: Host, compiled: Compiled) -> None:
    natively = host.run([compiled("vforks")], stolen=False)
    host.peer()
    assert host.run([compiled("vforks")]) == natively == "child 0 2\nparent 0 0 2 1024\n"


def test_a_clone_in_the_same_memory(host: Host, compiled: Compiled) -> None:
    """Its close is its own: what the shim remembers in that memory is the parent's."""
    natively = host.run([compiled("clones")], stolen=False)
    host.peer()
    assert host.run([compiled("clones")]) == natively == "child 0, parent 0 2 hello\n"


def test_address_sanitizer(host: Host, compiled: Compiled) -> None:
    """ASan wants to be preloaded first; the ways that docs/transparency.md names work."""
    host.peer()
    program = compiled("threads", "-fsanitize=address", "-g")
    runtime = subprocess.run(
        ["cc", "-print-file-name=libasan.so"], check=True, capture_output=True, text=True
    ).stdout.strip()
    said = host.run([program, "1000000"], env={"LD_PRELOAD": f"{runtime} {SHIM}"})
    assert said == "done\n"
    said = host.run([program, "1000000"], env={"ASAN_OPTIONS": "verify_asan_link_order=0"})
    assert said == "done\n"
    said = host.run([compiled("threads", "-fsanitize=address", "-static-libasan"), "1000000"])
    assert said == "done\n"
    assert host.record.count("stolen") == 2400


def test_thread_sanitizer_and_undefined(host: Host, compiled: Compiled) -> None:
    host.peer()
    assert host.run([compiled("threads", "-fsanitize=undefined", "-static-libubsan"), "1000000"]) == "done\n"
    assert host.record.count("stolen") == 800


def test_traced(host: Host, compiled: Compiled) -> None:
    if not (strace := shutil.which("strace")):
        pytest.fail("strace is missing: apt-get install strace")
    host.peer()
    log = host.runtime / "strace"
    said = host.run([strace, "-f", "-qq", "-o", log, compiled("cancel")])
    assert said == "1 1 2\n"
    assert host.record.count("stolen") == 1
    assert "SCM_RIGHTS" in log.read_text()


def test_exactly_these_system_calls(host: Host, compiled: Compiled) -> None:
    """What a stolen socket costs the application, call by call; steal.rs says the same in words."""
    host.peer()
    log = host.runtime / "strace"
    host.run(["strace", "-qq", "-o", log, sys.executable, "-c", ONE_BY_ONE])
    lines = log.read_text().splitlines()
    calls = [line.split("(")[0] for line in lines]
    begin, middle, end = [at for at, line in enumerate(lines) if line.startswith("write(-1")][-3:]
    assert calls[begin + 1 : middle] == [
        "accept4",
        "prlimit64",
        "dup3",
        "prlimit64",
        "socketpair",
        "getsockopt",
        "sendmsg",
        "dup3",
        "close",
        "close",
    ]
    assert calls[middle + 1 : end] == ["close", "close"]


ONE_BY_ONE = """
import ctypes, os, socket
libc = ctypes.CDLL(None)
listener = socket.create_server(("127.0.0.1", 0))
# Always the same core, so that the connection to its queue is made once.
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
for _ in range(3):
    client = socket.create_connection(listener.getsockname())
    libc.write(-1, b"", 0)
    fd = libc.accept4(listener.fileno(), None, None, os.O_NONBLOCK)
    libc.write(-1, b"", 0)
    libc.close(fd)
    libc.write(-1, b"", 0)
"""


def test_what_the_constructor_does(host: Host) -> None:
    def calls(environment: dict[str, str]) -> list[str]:
        log = host.runtime / "strace"
        subprocess.run(
            ["strace", "-E", f"LD_PRELOAD={environment.get('LD_PRELOAD', '')}", "-qq", "-o", log, "true"],
            env=environment | {"LD_PRELOAD": ""},
            check=True,
        )
        lines = log.read_text().splitlines()
        # What the loader does for the library itself ends with the last unmapping.
        last = max(at for at, line in enumerate(lines) if line.startswith("munmap"))
        return [line.split("(")[0] for line in lines[last + 1 :]]

    environment = host.environment()
    del environment["MODNET_RECORD"]
    assert calls(environment) == calls(environment | {"LD_PRELOAD": ""})
    # With a record: what start.rs says.
    assert len(calls(host.environment())) - len(calls(environment)) < 20


NODE = """
const net = require('net'); const fs = require('fs');
// Without the connections to the queues, one for each core that it happens to run on.
const count = () => fs.readdirSync('/proc/self/fd').map(Number).filter(fd => fd < 19247).length;
let left = 2000, before;
const server = net.createServer(socket => socket.end('x'));
server.listen(0, '127.0.0.1', () => { before = count(); next(); });
function next() {
  if (left-- === 0) return settle(500);
  net.connect(server.address().port, '127.0.0.1').resume().on('close', () => setImmediate(next));
}
// The server's end of the last one closes a moment after the client's.
function settle(tries) {
  if (count() !== before && tries) return setTimeout(settle, 10, tries - 1);
  console.log(count() === before ? 'same' : `${before} ${count()}`); server.close();
}
"""


def test_node_leaves_the_same_descriptors(host: Host) -> None:
    """libuv closes by syscall(SYS_close)."""
    node(host, 2000)


@pytest.mark.soak
@pytest.mark.timeout(600)  # 100,000 connections, each way through one Python thread.
def test_node_leaves_the_same_descriptors_after_many_connections(host: Host) -> None:
    node(host, 100_000)


def node(host: Host, connections: int) -> None:
    host.peer()
    assert host.run(["node", "-e", NODE.replace("2000", str(connections))], seconds=500) == "same\n"
    assert host.record.count("stolen") == connections
    assert host.record.count("swept") == 0


def test_a_shell_and_its_children(host: Host) -> None:
    """A record in the environment of a script costs its children nothing that can be seen."""
    host.peer()
    script = "echo $(ls /proc/self/fd | wc -l) $(sh -c 'echo inner'); exec cat /proc/self/comm"
    assert host.run(["bash", "-c", script]) == host.run(["bash", "-c", script], stolen=False)


def test_nginx(host: Host) -> None:
    """Master and worker: stolen in the worker, ended in order."""
    if not (nginx := shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")):
        pytest.fail("nginx is missing: apt-get install nginx-light")
    host.peer()
    configuration = host.runtime / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    number = free_port()
    configuration.write_text(f"""
        {user} daemon off; worker_processes 1; error_log stderr crit; pid {host.runtime}/pid;
        events {{}}
        http {{ access_log off; tcp_nopush on; sendfile on;
          client_body_temp_path {host.runtime}/b; proxy_temp_path {host.runtime}/p;
          fastcgi_temp_path {host.runtime}/f; uwsgi_temp_path {host.runtime}/u;
          scgi_temp_path {host.runtime}/s;
          server {{ listen unix:{host.runtime}/unused; listen 127.0.0.1:{number} reuseport;
            root {host.runtime}; }} }}""")
    (host.runtime / "file").write_text("content")
    server = host.start([nginx, "-c", configuration])
    try:
        for _ in range(50):
            said = host.probe(FETCH.replace("PORT", str(number)), stolen=False, prepare="")
            assert said == ["=(b'content',)"]
    finally:
        server.terminate()
        assert server.wait(20) == 0
        server.stdin.close()
        server.stdout.close()
    assert host.record.counters().keys() == {"stolen", "connects"}
    assert host.record.count("stolen") == 50


FETCH = """
import http.client
for attempt in range(100):
    try:
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=20); connection.connect()
        break
    except ConnectionRefusedError:
        time.sleep(0.05)
connection.request("GET", "/file")
out(connection.getresponse().read())
"""
