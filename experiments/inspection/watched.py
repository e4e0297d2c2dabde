"""What it costs a loaded server that somebody looks: its requests with `modnet top` running, and without.

    python -m experiments.inspection.watched [--quick] [--json] [--rounds N] [--seconds S]

nginx behind the forwarder, loaded by wrk as in Figure 3; kept connections and new ones. `top` draws 160 by 40
characters once a second, wherever the scheduler puts it: on two cores that are both loaded it has to take its
time from them. Then `modnet top --json` looks once under load, and what it shows is held against what wrk and
the kernel know of the same moment. It must not measure inspection itself: see cost.py.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from experiments import net
from experiments.common import cli, load, runner, stats, tables
from experiments.common.errors import ExperimentError
from experiments.common.report import Check, Report, check
from experiments.fig03.measure import Bench, Sample
from experiments.fig03.plan import Cell
from experiments.inspection import reader, rounds
from experiments.inspection.rounds import CELLS, Found

ALONE, WATCHED = "alone", "watched"
_MODULES = {ALONE: "forwarder"}
# Line 9 of the issue.
BOUND = ">= 0.98"
# Each of three looks at least.
_FULL, _QUICK = runner.Length(15, 3.0), runner.Length(2, 1.5)
_SIZE = struct.pack("HHHH", 40, 160, 0, 0)
_LOOK_S = 0.5
_EVERY_S = 0.02

# When, and the bytes until then.
Reading = tuple[float, int]


def main() -> None:
    """Measures and prints."""
    rounds.main("watched", "What does `modnet top` cost a loaded server?", (_FULL, 1.0), _measure, _show)


def _show(report: Report, _: None) -> None:
    console = tables.console()
    made = Table("cell", "variant", title="Requests/s: median, and of alone in the same round (quartiles)")
    for title in ("requests/s", "of alone"):
        made.add_column(title, justify="right")
    for row in report.rows:
        median, of = row["requests_per_s"]["median"], rounds.words(row["ratio"], "{:.3f}")
        made.add_row(f"{row['size']} {row['mode']}", row["variant"], f"{median:,.0f}", of)
    console.print(made)
    tables.checks(console, report)


def ratio(found: Found, cell: Cell) -> stats.Spread | None:
    """Requests a second with `top` of those without, of each round; None where a sample had errors."""
    samples = found[cell]
    if rounds.has_errors(samples):
        return None
    watched, alone = ([sample.requests_per_s for sample in samples[name]] for name in (WATCHED, ALONE))
    return stats.ratios(watched, alone)


def oddities(
    flows: Sequence[Mapping[str, Any]], address: str, port: int, rates: tuple[float, float]
) -> list[str]:
    """What `top --json` shows and is not so, where the load comes from `address`, at least and at most so
    many bytes/s.
    """
    found = []
    if len(flows) != load.CONNECTIONS:
        found.append(f"{len(flows)} flows instead of {load.CONNECTIONS}")
    peers = {flow["peer"] for flow in flows}
    if len(peers) != len(flows) or any(peer.rpartition(":")[0] != address for peer in peers):
        found.append(f"peers: {sorted(peers)[:3]}")
    if any(flow["local"].rpartition(":")[2] != str(port) for flow in flows):
        found.append("a flow at another port")
    shown = sum(flow["rate_outbound"] or 0 for flow in flows)
    least, most = rates
    if not 0.8 * least < shown < 1.2 * most:
        found.append(f"{shown:.0f} bytes/s out, where {least:.0f} to {most:.0f} came")
    for flow in flows:
        plausible = flow["cwnd"] and 0 < (flow["srtt_us"] or 0) < 1e6 and flow["source"] in reader.SOURCES
        if not plausible or flow["retransmits"] is None or flow["chain"] != ["forwarder"]:
            found.append(f"flow {flow['flow']}: {dict(flow)}")
            break
    return found


def checks(found: Found, odd: Sequence[str]) -> list[Check]:
    """Line 9 of the issue."""
    made = []
    for cell in found:
        share = ratio(found, cell)
        made.append(check(f"{cell}: requests/s with top / without", share.median if share else None, BOUND))
    return [*made, check("what top --json shows and is not so", len(odd), "== 0")]


def _measure(arguments: argparse.Namespace) -> tuple[Report, None]:
    length = cli.given(_QUICK if arguments.quick else _FULL, arguments)
    found: Found = {}
    with (
        runner.facts(rounds.TOOLS, product=True) as facts,
        net.Hosts() as hosts,
        rounds.bench(hosts, _MODULES, length.seconds) as (bench, data),
    ):
        runtime = hosts.work / ALONE / "rt"
        done = facts.task("rounds", length.rounds * 2 * len(CELLS))
        for cell in CELLS:
            found[cell] = {ALONE: [], WATCHED: []}
            size = bench.length(cell, ALONE)
            for number in range(length.rounds):
                for index in stats.order(2, number):
                    name = (ALONE, WATCHED)[index]
                    found[cell][name].append(_sample(bench, cell, size, name, runtime))
                    done()
        flows, rates = _look(hosts, bench.started[ALONE].port, runtime)
        odd = oddities(flows, hosts.client.ipv4, bench.started[ALONE].port, rates)
    facts.build["rounds"] = str(length)
    made = []
    for cell, samples in found.items():
        share = ratio(found, cell)
        for variant, of in samples.items():
            shown = share.json() if share and variant == WATCHED else None
            made.append(rounds.row(cell, variant, of) | {"ratio": shown})
    return facts.report(data | {"seen": flows[:1], "odd": odd}, made, checks(found, odd)), None


def _sample(bench: Bench, cell: Cell, size: int, name: str, runtime: Path) -> Sample:
    with _top(runtime) if name == WATCHED else contextlib.nullcontext():
        return bench.sample(cell, ALONE, size)


def _command(*words: str) -> list[str]:
    return [sys.executable, "-P", "-m", "modnet", "top", *words]


def _environment(runtime: Path) -> dict[str, str]:
    return {**os.environ, "MODNET_RUNTIME_DIR": str(runtime), "TERM": "xterm-256color"}


@contextlib.contextmanager
def _top(runtime: Path) -> Iterator[None]:
    """`modnet top` on a terminal that somebody reads, from its first screen on."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, _SIZE)
    drawn = threading.Event()

    def read() -> None:
        seen = b""
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 1 << 16):
                seen = (seen + piece)[-4096:]
                if b"q quit" in seen:
                    drawn.set()

    reading = threading.Thread(target=read, daemon=True)
    with subprocess.Popen(
        _command(), stdin=its, stdout=its, stderr=its, env=_environment(runtime), start_new_session=True
    ) as top:
        os.close(its)
        reading.start()
        try:
            if not drawn.wait(20):
                raise ExperimentError("modnet top has drawn nothing in 20 s")
            yield
            if top.poll() is not None:
                raise ExperimentError(f"modnet top ended by itself, with status {top.returncode}")
        finally:
            top.terminate()
            top.wait()
            reading.join()
            os.close(ours)


