"""Takes one connection and whatever it sends: prints its port, then swallows.

sink.py ADDRESS
"""

import socket
import sys

with socket.create_server((sys.argv[1], 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    connection, _ = listener.accept()
room = bytearray(1 << 20)
while connection.recv_into(room):
    pass
