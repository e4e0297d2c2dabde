"""What inspection costs a server: CPU time per request of the server's core, through the forwarder.

    python -m experiments.inspection.cost [--quick] [--json] [--rounds N] [--seconds S]

| variant | inspection | module |
| --- | --- | --- |
| off | not enabled | forwarder |
| none | enabled, no flow is inspected (the programs do not stand at their places) | forwarder |
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
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from modnet import inspection
from rich.table import Table

from experiments import net
from experiments.common import cli, runner, stats, tables
from experiments.common.errors import ExperimentError
from experiments.common.report import Check, Report, check
from experiments.fig03.measure import Bench, Sample
from experiments.fig03.plan import Cell
from experiments.inspection import reader, reads, rounds
from experiments.inspection.rounds import CELLS, Found

OFF, NONE, OPENED, ALL = "off", "none", "opened", "all"
VARIANTS = (OFF, OPENED, NONE, ALL)
# Line 4 of the issue.
BOUNDS = {NONE: "<= 1.01", ALL: "<= 1.05"}
_MODULES = Path(__file__).with_name("modules.py")
_SPECS = {OFF: "forwarder", OPENED: f"{_MODULES}:Opened", ALL: f"{_MODULES}:Reading"}
_FULL, _QUICK = runner.Length(30, 1.0), runner.Length(2, 0.5)
_TRIPS = 3
_REST_S = 20.0


def main() -> None:
    """Measures and prints."""
    rounds.main(
        "cost", "What does inspection cost a server, in CPU time per request?", (_FULL, 0.2), _measure, _show
    )


def _show(report: Report, _: None) -> None:
    console = tables.console()
    made = Table("cell", "variant", title="CPU time per request: median (quartiles)")
    for title in ("us", "of off", "requests/s"):
        made.add_column(title, justify="right")
    for row in report.rows:
        made.add_row(
            f"{row['size']} {row['mode']}",
            row["variant"],
            rounds.words(row["busy_us"], "{:.2f}"),
            rounds.words(row["cost"], "{:.4f}"),
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


def cost(found: Found, cell: Cell, variant: str) -> stats.Spread | None:
    """CPU time per request as a share of `off`, of each round; None where a sample had errors."""
    samples = found[cell]
    if rounds.has_errors(samples):
        return None
    off, opened, mine = ([s.busy_us for s in samples[name]] for name in (OFF, OPENED, variant))
    if variant == ALL:
        mine = [base + one - hook for base, one, hook in zip(off, mine, opened, strict=True)]
    return stats.ratios(mine, off)


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

    bench: Bench
    is_on: bool = False

    def cell(self, cell: Cell, count: int, done: Callable[..., None]) -> dict[str, list[Sample]]:
        """All rounds of one cell, after a warm-up."""
        length = {name: self.bench.length(cell, name) for name in _SPECS}
        warm = replace(self.bench, round_s=self.bench.warm_s)
        for name in _SPECS:
            warm.sample(cell, name, length[name])
        found: dict[str, list[Sample]] = {name: [] for name in VARIANTS}
        for number in range(count):
            for name in VARIANTS if number % 2 == 0 else VARIANTS[::-1]:
                self.switch(name in (NONE, ALL))
                if name == NONE:
                    _await_rest()
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


def _await_rest() -> None:
    """Until those who read in the round before have let go: what is to be measured is that nobody does."""
    end = time.monotonic() + _REST_S
    while inspection.status().counters["attended"]:
        if time.monotonic() > end:
            raise ExperimentError(f"after {_REST_S:g} s somebody still inspects; end other modules first")
        time.sleep(0.05)


def _measure(arguments: argparse.Namespace) -> tuple[Report, None]:
    length = cli.given(_QUICK if arguments.quick else _FULL, arguments)
    program = reads.rust()
    with runner.facts(rounds.TOOLS, product=True) as facts, net.Hosts() as hosts, reader.folder():
        with rounds.bench(hosts, _SPECS, length.seconds) as (bench, data):
            done = facts.task("rounds", length.rounds * len(VARIANTS) * len(CELLS))
            switched = _Bench(bench)
            found = {cell: switched.cell(cell, length.rounds, done) for cell in CELLS}
        data["trips_ns"] = _trips(program, switched)
    facts.build["rounds"] = str(length)
    made = []
    for cell, samples in found.items():
        for variant, of in samples.items():
            share = cost(found, cell, variant)
            made.append(rounds.row(cell, variant, of) | {"cost": share.json() if share else None})
    return facts.report(data, made, checks(found)), None


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


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
