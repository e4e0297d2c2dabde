"""A server that does what its input says with its one connection, and prints each answer as JSON.

Bytes are numbers of a pattern: byte n of the stream is told by its place (`tests.revoke.stream`). Commands:
`fill MOST` (write until nothing fits, or so many), `write N` (waiting), `text WORDS`,
`yank|peek LENGTH LOCK FLAGS`, `poll SECONDS` (for EPOLL_YANK), `close`.
"""

import contextlib
import json
import select
import socket
import sys

from modnet import calls

from tests.revoke.stream import pattern


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    print(json.dumps(listener.getsockname()[1]), flush=True)
    connection, _ = listener.accept()
    print(json.dumps("accepted"), flush=True)
    written = 0
    events = None
    for line in sys.stdin:
        word, *rest = line.split()
        answer: object = None
        try:
            match word:
                case "fill":
                    connection.setblocking(False)
                    end = written + int(rest[0])
                    # Full is what has no room for a while: what was written is moving on meanwhile.
                    while written < end and select.select([], [connection], [], 0.3)[1]:
                        with contextlib.suppress(BlockingIOError):
                            written += connection.send(pattern(written, min(65536, end - written)))
                    answer = written
                case "write":
                    connection.setblocking(True)
                    connection.sendall(pattern(written, int(rest[0])))
                    written += int(rest[0])
                    answer = written
                case "text":
                    connection.setblocking(True)
                    connection.sendall(" ".join(rest).encode())
                case "yank" | "peek":
                    operation = calls.YANK if word == "yank" else calls.PEEK
                    length, lock, flags = (int(number) for number in rest)
                    got = calls.yank(connection.fileno(), length, operation, lock, flags)
                    if word == "yank":
                        written -= len(got)
                    answer = got.hex()
                case "poll":
                    if events is None:
                        events = calls.epoll()
                        events.register(connection.fileno(), calls.EPOLL_YANK)
                    answer = [event for _, event in events.poll(float(rest[0]))]
                case "close":
                    connection.close()
        except OSError as error:
            answer = {"errno": error.errno, "text": str(error)}
        print(json.dumps(answer), flush=True)


main()
