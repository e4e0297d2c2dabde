"""Starting what is compared: nginx alone, behind modules, behind proxies, behind the prototype.

All stay up during the run, each on its own ports on the server's host; idle ones cost nothing. Modules
inherit the namespace and the core from `modnet run`. It must not measure.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from experiments.common import servers
from experiments.common.errors import ExperimentError
from experiments.common.machine import REPOSITORY, compile_c
from experiments.common.servers import Server
from experiments.fig03 import plan
from experiments.net import Hosts

PROTOTYPES = REPOSITORY.parent / "shared" / "prototypes"
_FIRST_PORT = 8001


@dataclass(frozen=True)
class Started:
    """A variant that accepts connections: on `port`, and on `keep_port` those that are to be kept."""

    port: int
    keep_port: int
    stands_between: bool
    """Whether some process other than nginx must have worked for a request."""


@contextlib.contextmanager
def running(
    names: tuple[str, ...], hosts: Hosts, www: Path, before: Path | None = None
) -> Iterator[dict[str, Started]]:
    """Starts the variants, native (the proxies' origin) always; ends them all. `before`: another checkout."""
    with contextlib.ExitStack() as undo:
        started: dict[str, Started] = {}
        for number, name in enumerate((plan.NATIVE, *(n for n in names if n != plan.NATIVE))):
            folder = hosts.work / name
            folder.mkdir()
            server = Server(hosts.server, folder)
            undo.callback(server.stop)
            port = _FIRST_PORT + 2 * number
            started[name] = _start(name, server, port, www, before)
        yield started


def python_of(checkout: Path) -> Path:
    """The Python that a checkout's `make build` has made, in which its own modnet is installed."""
    python = checkout.resolve() / ".venv/bin/python"
    built = [
        python,
        *checkout.glob("python/modnet/_native*.so"),
        *checkout.glob("python/modnet/lib/*shim.so"),
    ]
    if len(built) < 3 or not python.exists():
        raise ExperimentError(f"{checkout} is no checkout of ModNet that was built: run `make build` in it")
    return python


def _start(name: str, server: Server, port: int, www: Path, before: Path | None) -> Started:
    folder, keep_port = server.folder, port
    web = servers.nginx(folder, servers.files(port, www))
    if name == plan.NATIVE:
        server.start(web)
    elif name == plan.NGINX:
        keep_port = port + 1
        server.start(servers.nginx(folder, servers.proxy(port, keep_port, _FIRST_PORT)))
    elif name == plan.HAPROXY:
        server.start(servers.haproxy(folder, port, _FIRST_PORT))
    elif name == plan.PROTOTYPE:
        _prototype(server, web)
    else:
        environment = {"MODNET_RUNTIME_DIR": str(folder.parent / "rt")}
        if name == plan.FRESH:
            # Modules of its own, too: they would take a pool that is offered.
            environment = {"MODNET_RUNTIME_DIR": str(folder / "rt"), "MODNET_PAIRS": "fresh"}
        python: str | Path = sys.executable
        if name == plan.BEFORE and before:
            # In a place of its own: both builds' modules have one name.
            environment = {"MODNET_RUNTIME_DIR": str(folder / "rt")}
            python = python_of(before)
        # -P: each imports its own, not what lies where this was started.
        server.start([python, "-P", "-m", "modnet", "run", *_modules(name), "--", *web], environment)
    server.await_port(port)
    return Started(port, keep_port, stands_between=name not in {plan.NATIVE, plan.NGINX})


def _modules(name: str) -> list[str]:
    if name == plan.PYTHON:
        return ["-m", f"{Path(__file__).with_name('identity.py')}:Identity"]
    # Chains share their modules, by name: each is a process of its own.
    if name == plan.LATE:
        return ["-m", "forwarder,as=late,revocable=yes"]
    length = plan.CHAINS.get(name, 1)
    return [
        "-m",
        "forwarder",
        *(word for i in range(2, length + 1) for word in ("-m", f"forwarder,as=forwarder{i}")),
    ]


def _prototype(server: Server, web: list[str]) -> None:
    """shim.c and forward.c as they stand, as prototypes/README.md builds them."""
    forward, shim = server.folder / "forward", server.folder / "shim.so"
    compile_c(PROTOTYPES / "forward.c", forward, "-w")
    compile_c(PROTOTYPES / "shim.c", shim, "-w", "-shared", "-fPIC", "-ldl")
    process = server.start([forward])
    sockets = Path(f"/proc/{process.pid}/net/unix")
    server.await_true(lambda: "@modnet-steal" in sockets.read_text(), "forward.c does not listen")
    server.start(web, {"LD_PRELOAD": str(shim)})
