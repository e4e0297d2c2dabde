"""The client, a program of its own on the client's host: reads to the end, or asks for responses.

    python client.py ADDRESS PORT                       reads until the server closes
    python client.py ADDRESS PORT COUNT SIZE PAUSE      so many requests, each answered by SIZE bytes

It must not import anything of ours: it is started for every connection.
"""

import socket
import sys
import time


def main() -> None:
    """Runs with the arguments above."""
    with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as connection:
        if len(sys.argv) == 3:
            while connection.recv(1 << 18):
                pass
            return
        count, size, pause_s = int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
        for _ in range(count):
            connection.sendall(b"GET")
            left = size
            while left:
                piece = connection.recv(min(left, 1 << 18))
                if not piece:
                    raise SystemExit("the server closed within a response")
                left -= len(piece)
            time.sleep(pause_s)


if __name__ == "__main__":
    main()
