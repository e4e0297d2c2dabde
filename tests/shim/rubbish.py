"""A module that takes the pool it is offered and writes rubbish into the shared memory while it lives.

Rules: it answers no flow; what it is sent it keeps for a while, or closes. Everything is drawn from one seed.
"""

import mmap
import os
import random
import socket
import struct
import threading
from pathlib import Path

WORDS = 128 + 4096 // 8 + 64 * 4096
BYTES = -(-WORDS // 4096) * 4096 + 256 * 16384
WORDS_AT = 128 + 4096 // 8
ACCEPTED = struct.pack("<I", 4)
# The bits that mean something, alone and together, and what means nothing.
RUBBISH = (0, 1, 2, 4, 8, 16, 20, 9, 12, 31, 33, 0xFFFFFFFF, 0x80000000)


class Rubbish:
    """Registered as `name` below `runtime`."""

    def __init__(self, runtime: Path, name: str, seed: int) -> None:
        self.draw = random.Random(seed)
        self.written = 0
        self.flows = 0
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        directory = runtime / "modules" / name
        directory.mkdir(parents=True)
        self._listeners = []
        for cpu in range(os.cpu_count() or 1):
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            listener.bind(str(directory / f"steal.{cpu}"))
            (directory / f"steal.{cpu}").chmod(0o666)
            listener.listen(16)
            listener.settimeout(0.2)
            self._listeners.append(listener)
            self._start(self._serve, listener)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for listener in self._listeners:
            listener.close()

    def _start(self, target, *arguments) -> None:
        self._threads.append(threading.Thread(target=target, args=arguments))
        self._threads[-1].start()

    def _serve(self, listener: socket.socket) -> None:
        while not self._stop.is_set():
            try:
                client, _ = listener.accept()
            except TimeoutError:
                continue
            with client:
                self._client(client)

    def _client(self, client: socket.socket) -> None:
        client.settimeout(0.2)
        kept: list[int] = []
        while not self._stop.is_set():
            try:
                data, fds, _flags, _address = socket.recv_fds(client, 4096, 16)
            except TimeoutError:
                continue
            if not data:
                break
            if len(data) > 8 and fds:
                memory = mmap.mmap(fds[0], BYTES)
                memory[:4] = ACCEPTED
                self._start(self._scribble, memory)
            self.flows += len(data) == 8
            kept += fds
            while len(kept) > 64 or (kept and self.draw.random() < 0.3):
                os.close(kept.pop(self.draw.randrange(len(kept))))
        for fd in kept:
            os.close(fd)

    def _scribble(self, memory: mmap.mmap) -> None:
        while not self._stop.is_set():
            # Mostly the slots that are in use: the first ones.
            slot = self.draw.randrange(64 if self.draw.random() < 0.9 else 4096)
            word = WORDS_AT + 64 * slot
            at = self.draw.choice((*range(word, word + 32, 4), 64, 128 + slot // 8 // 8 * 8))
            memory[at : at + 4] = struct.pack("<I", self.draw.choice(RUBBISH))
            self.written += 1
        memory.close()
