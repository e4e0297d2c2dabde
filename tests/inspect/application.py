"""A server of one connection that reads the TCP state behind its own (intermediate) socket."""

import json
import socket
import sys
import threading
from pathlib import Path

from modnet import calls

FIELDS = ("cookie", "updated_ns", "cwnd", "snd_una", "rcv_nxt")
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
connection, _ = listener.accept()
over = threading.Event()


def look() -> None:
    tcp = calls.map_state(connection.fileno())
    while not over.wait(0.02):
        state = tcp.snapshot()
        told = [getattr(state, field) for field in FIELDS] + [state.source, repr(state), repr(state.packets)]
        part = Path(sys.argv[1] + ".part")
        part.write_text(json.dumps(told))
        part.replace(sys.argv[1])


looking = threading.Thread(target=look)
looking.start()
while data := connection.recv(65536):
    connection.sendall(data.upper())
over.set()
looking.join()
connection.close()
