"""A module that does what its input says, one call a line, and prints the answer as JSON.

commanded.py NAME       take MAX MASK | poll MASK | apply PID NAME…
"""

import json
import os
import sys

from modnet import calls


def main() -> None:
    calls.register(sys.argv[1])
    print(json.dumps("ready"), flush=True)
    sets: dict[int, calls.epoll] = {}
    for line in sys.stdin:
        word, *rest = line.split()
        try:
            match word:
                case "take":
                    pairs = calls.getsockets(int(rest[1]), int(rest[0]))
                    answer: object = len(pairs)
                    for fd in (fd for pair in pairs for fd in pair):
                        os.fstat(fd)
                        os.close(fd)
                case "poll":
                    mask = int(rest[0])
                    if mask not in sets:
                        sets[mask] = calls.epoll()
                        sets[mask].register(-mask, calls.EPOLL_STEAL)
                    answer = sets[mask].poll(0)
                case _:
                    answer = calls.apply(int(rest[0]), rest[1:])
        except OSError as error:
            answer = {"errno": error.errno}
        print(json.dumps(answer), flush=True)


main()