def _look(hosts: net.Hosts, port: int, runtime: Path) -> tuple[list[dict[str, Any]], tuple[float, float]]:
    """What `top --json` shows while wrk runs. Meanwhile the client received at least, and at most, so many
    bytes/s, over any time as short as the one that `top` takes.
    """
    argv = _command("--json", "--interval", str(_LOOK_S))
    cell = CELLS[0]
    url = f"http://{hosts.server.ipv4}:{port}/{cell.size}"
    looked: list[tuple[subprocess.CompletedProcess[str], list[Reading]]] = []

    def look() -> None:
        with _readings(hosts.client) as readings:
            done = subprocess.run(
                argv, env=_environment(runtime), capture_output=True, text=True, check=False
            )
        looked.append((done, readings))

    # By the middle of it all connections are there, and at the end they still are.
    timer = threading.Timer(1.0, look)
    timer.start()
    load.run(hosts.client, url, keep_alive=True, duration_s=4.0)
    timer.join()
    ((done, readings),) = looked
    if done.returncode:
        raise ExperimentError(f"modnet top --json failed: {done.stderr.strip()}")
    return json.loads(done.stdout)["flows"], extremes(readings, _LOOK_S)


def extremes(readings: Sequence[Reading], window_s: float) -> tuple[float, float]:
    """The least and the most bytes/s of any `window_s` seconds between the first reading and the last."""
    rates = []
    for began, before in readings:
        ended = next((one for one in readings if one[0] >= began + window_s), None)
        if ended is not None:
            rates.append((ended[1] - before) / (ended[0] - began))
    if not rates:
        raise ExperimentError(f"modnet top --json has looked for less than {window_s} s")
    return min(rates), max(rates)


@contextlib.contextmanager
def _readings(host: net.Host) -> Iterator[list[Reading]]:
    """How many bytes the host has received, every few milliseconds until the block ends."""
    readings: list[Reading] = []
    done = threading.Event()
    with host.entered(), Path("/proc/thread-self/net/dev").open("rb", buffering=0) as counters:
        # It stays that of the namespace in which it was opened.
        ours = os.dup(counters.fileno())

    def read() -> None:
        ended = False
        while not ended:
            ended = done.wait(_EVERY_S)
            lines = os.pread(ours, 1 << 16, 0).decode().splitlines()[2:]
            received = sum(int(line.partition(":")[2].split()[0]) for line in lines)
            readings.append((time.monotonic(), received))

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    try:
        yield readings
    finally:
        done.set()
        reading.join()
        os.close(ours)


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
