"""Speaks to a steal queue as a shim does (`crates/abi/src/steal.rs`), in a process of any user.

    python sender.py QUEUE RECORD TOKEN NAME...

Hands one TCP connection over and prints `through` if the module carries a byte across it, `closed` if it
closes it.
"""

import array
import os
import socket
import struct
import sys

HELLO, NEW, NO_SLOT, VERSION, MAX_CHAIN = 1, 2, 0xFFFFFFFF, 2, 16


def main() -> None:
    queue, record, token, *chain = sys.argv[1:]
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    right, _ = listener.accept()
    application, left = socket.socketpair()
    names = b"".join(name.encode().ljust(32, b"\0") for name in chain).ljust(32 * MAX_CHAIN, b"\0")
    hello = (
        struct.pack(
            "<II7I16s",
            NO_SLOT,
            HELLO,
            VERSION,
            0,
            int(record),
            os.getpid(),
            0,
            len(chain),
            len(chain),
            bytes.fromhex(token),
        )
        + names
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sender:
        sender.connect(queue)
        try:
            sender.send(hello)
            rights = array.array("i", [left.fileno(), right.fileno()])
            sender.sendmsg(
                [struct.pack("<II", NO_SLOT, NEW)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
            )
        except (BrokenPipeError, ConnectionResetError):
            pass  # closed already: that is an answer too
        left.close()
        right.close()
        application.settimeout(10)
        client.settimeout(10)
        try:
            application.send(b"x")
            print("through" if client.recv(1) == b"x" else "closed")
        except (BrokenPipeError, ConnectionResetError):
            print("closed")


main()
