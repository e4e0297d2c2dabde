"""Starting servers on the server's host and ending them: nginx, and whatever stands in front of it.

Rules: every server has a folder of its own under the run's work folder, with its configuration and logs; a
server that does not come up gives its own last words as the error. It must not know what is being compared.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from experiments.common import processes
from experiments.common.errors import ExperimentError
from experiments.net import Host, Hosts

_UP_S = 30.0
_FIRST_PORT = 8001


@dataclass
class Server:
    """Running processes, ended in the reverse order of their start."""

    host: Host
    folder: Path
    started: list[tuple[subprocess.Popen[str], Path]] = field(default_factory=list)

    def start(
        self, argv: Sequence[str | Path], environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Starts one process; what it prints goes to a file in the server's folder."""
        log = self.folder / f"output.{len(self.started)}"
        with log.open("w") as out:
            process = self.host.popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **(environment or {})},
            )
        self.started.append((process, log))
        return process

    def await_port(self, port: int) -> None:
        """Waits until something accepts connections on `port`, or raises with what the processes said."""

        def accepts() -> bool:
            with self.host.entered():
                probe = socket.socket()
            with probe:
                # Where nobody listens yet the kernel may give it that very port, and connect it to itself.
                reached = probe.connect_ex((self.host.ipv4, port)) == 0
                return reached and probe.getsockname() != probe.getpeername()

        self.await_true(accepts, f"nothing listens on port {port}")

    def await_true(self, condition: Callable[[], bool], otherwise: str) -> None:
        """Waits until `condition` holds; raises where a process ended or half a minute passed."""
        deadline = time.monotonic() + _UP_S
        while not condition():
            ended = [p for p, _ in self.started if p.poll() is not None]
            if ended or time.monotonic() > deadline:
                raise ExperimentError(f"{self.folder.name}: {otherwise}: {self.last_words()}")
            time.sleep(0.01)

    def last_words(self) -> str:
        """The last line of each log, in one line."""
        logs = [*(log for _, log in self.started), self.folder / "error.log"]
        texts = [log.read_text(errors="replace").strip() for log in logs if log.exists()]
        return " | ".join(text.splitlines()[-1] for text in texts if text) or "it printed nothing"

    def stop(self) -> None:
        """Ends all; a process that does not follow is killed."""
        for process, _ in reversed(self.started):
            processes.end([process.pid], grace_s=5.0) if process.poll() is None else None
            process.wait()


def nginx(folder: Path, http: str) -> list[str]:
    """Writes a configuration with `http` as its servers; answers the command that runs it in the foreground.

    One worker, as in prototypes/nginx.conf; all its files in `folder`. Started by root its worker is
    www-data, as installed.
    """
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;\n"
        "worker_rlimit_nofile 16384;\n"
        "events { worker_connections 8192; }\n"
        "http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 10000000;\n"
        f"{temporary}\n{http}\n}}\n"
    )
    return [
        "nginx",
        "-p",
        str(folder),
        "-c",
        str(folder / "nginx.conf"),
        "-e",
        str(folder / "error.log"),
        "-g",
        "daemon off;",
    ]


@contextlib.contextmanager
def each(
    hosts: Hosts,
    names: Sequence[str],
    start: Callable[[str, Server, list[str], contextlib.ExitStack], None],
    more: str = "",
) -> Iterator[dict[str, int]]:
    """nginx for each name, in a folder and on a port of its own, serving `www` of the work folder; the ports.

    `start` is given the name, the server, the command of its nginx, and a stack for what it has to undo;
    `more` is for nginx's configuration.
    """
    with contextlib.ExitStack() as undo:
        ports = {}
        for port, name in enumerate(names, _FIRST_PORT):
            folder = hosts.work / name
            folder.mkdir()
            server = Server(hosts.server, folder)
            undo.callback(server.stop)
            start(name, server, nginx(folder, more + files(port, hosts.work / "www")), undo)
            server.await_port(port)
            ports[name] = port
        yield ports


def files(port: int, root: Path) -> str:
    """An nginx server of the files in `root`."""
    return f"server {{ listen {port} backlog=4096; root {root}; }}"


def proxy(port: int, keep_alive_port: int, origin: int) -> str:
    """nginx as a loopback proxy: on `port` a new connection to the origin each, on `keep_alive_port` kept
    ones.

    As an operator would set it for this use: responses stay in memory instead of a temporary file.
    """
    return (
        f"upstream kept {{ server 127.0.0.1:{origin}; keepalive 256; keepalive_requests 10000000; }}\n"
        "proxy_max_temp_file_size 0; proxy_buffers 16 16k;\n"
        f"server {{ listen {port} backlog=4096; location / {{ proxy_pass http://127.0.0.1:{origin}; }} }}\n"
        f"server {{ listen {keep_alive_port} backlog=4096; location / {{ proxy_pass http://kept;\n"
        '  proxy_http_version 1.1; proxy_set_header Connection ""; } }'
    )


def haproxy(folder: Path, port: int, origin: int) -> list[str]:
    """Writes a configuration in TCP mode with HAProxy's own defaults; answers the command."""
    (folder / "haproxy.cfg").write_text(
        "global\n  maxconn 8192\n  nbthread 1\n"
        "defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 60s\n  timeout server 60s\n"
        f"listen front\n  bind *:{port} backlog 4096\n  server origin 127.0.0.1:{origin}\n"
    )
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]


def drain(stream: IO[str]) -> str:
    """What is in a stream, for an error's text."""
    with contextlib.suppress(OSError):
        return stream.read()
    return ""
