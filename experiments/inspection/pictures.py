"""Pictures of `modnet top` and `modnet watch` for docs/, taken of real terminals with real flows.

    python -m experiments.inspection.pictures [DIRECTORY]        docs by default; needs root and tmux

Two hosts, a link whose rate changes every few seconds, a server behind a chain of two modules, five clients
that read at different speeds. The server takes bytes back from one of them. It must not measure anything.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from experiments import net
from experiments.common import cli
from experiments.common.errors import ExperimentError
from experiments.common.machine import REPOSITORY
from experiments.common.servers import Server
from experiments.common.shaping import Shape
from experiments.common.terminal import Terminal, png
from experiments.common.traces import Replay, Step
from experiments.inspection import reader

_PORT = 8001
_COLUMNS, _LINES = 140, 32
_RATES = (20.0, 5.0, 12.0)
_CHAIN = ("-m", "forwarder,revocable=yes", "-m", str(REPOSITORY / "examples/bandwidth_log.py"))
# Sends as much as each client takes. The first connection asks whether it listens; from the second it takes
# the last bytes back again and again.
_SERVER = f"""
import itertools, socket, threading, time
from modnet import calls
listener = socket.create_server(("", {_PORT}))
def yank(connection):
    while True:
        time.sleep(0.5)
        calls.yank(connection.fileno(), 20_000)
def serve(connection):
    try:
        while True: connection.sendall(bytes(20_000))
    except OSError: connection.close()
for number in itertools.count():
    connection = listener.accept()[0]
    threading.Thread(target=serve, args=[connection], daemon=True).start()
    if number == 1: threading.Thread(target=yank, args=[connection], daemon=True).start()
"""
# Reads at most so many bytes a second; 0: all.
_CLIENT = """
import socket, sys, time
rate = int(sys.argv[3])
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])))
while connection.recv(rate // 10 or 1 << 16):
    if rate: time.sleep(0.1)
"""
_READERS = (0, 0, 200_000, 50_000, 10_000)


def main() -> None:
    """Takes both pictures."""
    parser = cli.parser("inspection.pictures", "What do modnet top and modnet watch look like?")
    parser.add_argument("directory", nargs="?", type=Path, default=REPOSITORY / "docs")
    directory: Path = parser.parse_args().directory
    with reader.enabled("bpf"), net.Hosts(router=True) as hosts:
        hosts.shape(Shape(_RATES[0], buffer_packets=100))
        server = Server(hosts.server, hosts.work)
        environment = {"MODNET_RUNTIME_DIR": str(hosts.work / "rt")}
        command = [sys.executable, "-P", "-m", "modnet", "run", *_CHAIN, "--"]
        server.start([*command, sys.executable, "-c", _SERVER], environment)
        server.await_port(_PORT)
        try:
            for rate in _READERS:
                argv = [sys.executable, "-c", _CLIENT, hosts.server.ipv4, str(_PORT), str(rate)]
                hosts.client.popen(argv, stderr=subprocess.DEVNULL)
            with Replay(hosts.set_rate, [Step(3.0, rate) for rate in _RATES] * 20):
                for words, seconds in ((["top"], 6.0), (["watch", str(_PORT), "--interval", "0.1"], 25.0)):
                    print(_picture(words, seconds, hosts.work, environment, directory))
        finally:
            server.stop()


def _picture(
    words: list[str], seconds: float, folder: Path, environment: dict[str, str], directory: Path
) -> Path:
    argv = [sys.executable, "-P", "-m", "modnet", *words]
    with Terminal(folder, argv, {**os.environ, **environment}, _COLUMNS, _LINES) as terminal:
        _await(lambda: "/s" in terminal.screen(), f"modnet {words[0]} shows nothing")
        # Rates and curves take their time; nothing is waited for but that.
        time.sleep(seconds)
        return png(terminal.screen(styled=True), directory / f"{words[0]}.png", _COLUMNS)


def _await(condition: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            raise ExperimentError(otherwise)
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
