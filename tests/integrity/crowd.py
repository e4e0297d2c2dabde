"""Many connections at once from one process of its own, which has the descriptors for them.

Usage: crowd.py idle|slow|active PORT COUNT PATH ROUNDS. Prints one JSON line when the crowd stands (and, for
`active`, another when its rounds are over); holds until its standard input ends.

Rules: a wrong byte or an unexpected end is an error and a non-zero exit. `slow` reads 1 KB a second per
connection. The body at PATH is all zeros.
"""

import json
import resource
import selectors
import socket
import sys
import time

BATCH = 256


def connect(port: int, receive_buffer: int = 0) -> socket.socket:
    sock = socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    # Two addresses, since one has fewer client ports than a large crowd needs.
    sock.connect((f"127.0.0.{1 + sock.fileno() % 2}", port))
    return sock


def report(**what: object) -> None:
    print(json.dumps(what), flush=True)


def read_slowly(crowd: list[socket.socket], path: str) -> None:
    """1 KB a second from each, until standard input ends."""
    for sock in crowd:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        if not sock.recv(64).startswith(b"HTTP/1.1 200"):
            sys.exit("no answer")
        sock.setblocking(False)
    report(standing=len(crowd))
    keys = selectors.DefaultSelector()
    keys.register(sys.stdin, selectors.EVENT_READ)
    total, started = 0, time.monotonic()
    while not keys.select(max(0.0, started + 1 - time.monotonic())):
        if time.monotonic() < started + 1:
            continue
        started = time.monotonic()
        for sock in crowd:
            try:
                piece = sock.recv(1024)
            except BlockingIOError:
                continue
            if not piece:
                sys.exit("the server ended a slow connection")
            total += len(piece)
    report(read=total)


def request_in_rounds(crowd: list[socket.socket], path: str, rounds: int) -> None:
    """Every connection asks, then every connection reads its answer: all of them are active at once."""
    request = f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode()
    started = time.monotonic()
    for _ in range(rounds):
        for sock in crowd:
            sock.sendall(request)
        for sock in crowd:
            received = bytearray()
            while b"\r\n\r\n" not in received:
                received += more(sock)
            head, _, body = received.partition(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            while len(body) < length:
                body += more(sock)
            if body != bytes(length) or not head.startswith(b"HTTP/1.1 200"):
                sys.exit(f"wrong answer: {bytes(head[:100])!r} and {len(body)} bytes")
    report(answers=rounds * len(crowd), seconds=time.monotonic() - started)
    sys.stdin.read()


def more(sock: socket.socket) -> bytes:
    piece = sock.recv(65536)
    if not piece:
        sys.exit("the server ended a connection")
    return piece


def main() -> None:
    kind, port, count, path, rounds = (
        sys.argv[1],
        int(sys.argv[2]),
        int(sys.argv[3]),
        sys.argv[4],
        int(sys.argv[5]),
    )
    hard = max(count + 100, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, hard))
    crowd = [connect(port, 4096 if kind == "slow" else 0) for _ in range(count)]
    for sock in crowd:
        sock.settimeout(120)
    if kind == "slow":
        read_slowly(crowd, path)
        return
    report(standing=len(crowd))
    if kind == "active":
        request_in_rounds(crowd, path, rounds)
    else:
        sys.stdin.read()


if __name__ == "__main__":
    main()
