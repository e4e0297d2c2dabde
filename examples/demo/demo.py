"""Shows ModNet on an nginx that nobody changed: `make demo`, or `python examples/demo/demo.py`.

nginx serves a page natively, through the native forwarder, and through the eleven lines of Python in
shout.py; a table compares them. Server and modules share one core and the client has another, so that what
a module costs is not hidden on an idle core. It ends by itself and leaves nothing behind; a body that is
not what it must be is exit status 1.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from load import Load, Result, drive, fetch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from website import Site, SiteError, awaiting_modules, make, serving

SHOUT = Path(__file__).resolve().parents[1] / "shout.py"
# Modules are compared in interleaved rounds, by medians: single rounds vary by a tenth.
ROUNDS = 3
SECONDS = 1

TEXT = b"The quick brown fox jumps over the lazy dog. "
FILES = {
    "100": (TEXT * 3)[:100],
    "1k": (TEXT * 23)[:1024],
    "100k": (TEXT * 2276)[:102400],
}
LOADS = [
    Load("100 B, new", "100", keep=False),
    Load("1 KB, kept", "1k", keep=True),
]


@dataclass
class Variant:
    """One way to serve: the words before nginx's command, and what must come out."""

    title: str
    modules: list[str]
    expected: Callable[[bytes], bytes]
    bodies: str
    rounds: dict[str, list[Result]] = field(default_factory=dict)

    def before(self) -> list[str]:
        """The words in front of the command."""
        if not self.modules:
            return []
        words = [sys.executable, "-m", "modnet", "run"]
        for module in self.modules:
            words += ["-m", module]
        return [*words, "--"]

    def rate(self, load: Load) -> float:
        """Requests per second, the median of the rounds."""
        return statistics.median(result.rate for result in self.rounds[load.title])


VARIANTS = [
    Variant("nginx alone", [], bytes, "as they are"),
    Variant("+ forwarder", ["forwarder"], bytes, "as they are"),
    Variant("+ shout.py", [f"{SHOUT}:Shout"], bytes.upper, "in capitals"),
]


def main() -> int:
    """Measures, prints the table, and says whether every body was what it must be."""
    if shutil.which("wrk") is None:
        return _wrong("wrk is not installed: apt-get install wrk")
    server_core, client_core = _cores()
    # A plain `kill` unwinds like Ctrl-C does, so that nothing stays.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    console = Console()
    wrong: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="modnet-demo-") as name,
        awaiting_modules(),
        ExitStack() as sites,
    ):
        place = Path(name)
        place.chmod(0o755)
        # A runtime directory of our own: modules that are registered on this machine already are not touched.
        os.environ["MODNET_RUNTIME_DIR"] = str(place / "run")
        try:
            running: dict[str, Site] = {}
            for variant in VARIANTS:
                home = place / str(len(running))
                make(home, FILES)
                site = sites.enter_context(serving(home, variant.before(), server_core))
                running[variant.title] = site
                wrong += _check(variant, site.port)
            total = ROUNDS * len(VARIANTS) * len(LOADS) * SECONDS
            with console.status(f"measuring for {total} s"):
                for _ in range(ROUNDS):
                    for load in LOADS:
                        for variant in VARIANTS:
                            result = drive(load, running[variant.title].port, SECONDS, place, client_core)
                            variant.rounds.setdefault(load.title, []).append(result)
            wrong += _failed() + _went_past(running)
        except SiteError as error:
            return _wrong(str(error))
    _show(console, wrong)
    return 1 if wrong else 0


def _cores() -> tuple[int | None, int | None]:
    """The server's core and the client's: two of those we may use, or none pinned where there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], allowed[1]) if len(allowed) > 1 and shutil.which("taskset") else (None, None)


def _check(variant: Variant, port: int) -> list[str]:
    """Names the pages whose body is not what the variant must make of it."""
    return [
        f"{variant.title}: the body of /{page} is wrong"
        for page, content in FILES.items()
        if fetch(page, port) != variant.expected(content)
    ]


def _show(console: Console, wrong: list[str]) -> None:
    table = Table(
        title="nginx, unmodified; one core for it and its module", title_justify="left", box=SIMPLE_HEAD
    )
    table.add_column("connections")
    table.add_column("served by")
    for title in ("requests/s", "of native", "received"):
        table.add_column(title, justify="right")
    table.add_column("bodies")
    native = VARIANTS[0]
    for load in LOADS:
        for variant in VARIANTS:
            rate = variant.rate(load)
            bad = any(line.startswith(f"{variant.title}:") for line in wrong)
            table.add_row(
                load.title,
                variant.title,
                f"{rate:,.0f}",
                f"{rate / native.rate(load):.2f}",
                f"{sum(result.received for result in variant.rounds[load.title]) / 1e6:,.0f} MB",
                "wrong" if bad else variant.bodies,
            )
        table.add_section()
    console.print(table)
    console.print("forwarder is native, shout.py is eleven lines of Python.", style="dim")
    console.print("On loopback, which flatters; `make bench` measures between two hosts.", style="dim")
    for line in wrong:
        console.print(line, style="red")


def _failed() -> list[str]:
    """Names the variants in which a request failed under load."""
    lines = []
    for variant in VARIANTS:
        failed = sum(result.errors for rounds in variant.rounds.values() for result in rounds)
        if failed:
            lines.append(f"{variant.title}: {failed} requests failed")
    return lines


def _went_past(running: dict[str, Site]) -> list[str]:
    """Names the variants whose module did not get the sockets: the table would compare nginx with itself.

    The kept connections count too; that they are few beside the new ones makes this a lower bound.
    """
    command = [sys.executable, "-m", "modnet", "ps", "--json"]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
    stolen = {process["pid"]: process["counters"]["stolen"] for process in json.loads(told)["processes"]}
    lines = []
    for variant in VARIANTS:
        if variant.modules:
            wanted = sum(result.requests for result in variant.rounds[LOADS[0].title])
            got = stolen.get(running[variant.title].pid, 0)
            if got < 0.99 * wanted:
                lines.append(f"{variant.title}: {wanted} connections, but only {got} went through it")
    return lines


def _wrong(message: str) -> int:
    print(f"demo: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
