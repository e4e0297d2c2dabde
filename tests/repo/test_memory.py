"""The shim under valgrind, in a real server: no invalid access, no use of what was never written.

The server accepts, forks, dups and closes with the shim preloaded; a forwarder outside valgrind does the
module's part. (The engine runs under AddressSanitizer, by `make asan`: valgrind does not know pidfd_open.)
"""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lib import census
from tests.lib.place import Place
from tests.lib.process import Program, listening, until
from tests.lib.users import ordinary, root

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
FOUND = 86
CONNECTIONS = 20
SIZE = 100_000

# What `modnet run` does, but for the limits: valgrind keeps some of the highest descriptors for itself and
# refuses to have the limit raised, so that the hidden duplicates have to lie well below it.
LAUNCHER = """\
import os, resource, sys
from modnet import _native, environment
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
runtime = os.environ["MODNET_RUNTIME_DIR"]
record = _native.create_record(runtime, os.getpid(), ["forwarder"], False, 1000, 0)
given = environment.original()
os.execve(sys.argv[1], sys.argv[1:], environment.for_command(given, runtime, record, sanitised=False))
"""

SERVER = r"""
/* Answers each connection with what it sent until its end: in this process, then in a child, in turns. */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void echo(int fd) {
    char buffer[4096];
    ssize_t n;
    while ((n = read(fd, buffer, sizeof buffer)) > 0)
        for (ssize_t done = 0, m; done < n; done += m)
            if ((m = write(fd, buffer + done, n - done)) <= 0) return;
}

int main(int argc, char **argv) {
    int one = 1, count = atoi(argv[2]), listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 64)) return 1;
    for (int i = 0; i < count; i++) {
        struct sockaddr_storage peer;
        socklen_t length = sizeof peer;
        int fd = accept4(listener, (struct sockaddr *)&peer, &length, SOCK_CLOEXEC), copy;
        if (fd < 0) return 2;
        setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof one);
        length = sizeof peer;
        if (getpeername(fd, (struct sockaddr *)&peer, &length)) return 3;
        if (i % 2 == 0) {
            echo(fd);
        } else if (fork() == 0) {
            copy = dup(fd);
            close(fd);
            echo(copy);
            close(copy);
            _exit(0);
        }
        close(fd);
    }
    while (wait(NULL) > 0) ;
    return 0;
}
"""


@pytest.fixture
def place():
    here = Place(root() if os.geteuid() == 0 else ordinary())
    yield here
    here.remove()


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Path:
    source = tmp_path_factory.mktemp("echo") / "echo.c"
    source.write_text(SERVER)
    program = source.with_suffix("")
    subprocess.run(["cc", "-g", "-O1", "-o", program, source], check=True)
    return program


def valgrind(*more: str) -> list[str]:
    path = shutil.which("valgrind")
    assert path, "valgrind is not installed: apt-get install valgrind"
    return [path, "--quiet", f"--error-exitcode={FOUND}", "--exit-on-first-error=no", *more]


def exchange(port: int, content: bytes) -> bytes:
    """Sends `content` in pieces, reads while doing so, and returns all that came back."""
    with socket.create_connection(("127.0.0.1", port), 60) as client:
        answer = bytearray()
        for start in range(0, len(content), 8192):
            piece = content[start : start + 8192]
            client.sendall(piece)
            while len(answer) < start + len(piece):
                answer += client.recv(65536) or pytest.fail("the stream ended early")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
        return bytes(answer)


def exchange_all(port: int, stolen: Callable[[], int]) -> None:
    """One connection after the other; each must have gone through the module."""
    for number in range(CONNECTIONS):
        content = os.urandom(SIZE if number % 5 == 0 else 10)
        assert exchange(port, content) == content
        assert stolen() == number + 1


def test_the_shim_in_a_server(place, server):
    def modnet(*words: str) -> None:
        subprocess.run(place.modnet(*words), env=place.environment(), check=True, timeout=60)

    modnet("module", "start", "forwarder")
    try:
        launcher = [sys.executable, str(place.write("launcher.py", LAUNCHER))]
        program = Program(
            place, [*launcher, *valgrind(), str(server), str(place.port), str(CONNECTIONS)], "server"
        )
        program.wait_for(lambda: listening(place.port), 60, "a listener")
        exchange_all(place.port, lambda: census.stolen(place, program.pid))
        until(lambda: program.process.poll() is not None, 60, "the server's end")
        assert program.stop() == 0, place.logged()
    finally:
        modnet("module", "stop", "forwarder")
