"""The command: the variants, how each is started, the bounds. See README.md for the question."""

from __future__ import annotations

import contextlib
import sys

from experiments.common import cli, runner
from experiments.common.servers import Server
from experiments.fig03 import beside, plan

SOCKET = "socket"
_CELLS = tuple(
    beside.cell(*words)
    for words in (("1KB", "keep"), ("10KB", "keep"), ("100B", "new"), ("10KB", "new"), ("100KB", "keep"))
)


def main() -> None:
    """Measures and prints."""
    parser = cli.parser("inline", "What do small writes by shared memory gain?")
    cli.add_numbers(parser, runner.Length(), {"rounds": (1, "rounds of each cell")})
    runner.run(parser, PLAN.measure, beside.show)


def _start(name: str, server: Server, web: list[str], _undo: contextlib.ExitStack) -> None:
    environment = {"MODNET_RUNTIME_DIR": str(server.folder / "rt")}
    if name == SOCKET:
        environment["MODNET_INLINE"] = "off"
    modnet = [sys.executable, "-m", "modnet", "run", "-m", "forwarder", "--"]
    server.start(web if name == plan.NATIVE else [*modnet, *web], environment)


PLAN = beside.Plan(
    variants=(plan.NATIVE, SOCKET, plan.FORWARDER),
    cells=_CELLS,
    start=_start,
    bounds=(
        (_CELLS[0], plan.FORWARDER, SOCKET, "requests_per_s", ">= 1.03"),
        # Where there is nothing to gain there is nothing to lose.
        *((cell, plan.FORWARDER, SOCKET, "requests_per_s", ">= 0.98") for cell in _CELLS[1:]),
    ),
    quick=runner.Length(3, 0.5),
)


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
