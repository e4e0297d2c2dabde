"""`python -m experiments.net`: removes leftovers, or says whether this machine can measure on two hosts.

Each capability is one line: yes or no, why, and what to do. It must not change anything that it does not
undo.
"""

from __future__ import annotations

import argparse
import contextlib
import select
import shutil
import socket
import time
from pathlib import Path

from experiments import net
from experiments.common import cpu
from experiments.common.cli import guarded
from experiments.common.errors import ExperimentError

_SHAPED_MBIT = 100
_SAMPLE_BYTES = 10_000_000
_PATIENCE_S = 30


def main() -> int:
    """The command's entry."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.net", description=(net.__doc__ or "").split("\n")[0]
    )
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--clean", action="store_true", help="end and remove what killed runs have left")
    choice.add_argument(
        "--check", action="store_true", help="say whether this machine can measure, and what to do where not"
    )
    arguments = parser.parse_args()
    return guarded(_clean if arguments.clean else _check)


def _clean() -> None:
    net.require_root()
    for path in net.clean():
        print(f"removed {path}")


def _check() -> None:
    net.require_root()
    for tool, package in (("nginx", "nginx"), ("haproxy", "haproxy"), ("wrk", "wrk"), ("cc", "gcc")):
        found = shutil.which(tool)
        print(f"{tool}: {f'yes, {found}' if found else f'no: apt-get install {package}'}")
    with net.Hosts() as hosts:
        print("two hosts: yes")
        for family, address in ((socket.AF_INET, hosts.server.ipv4), (socket.AF_INET6, hosts.server.ipv6)):
            transfer(hosts, family, address, 1000)
            print(f"{address} reached from the client: yes")
        cpu.read(hosts.server.core)
        print("busy time of a core: yes")
        hosts.shape(_SHAPED_MBIT)
        rate = _SAMPLE_BYTES * 8 / transfer(hosts, socket.AF_INET, hosts.server.ipv4, _SAMPLE_BYTES) / 1e6
        print(f"shaping to {_SHAPED_MBIT} Mbit/s: {rate:.0f} Mbit/s of payload arrive")
        if not 0.8 * _SHAPED_MBIT < rate < 1.1 * _SHAPED_MBIT:
            raise ExperimentError(
                "the shaped link has the wrong rate: is this machine busy? HTB needs CONFIG_NET_SCH_HTB"
            )
    print(f"nothing left behind: {'yes' if not Path(hosts.work).exists() else 'no'}")


def transfer(hosts: net.Hosts, family: int, address: str, size: int) -> float:
    """Sends `size` bytes from the server to the client over one connection; answers the seconds that took."""
    with hosts.server.entered():
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.bind((address, 0))
        listener.listen()
    with hosts.client.entered():
        receiver = socket.socket(family, socket.SOCK_STREAM)
    with listener, receiver:
        receiver.connect(listener.getsockname())
        sender, _ = listener.accept()
        begun = time.monotonic()
        with sender:
            sender.setblocking(False)
            receiver.setblocking(False)
            pending, received = memoryview(bytes(size)), 0
            waiting = select.poll()
            waiting.register(receiver, select.POLLIN)
            waiting.register(sender, select.POLLOUT)
            while received < size:
                # For both at once: a full buffer may hold only what has arrived and is not acknowledged yet.
                if not waiting.poll(_PATIENCE_S * 1000):
                    raise ExperimentError(
                        f"{address}: {received} of {size} bytes came, then none for {_PATIENCE_S} s"
                    )
                with contextlib.suppress(BlockingIOError):
                    pending = pending[sender.send(pending[: 1 << 16]) :]
                with contextlib.suppress(BlockingIOError):
                    received += len(receiver.recv(1 << 20))
                if not pending:
                    waiting.modify(sender, 0)
        return time.monotonic() - begun
