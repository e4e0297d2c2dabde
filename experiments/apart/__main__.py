"""The command: hosts, the three variants, the rounds, the report. See README.md for the question."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from dataclasses import asdict

from rich.table import Table

from experiments import net
from experiments.common import cli, load, runner, servers, stats, tables
from experiments.common.errors import ExperimentError
from experiments.common.report import Check, Report, check
from experiments.common.servers import Server
from experiments.fig03.measure import ORIGIN, write_data

_SIZE = "100B"
NATIVE, FRESH, POOLED = "native", "fresh", "pooled"
VARIANTS = (NATIVE, FRESH, POOLED)
_FULL, _QUICK = runner.Length(20, 1.0), runner.Length(4, 0.5)
# After wrk has gone its last connection still ends.
_SETTLE_S = 0.05
# Issue "Pairs that outlive a flow": no begin waits.
_BOUND = "<= 1.02"

Samples = dict[str, list[load.Load]]


def main() -> None:
    """Measures and prints."""
    question = "Does a single connection wait for its begin, the module being on another core?"
    parser = cli.parser("apart", question)
    cli.add_numbers(parser, _FULL, {"rounds": (1, "rounds")})
    runner.run(parser, _measure, _show)


def _show(report: Report, _: Samples) -> None:
    console = tables.console()
    made = Table("variant", "p50 µs", "of fresh", "p99 µs", "of fresh")
    for row in report.rows:
        values = [row["p50_us"], row["p50_ratio"], row["p99_us"], row["p99_ratio"]]
        made.add_row(row["variant"], *(f"{value['median']:.4g}" for value in values))
    console.print(made)
    tables.checks(console, report)


def _measure(arguments: argparse.Namespace) -> tuple[Report, Samples]:
    length = cli.given(_QUICK if arguments.quick else _FULL, arguments)
    samples: Samples = {name: [] for name in VARIANTS}
    with runner.facts([["nginx", "-v"], ["wrk", "-v"]], product=True) as facts, net.Hosts() as hosts:
        sums = write_data(hosts.work / "www", (_SIZE,))

        def start(name: str, server: Server, web: list[str], _undo: contextlib.ExitStack) -> None:
            _start(name, server, web, away=hosts.client.core)

        with servers.each(hosts, VARIANTS, start) as ports:
            done = facts.task("rounds", length.rounds * len(VARIANTS))
            for name in VARIANTS:
                _load(hosts, ports[name], length.seconds)
            for number in range(length.rounds):
                for index in stats.order(len(VARIANTS), number):
                    name = VARIANTS[index]
                    time.sleep(_SETTLE_S)
                    samples[name].append(_load(hosts, ports[name], length.seconds))
                    done()
    facts.build["rounds"] = str(length)
    return facts.report({"origin": ORIGIN, "sha256": sums}, rows(samples), checks(samples)), samples


def _load(hosts: net.Hosts, port: int, seconds: float) -> load.Load:
    url = f"http://{hosts.server.ipv4}:{port}/{_SIZE}"
    return load.run(hosts.client, url, keep_alive=False, duration_s=seconds, connections=1)


def _start(name: str, server: Server, web: list[str], away: int) -> None:
    """Starts one, its module on core `away`."""
    if name == NATIVE:
        server.start(web)
        return
    environment = {"MODNET_RUNTIME_DIR": str(server.folder / "rt"), "MODNET_PAIRS": name}
    modnet = [sys.executable, "-m", "modnet"]
    # Its worker is for the one core that it may use.
    module = server.start(["taskset", "-c", str(away), *modnet, "module", "start", "forwarder"], environment)
    if module.wait() != 0:
        raise ExperimentError(f"the module did not start: {server.last_words()}")
    server.started.clear()
    server.start([*modnet, "run", "-m", "forwarder", "--", *web], environment)


def rows(samples: Samples) -> list[dict[str, object]]:
    """A row for each variant, the ratios being to the forwarder with fresh pairs."""
    made = []
    for name, all_of in samples.items():
        row: dict[str, object] = {"variant": name, "paper": None}
        for value in ("p50_us", "p99_us"):
            mine, base = _values(samples, name, value), _values(samples, FRESH, value)
            row[value] = stats.spread(mine).json()
            row[value.replace("_us", "_ratio")] = stats.ratios(mine, base).json()
        row["errors"] = {kind: count for one in all_of for kind, count in one.errors.items()}
        made.append(row)
    return made


def checks(samples: Samples) -> list[Check]:
    """The bounds."""
    made = []
    for value in ("p50_us", "p99_us"):
        found = stats.ratios(_values(samples, POOLED, value), _values(samples, FRESH, value))
        made.append(check(f"{value} of pooled / fresh, one connection at a time", found.median, _BOUND))
    failed = sum(bool(one.errors) or not one.requests for every in samples.values() for one in every)
    return [*made, check("rounds with errors", failed, "== 0")]


def _values(samples: Samples, name: str, value: str) -> list[float]:
    return [asdict(one)[value] for one in samples[name]]


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
