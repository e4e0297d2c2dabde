"""A client, a chain, and an application that writes and takes back what its test says.

Must not: judge; tests do.
"""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.lib.modnet import Modnet

ROOT = Path(__file__).resolve().parents[2]
MODULES = f"{ROOT}/tests/revoke/modules.py"
NONE, LOCK, UNLOCK = 0, 1, 2
DONTWAIT = 1
WINDOW = 32 * 1024
"""What the client's socket takes that it does not read, about."""


def _lines(decode: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda data: b"".join(decode(line) for line in data.splitlines())


# What the client must do to see what the application wrote.
DECODE: dict[str, Callable[[bytes], bytes]] = {
    "Upper": bytes.lower,
    "Base64": _lines(base64.b64decode),
    "Packed": _lines(lambda line: zlib.decompress(bytes.fromhex(line.decode()))),
    "Deaf": bytes.swapcase,
}


def spec(module: str) -> str:
    """`-m`'s argument of a module of `modules.py`, or of one of ModNet's."""
    name, comma, settings = module.partition(",")
    return f"{MODULES}:{name}{comma}{settings}" if name in DECODE else module


class Scene:
    """`chain` as in `spec`, nearest to the application first."""

    def __init__(self, modnet: Modnet, chain: list[str], environment: dict[str, str] | None = None) -> None:
        self.chain = chain
        words = [word for module in chain for word in ("-m", spec(module))]
        env = (
            modnet.place.environment()
            | {"PYTHONPATH": str(ROOT), "MODNET_YANK_TIMEOUT": "30"}
            | (environment or {})
        )
        self.running = modnet.popen(
            "run",
            *words,
            "--",
            sys.executable,
            "-m",
            "tests.revoke.application",
            stdin=subprocess.PIPE,
            env=env,
        )
        line = self.running.stdout.readline()
        if not line:
            raise AssertionError(self.running.communicate()[1])
        self.client = socket.socket()
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
        self.client.settimeout(30)
        self.client.connect(("127.0.0.1", json.loads(line)))
        self._answer()
        self.received = bytearray()

    def do(self, *words: object) -> Any:
        """One command of the application's, and its answer."""
        self.ask(*words)
        return self._answer()

    def ask(self, *words: object) -> None:
        """One command; `_answer` has to be called some time."""
        self.running.stdin.write(" ".join(str(word) for word in words) + "\n")
        self.running.stdin.flush()

    def _answer(self) -> Any:
        line = self.running.stdout.readline()
        if not line:
            raise AssertionError(f"the application has ended: {self.running.communicate()[1]}")
        return json.loads(line)

    answer = _answer

    def yank(self, length: int, lock: int = NONE, flags: int = 0) -> bytes:
        """Bytes; OSError as the application got it."""
        return self._bytes(self.do("yank", length, lock, flags))

    def peek(self, length: int, lock: int = NONE) -> bytes:
        """As `yank`."""
        return self._bytes(self.do("peek", length, lock, 0))

    @staticmethod
    def _bytes(answer: Any) -> bytes:
        if isinstance(answer, dict):
            raise OSError(answer["errno"], answer["text"])
        return bytes.fromhex(answer)

    def read(self, count: int) -> None:
        """The client reads `count` bytes, or to the end."""
        while count > 0 and (data := self.client.recv(min(count, 1 << 20))):
            self.received += data
            count -= len(data)

    def decoded(self) -> bytes:
        """What the client has, as the application wrote it."""
        data = bytes(self.received)
        for module in reversed(self.chain):
            data = DECODE.get(module.partition(",")[0], bytes)(data)
        return data

    def finish(self) -> bytes:
        """The application closes; all that arrives."""
        self.do("close")
        self.read(1 << 40)
        return self.decoded()

    def stop(self) -> None:
        """Ends the application."""
        self.client.close()
        with contextlib.suppress(BrokenPipeError):
            self.running.stdin.close()
        self.running.wait(30)
        self.running.stdout.close()
        self.running.stderr.close()


@contextlib.contextmanager
def scene(modnet: Modnet, chain: list[str], environment: dict[str, str] | None = None) -> Iterator[Scene]:
    """A scene that ends."""
    playing = Scene(modnet, chain, environment)
    try:
        yield playing
    finally:
        playing.stop()
