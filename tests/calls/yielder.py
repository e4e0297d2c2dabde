"""A module with its own loop that yields each flow when it has read a line of the network's.

yielder.py NAME OPERATION MODULE…       prints the errno of each yield, and then how many sockets it has

The line that it has read goes to the new modules where it can; a flow that it keeps it passes on, a thread
each way.
"""

import contextlib
import os
import socket
import sys
import threading
from pathlib import Path

from modnet import calls


def main() -> None:
    name, operation, *modules = sys.argv[1:]
    calls.register(name)
    print("ready", flush=True)
    events = calls.epoll()
    events.register(-calls.ALL_CPUS, calls.EPOLL_STEAL)
    while True:
        events.poll()
        try:
            pairs = calls.getsockets()
        except BlockingIOError:
            continue
        for left, right in pairs:
            choose(left, right, int(operation), modules)
            print(sockets(), flush=True)


def sockets() -> int:
    """How many this process has."""
    found = 0
    for fd in Path("/proc/self/fd").iterdir():
        # The directory's own descriptor is closed by now.
        with contextlib.suppress(FileNotFoundError):
            found += str(fd.readlink()).startswith("socket:")
    return found


def choose(left: int, right: int, operation: int, modules: list[str]) -> None:
    network = socket.socket(fileno=os.dup(right))
    network.setblocking(True)
    line = b""
    while not line.endswith(b"\n"):
        line += network.recv(1)
    network.close()
    held = {} if operation == calls.APPLY_LEFT else {"inbound": line}
    try:
        calls.yield_(left, right, modules, operation, **held)
        print(0, flush=True)
        if operation == calls.REPLACE:
            return
    except OSError as error:
        print(error.errno, flush=True)
        held = {}
    application, network = (socket.socket(fileno=fd) for fd in (left, right))
    for end in (application, network):
        end.setblocking(True)
    if not held:
        application.sendall(line)
    for source, sink in ((application, network), (network, application)):
        threading.Thread(target=forward, args=(source, sink), daemon=True).start()


def forward(source: socket.socket, sink: socket.socket) -> None:
    while data := source.recv(65536):
        sink.sendall(data)
    sink.shutdown(socket.SHUT_WR)


main()
