"""The command: the variants, how each is started, the bounds. See README.md for the question."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from experiments.common import cli, runner
from experiments.common.machine import compile_c
from experiments.common.servers import Server
from experiments.fig03 import beside, plan

JOINED = "joined"
_CELLS = tuple(beside.cell(*words) for words in (("1KB", "keep"), ("10KB", "new"), ("100B", "new")))


def main() -> None:
    """Measures and prints."""
    parser = cli.parser("joined", "What would be gained by joining a corked header and the file after it?")
    cli.add_numbers(parser, runner.Length(), {"rounds": (1, "rounds of each cell")})
    runner.run(parser, PLAN.measure, beside.show)


def _start(name: str, server: Server, web: list[str], _undo: contextlib.ExitStack) -> None:
    environment = {"MODNET_RUNTIME_DIR": str(server.folder / "rt")}
    if name == JOINED:
        library = server.folder / "joined.so"
        compile_c(Path(__file__).with_name("joined.c"), library, "-shared", "-fPIC", "-ldl")
        # The user's own library stays before the shim.
        environment["LD_PRELOAD"] = str(library)
    modnet = [sys.executable, "-m", "modnet", "run", "-m", "forwarder", "--"]
    server.start(web if name == plan.NATIVE else [*modnet, *web], environment)


PLAN = beside.Plan(
    variants=(plan.NATIVE, plan.FORWARDER, JOINED),
    cells=_CELLS,
    start=_start,
    # What would pay for the paths that have to flush.
    bounds=tuple((cell, JOINED, plan.FORWARDER, "requests_per_s", ">= 1.03") for cell in _CELLS),
    quick=runner.Length(3, 0.5),
)


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
