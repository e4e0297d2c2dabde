"""An nginx of our own: unprivileged, on a free port, in a temporary directory.

It is the distribution's nginx with a configuration that needs nothing: whatever runs on port 80 is not
touched. It must not outlive the `with` block that started it.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

CONFIG = """\
daemon off;
worker_processes 1;
error_log {place}/error.log warn;
pid {place}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 10000000;
    default_type text/plain;
    client_body_temp_path {place}/tmp;
    proxy_temp_path {place}/tmp;
    fastcgi_temp_path {place}/tmp;
    uwsgi_temp_path {place}/tmp;
    scgi_temp_path {place}/tmp;
    server {{
        listen 127.0.0.1:{port};
        root {place}/www;
    }}
}}
"""

# Starting nginx takes some 30 ms, a module beside it some 300; a machine that is busy with builds takes
# longer.
START_SECONDS = 15.0
STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Site:
    """An nginx that answers: its port, and its master's process id."""

    port: int
    pid: int


class SiteError(Exception):
    """nginx did not come up; the message holds what it said."""


def make(place: Path, files: dict[str, bytes]) -> None:
    """Writes the pages to be served. Workers of a root nginx are another user: everything is readable by
    all.
    """
    www = place / "www"
    www.mkdir(parents=True)
    for name, content in files.items():
        (www / name).write_bytes(content)
    for path in (place, www):
        path.chmod(0o755)


@contextmanager
def serving(place: Path, before: Sequence[str], core: int | None) -> Iterator[Site]:
    """Runs nginx, with the words `before` in front of its command (`modnet run … --`).

    `core` is the one that server and modules run on, or None for any.
    """
    port = _free_port()
    config = place / "nginx.conf"
    config.write_text(CONFIG.format(place=place, port=port))
    path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin"
    nginx = shutil.which("nginx", path=path)
    if nginx is None:
        raise SiteError("nginx is not installed: apt-get install nginx-light")
    command = [*before, nginx, "-p", str(place), "-c", str(config), "-e", str(place / "error.log")]
    if core is not None:
        command = ["taskset", "--cpu-list", str(core), *command]
    with (place / "output").open("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        try:
            _wait_until_up(process, command, port, place)
            # `modnet run` becomes the command, so that this is nginx in any case.
            yield Site(port, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def awaiting_modules() -> Iterator[None]:
    """Afterwards nothing is left of what was started within: modules end by themselves, a moment after the
    last program that used them.
    """
    # Whose parent has ended becomes our child (PR_SET_CHILD_SUBREAPER), so that its end can be waited for.
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    try:
        yield
    finally:
        deadline = time.monotonic() + STOP_SECONDS
        with suppress(ChildProcessError):
            while time.monotonic() < deadline:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    time.sleep(0.01)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_up(process: subprocess.Popen[bytes], command: list[str], port: int, place: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as probe:
                # Where nobody listens yet the kernel may give it that very port, and connect it to itself.
                if probe.getsockname() != probe.getpeername():
                    return
        except ConnectionRefusedError:
            time.sleep(0.01)
    said = (place / "output").read_text().strip() or "nothing"
    how = f"did not answer within {START_SECONDS:.0f} s" if process.poll() is None else "did not start"
    raise SiteError(f"{shlex.join(command)}: {how}; it said: {said}")
