"""A record as `modnet run` writes it (`crates/abi/src/record.rs`), for tests that start the shim alone."""

import os
import struct
from pathlib import Path

from tests.lib import counters

MAGIC = 0x52444F4D
VERSION = 2
BYTES = 8192
CHAIN_AT = 56
GENERATION_AT, FLAGS_AT, LENGTH_AT = 8, 20, 28
FAIL_CLOSED, FRESH_PAIRS, NO_INLINE = 1, 2, 4


class Record:
    """One record file; `apply` changes it under running processes."""

    def __init__(
        self,
        runtime: Path,
        chain: tuple[str, ...] = ("peer",),
        *,
        base: int = 10000,
        shown: int = 0,
        owner: int | None = None,
        flags: int = FRESH_PAIRS,
    ) -> None:
        self.runtime = runtime
        self.base = base
        self.token = os.urandom(16)
        processes = runtime / "processes"
        processes.mkdir(exist_ok=True)
        self.path = processes / str(os.getpid())
        owner = os.geteuid() if owner is None else owner
        head = struct.pack(
            "<8IQ16s", MAGIC, VERSION, 2, os.getpid(), owner, flags, base, len(chain), shown, self.token
        )
        assert len(head) == CHAIN_AT
        page = head + b"".join(name.encode().ljust(32, b"\0") for name in chain)
        self.path.write_bytes(page.ljust(BYTES, b"\0"))

    def apply(self, chain: tuple[str, ...]) -> None:
        """What `modnet apply` does: odd generation, new chain, even generation."""
        with self.path.open("r+b", buffering=0) as file:

            def word(at: int, value: int) -> None:
                file.seek(at)
                file.write(struct.pack("<I", value))

            generation = struct.unpack_from("<I", self.path.read_bytes(), GENERATION_AT)[0]
            word(GENERATION_AT, generation + 1)
            word(LENGTH_AT, len(chain))
            file.seek(CHAIN_AT)
            file.write(b"".join(name.encode().ljust(32, b"\0") for name in chain))
            word(GENERATION_AT, generation + 2)

    def counters(self) -> dict[str, int]:
        """All counters that are not zero, by name, but for those of pairs."""
        return {name: value for name, value in self._all().items() if not name.startswith("pairs_")}

    def pairs(self) -> dict[str, int]:
        """What became of the pairs: those counters that are not zero, without `pairs_`."""
        return {
            name.removeprefix("pairs_"): value
            for name, value in self._all().items()
            if name.startswith("pairs_")
        }

    def _all(self) -> dict[str, int]:
        values = struct.unpack_from("<64Q", self.path.read_bytes(), 4096)
        return {name: value for name, value in zip(counters.NAMES, values, strict=False) if value}

    def count(self, name: str) -> int:
        return self.counters().get(name, 0)
