"""The command: the variants, how each is started, the bounds. See README.md for the question."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping

from experiments.common import cli, runner
from experiments.common.errors import ExperimentError
from experiments.common.servers import Server
from experiments.fig03 import beside, plan
from experiments.net import Host

DIRECT, OPENED, PATH, STAYS = "direct", "yield-opened", "yield-path", "stays"
RULES = {
    OPENED: "[[rule]]\nmodules = ['forwarder']\n",
    PATH: "[[rule]]\npath = '/*'\nmodules = ['forwarder']\n",
    STAYS: "[[rule]]\npath = '/*'\nmodules = []\n",
}
_MODNET = (sys.executable, "-m", "modnet")


def main() -> None:
    """Measures and prints."""
    parser = cli.parser("yield", "What do filter and REPLACE cost against applying the module directly?")
    cli.add_numbers(parser, runner.Length(), {"rounds": (1, "rounds of each cell")})
    runner.run(parser, PLAN.measure, beside.show)


def _start(name: str, server: Server, web: list[str], undo: contextlib.ExitStack) -> None:
    """Starts one, with modules and a registry of its own."""
    environment = {"MODNET_RUNTIME_DIR": str(server.folder / "rt")}
    if name == plan.NATIVE:
        server.start(web)
    elif name == DIRECT:
        server.start([*_MODNET, "run", "-m", "forwarder", "--", *web], environment)
    else:
        rules = server.folder / "rules.toml"
        rules.write_text(RULES[name])
        if "forwarder" in RULES[name]:
            _module(server.host, environment, "start", "forwarder")
            undo.callback(_module, server.host, environment, "stop", "--all", "--drain", "0")
        server.start([*_MODNET, "run", "-m", f"filter,rules={rules}", "--", *web], environment)


def _module(host: Host, environment: Mapping[str, str], *words: str) -> None:
    """`modnet module …` on the server's host, to its end."""
    process = host.popen(
        [*_MODNET, "module", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **environment},
    )
    out, _ = process.communicate(timeout=30)
    if process.returncode:
        raise ExperimentError(f"modnet module {' '.join(words)}: {out.strip()}")


PLAN = beside.Plan(
    variants=(plan.NATIVE, DIRECT, OPENED, PATH, STAYS),
    cells=tuple(
        beside.cell(*words) for words in (("100B", "new"), ("10KB", "new"), ("1MB", "new"), ("1KB", "keep"))
    ),
    start=_start,
    # A flow that was yielded costs as much as one that came directly, but for its beginning.
    bounds=(
        (beside.cell("1KB", "keep"), PATH, DIRECT, "busy_us", "<= 1.05"),
        (beside.cell("1MB", "new"), PATH, DIRECT, "busy_us", "<= 1.15"),
    ),
    quick=runner.Length(2, 0.5),
)


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
