"""What inspection costs a server: CPU time per request of the server's core, through the forwarder.

    python -m experiments.inspection.cost [--quick] [--json] [--rounds N] [--seconds S]

| variant | inspection | module |
| --- | --- | --- |
| off | not enabled | forwarder |
| none | enabled, no flow is inspected | forwarder |
| opened | not enabled | modules.py:Opened, which is told of each flow and does nothing |
| all | enabled, every flow is inspected | modules.py:Reading, which also reads each flow's state once |

A round measures all four, one after the other: first the two without inspection, then the two with it, every
other round the other way about; what is compared is always of one round. What it costs to inspect a flow is
`all` less `opened`: the hook in Python is in both. Both as a share of what `off` takes, which is the
smallest.

Hosts, client and files are those of Figure 3. Rules: that flows were inspected, or none was, is counted by
the programs and stands in the sample as an error where it is not so. It must not measure what a read costs:
see reads.py.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modnet import inspection
from rich.table import Table

from experiments import net
from experiments.common import cli, cpu, servers, stats, tables
from experiments.common.errors import ExperimentError
from experiments.common.machine import build, machine
from experiments.common.report import Check, Report, check
from experiments.common.servers import Server
from experiments.fig03 import measure
from experiments.fig03.measure import Sample
from experiments.fig03.plan import Cell
from experiments.fig03.variants import Started
from experiments.inspection import reader, reads

OFF, NONE, OPENED, ALL = "off", "none", "opened", "all"
VARIANTS = (OFF, OPENED, NONE, ALL)
CELLS = (Cell("1KB", "keep", "unshaped"), Cell("100B", "new", "unshaped"))
# Line 4 of the issue.
BOUNDS = {NONE: "<= 1.01", ALL: "<= 1.05"}
_MODULES = Path(__file__).with_name("modules.py")
_SPECS = {OFF: "forwarder", OPENED: f"{_MODULES}:Opened", ALL: f"{_MODULES}:Reading"}
# Rounds, seconds of one variant's part in a round, of its warm-up.
_FULL, _QUICK = (30, 1.0, 0.5), (2, 0.5, 0.2)
_FIRST_PORT = 8001
_TRIPS = 3

Found = dict[Cell, dict[str, list[Sample]]]


def main() -> None:
    """Measures and prints."""
    parser = cli.parser("inspection.cost", "What does inspection cost a server, in CPU time per request?")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"rounds of each cell (default {_FULL[0]})")
    parser.add_argument("--seconds", type=float, metavar="S", help=f"of one variant (default {_FULL[1]:g})")
    arguments = parser.parse_args()
    report = _run(arguments)
    if arguments.json:
        print(report.json())
        return
    console = tables.console()
    made = Table("cell", "variant", title="CPU time per request: median (quartiles)")
    for title in ("us", "of off", "requests/s"):
        made.add_column(title, justify="right")
    for row in report.rows:
        ratio = row["cost"]
        made.add_row(
            f"{row['size']} {row['mode']}",
            row["variant"],
            _words(row["busy_us"], "{:.2f}"),
            "-" if ratio is None else _words(ratio, "{:.4f}"),
            f"{row['requests_per_s']['median']:,.0f}",
        )
    console.print(made)
    console.print(_trips_table(report.data["trips_ns"]))
    tables.checks(console, report)


def _trips_table(trips: dict[str, dict[str, float]]) -> Table:
    made = Table("inspection", title="Request and response within one thread, over loopback: ns, the fastest")
    for title in trips[OFF]:
        made.add_column(f"{title} connection", justify="right")
    for variant, figures in trips.items():
        made.add_row(variant, *(f"{figures[t]:,.0f} (+{figures[t] - trips[OFF][t]:,.0f})" for t in figures))
    return made


def _words(spread: dict[str, float], form: str) -> str:
    median, q1, q3 = (form.format(spread[name]) for name in ("median", "q1", "q3"))
    return f"{median} ({q1} - {q3})"


def cost(found: Found, cell: Cell, variant: str) -> stats.Spread | None:
    """CPU time per request as a share of `off`, of each round; None where a sample had errors."""
    samples = found[cell]
    if any(sample.errors for one in samples.values() for sample in one):
        return None
    off, opened, mine = ([s.busy_us for s in samples[name]] for name in (OFF, OPENED, variant))
    if variant == ALL:
        mine = [base + one - hook for base, one, hook in zip(off, mine, opened, strict=True)]
    return stats.ratios(mine, off)


def rows(found: Found) -> list[dict[str, Any]]:
    """One for each variant of each cell."""
    made = []
    for cell, samples in found.items():
        for variant, of in samples.items():
            share = cost(found, cell, variant)
            made.append(
                {
                    "size": cell.size,
                    "mode": cell.mode,
                    "variant": variant,
                    "rounds": len(of),
                    "busy_us": stats.spread([sample.busy_us for sample in of]).json(),
                    "requests_per_s": stats.spread([sample.requests_per_s for sample in of]).json(),
                    "cost": share.json() if share else None,
                    "errors": [sample.errors for sample in of if sample.errors],
                    "paper": None,
                }
            )
    return made


def checks(found: Found) -> list[Check]:
    """Line 4 of the issue."""
    made = []
    for cell in found:
        for variant, bound in BOUNDS.items():
            share = cost(found, cell, variant)
            name = f"{cell}: CPU per request, inspected: {variant} / off"
            made.append(check(name, share.median if share else None, bound))
    return made


@dataclass
class _Bench:
    """The hosts, and inspection that goes on and off between samples."""

    bench: measure.Bench
    is_on: bool = False

    def cell(self, cell: Cell, rounds: int, done: Any) -> dict[str, list[Sample]]:
        """All rounds of one cell, after a warm-up."""
        length = {name: self.bench.length(cell, name) for name in _SPECS}
        warm = replace(self.bench, round_s=self.bench.warm_s)
        for name in _SPECS:
            warm.sample(cell, name, length[name])
        found: dict[str, list[Sample]] = {name: [] for name in VARIANTS}
        for number in range(rounds):
            for name in VARIANTS if number % 2 == 0 else VARIANTS[::-1]:
                self.switch(name in (NONE, ALL))
                server = OFF if name == NONE else name
                found[name].append(self._sample(cell, server, length[server]))
                done()
        return found

    def switch(self, on: bool) -> None:
        """Enables or disables."""
        if on and not self.is_on:
            inspection.enable()
        elif self.is_on and not on:
            inspection.disable()
        self.is_on = on

    def _sample(self, cell: Cell, server: str, length: int) -> Sample:
        before = self._taken()
        sample = self.bench.sample(cell, server, length)
        taken = self._taken() - before
        if (taken > 0) != (server == ALL and self.is_on):
            return replace(sample, errors=sample.errors | {"inspected": taken})
        return sample

    def _taken(self) -> int:
        return inspection.status().counters["taken"] if self.is_on else 0


def _run(arguments: argparse.Namespace) -> Report:
    rounds, seconds, warm_s = _QUICK if arguments.quick else _FULL
    rounds = rounds if arguments.rounds is None else arguments.rounds
    seconds = seconds if arguments.seconds is None else arguments.seconds
    if rounds < 1 or seconds < 0.2:
        raise ExperimentError("at least one round (--rounds) of 0.2 seconds (--seconds) is needed")
    program = reads.rust()
    facts, built = machine(), build([["nginx", "-v"], ["wrk", "-v"]], product=True)
    built["rounds"] = f"{rounds} of {seconds:g} s"
    found: Found = {}
    with net.Hosts() as hosts, reader.folder(), cli.progress() as progress:
        sums = measure.write_data(hosts.work / "www", tuple(cell.size for cell in CELLS))
        stolen = cpu.stolen_s()
        with _running(hosts) as started:
            bench = _Bench(measure.Bench(hosts, started, sums, seconds, warm_s))
            for cell in CELLS:
                task = progress.add_task(str(cell), total=rounds * len(VARIANTS))
                found[cell] = bench.cell(cell, rounds, lambda task=task: progress.advance(task))
        facts["hypervisor_took_s"] = round(cpu.stolen_s() - stolen, 2)
        trips = _trips(program, bench)
    return Report(facts, built, {"sha256": sums, "trips_ns": trips}, rows(found), checks(found))


def _trips(program: Path, bench: _Bench) -> dict[str, dict[str, float]]:
    """What a request takes where nothing but TCP is at work, by variant: the least of some runs each."""
    kinds = {OFF: "plain", NONE: "plain", ALL: "inspected"}
    least: dict[str, dict[str, float]] = {name: {} for name in kinds}
    for _ in range(_TRIPS):
        for name, kind in kinds.items():
            bench.switch(name != OFF)
            for what, ns in reads.program([str(program), "trips", kind]).items():
                least[name][what] = min(ns, least[name].get(what, ns))
    return least


@contextlib.contextmanager
def _running(hosts: net.Hosts) -> Iterator[dict[str, Started]]:
    with contextlib.ExitStack() as undo:
        started = {}
        for number, (name, spec) in enumerate(_SPECS.items()):
            folder = hosts.work / name
            folder.mkdir()
            server, port = Server(hosts.server, folder), _FIRST_PORT + number
            undo.callback(server.stop)
            web = servers.nginx(folder, servers.files(port, hosts.work / "www"))
            command = [sys.executable, "-P", "-m", "modnet", "run", "-m", spec, "--", *web]
            server.start(command, {"MODNET_RUNTIME_DIR": str(folder / "rt")})
            server.await_port(port)
            started[name] = Started(port, port, stands_between=True)
        yield started


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
