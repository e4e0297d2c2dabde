"""The command: hosts, servers, attacks in interleaved rounds, the report. See README.md for the question."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.table import Table

from experiments import net
from experiments.common import cli, cpu, load, runner, servers, stats, tables
from experiments.common.errors import ExperimentError
from experiments.common.report import Check, Report, check
from experiments.common.servers import Server
from experiments.hostile import plan

_HERE = Path(__file__).parent
_CONNECTIONS = 8
_FULL, _QUICK = runner.Length(10, 2.0), runner.Length(2, 1.0)
_ORIGINS = {plan.NATIVE: 9001, plan.GZIP: 9002}


@dataclass
class Samples:
    """Of one variant in one situation, a value a round."""

    p99_us: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    errors: list[dict[str, int]] = field(default_factory=list)


Results = dict[tuple[str, str], Samples]


def main() -> None:
    """Measures and prints."""
    parser = cli.parser("hostile", "What do hostile clients and servers cost everybody else?")
    cli.add_numbers(parser, _FULL, {"rounds": (1, "rounds")})
    runner.run(parser, _measure, _show)


def _show(report: Report, _: Results) -> None:
    console = tables.console()
    made = Table("variant", "attack", "p99, µs", "of none", "requests/s", "core 0 busy", "module, MB")
    for row in report.rows:
        values = (row["p99_us"], row["p99_ratio"], row["requests_per_s"], row["busy"], row["memory_mb"])
        made.add_row(
            row["variant"], row["attack"], *(f"{value['median']:.4g}" if value else "-" for value in values)
        )
    console.print(made)
    tables.checks(console, report)


def _measure(arguments: argparse.Namespace) -> tuple[Report, Results]:
    length = cli.given(_QUICK if arguments.quick else _FULL, arguments)
    cells = [(variant, situation) for variant in plan.VARIANTS for situation in plan.SITUATIONS]
    results: Results = {cell: Samples() for cell in cells}
    with (
        runner.facts([["nginx", "-v"], ["wrk", "-v"]], product=True) as facts,
        net.Hosts() as hosts,
        _running(hosts) as (ports, registry),
    ):
        done = facts.task("rounds", length.rounds * len(cells))
        for number in range(length.rounds):
            for index in stats.order(len(cells), number):
                variant, situation = cells[index]
                place = (ports[variant], _ORIGINS[variant], registry)
                _round(hosts, place, variant, situation, length.seconds, results[cells[index]])
                done()
    facts.build["rounds"] = f"{length}, {_CONNECTIONS} kept connections"
    data = {"origin": "a page of 20 KB, words of a fixed seed"}
    return facts.report(data, _rows(results), _checks(results)), results


@contextlib.contextmanager
def _running(hosts: net.Hosts) -> Iterator[tuple[dict[str, int], Path]]:
    """nginx and the attacks' origin, twice: alone, and behind one module. Answers ports and registry."""
    www = hosts.work / "www"
    www.mkdir()
    words = random.Random(7).choices([f"word{number}" for number in range(200)], k=5000)
    (www / "page.html").write_text(" ".join(words)[:20_000])
    registry = hosts.work / "rt"

    def start(variant: str, server: Server, web: list[str], _undo: contextlib.ExitStack) -> None:
        before = [] if variant == plan.NATIVE else [sys.executable, "-m", "modnet", "run", "-m", "gzip", "--"]
        environment = {"MODNET_RUNTIME_DIR": str(registry)}
        server.start([*before, *web], environment)
        origin = _ORIGINS[variant]
        server.start([*before, sys.executable, str(_HERE / "origin.py"), str(origin)], environment)
        server.await_port(origin)

    with servers.each(hosts, plan.VARIANTS, start, "types { text/html html; }\n") as ports:
        yield ports, registry


def _round(
    hosts: net.Hosts,
    place: tuple[int, int, Path],
    variant: str,
    situation: str,
    round_s: float,
    into: Samples,
) -> None:
    port, origin, registry = place
    with contextlib.ExitStack() as undo:
        if situation != plan.PEACE:
            undo.enter_context(_attack(hosts, situation, port, origin))
        url = f"http://{hosts.server.ipv4}:{port}/page.html"
        before = cpu.read(hosts.server.core)
        result = load.run(hosts.client, url, True, round_s, _CONNECTIONS, ("Accept-Encoding: gzip",))
        busy = cpu.busy_s(before, cpu.read(hosts.server.core))
        into.memory.append(_resident(registry) / 1e6 if variant == plan.GZIP else 0.0)
    into.p99_us.append(result.p99_us)
    into.rate.append(result.requests / result.duration_s)
    into.busy.append(busy / result.duration_s)
    into.errors.append(result.errors)


@contextlib.contextmanager
def _attack(hosts: net.Hosts, attack: str, port: int, origin: int) -> Iterator[None]:
    argv = [sys.executable, str(_HERE / "attacker.py"), attack, hosts.server.ipv4, str(port), str(origin)]
    process = hosts.client.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin and process.stdout and process.stderr
    try:
        if process.stdout.readline() != "ready\n":
            raise ExperimentError(f"{attack} did not come about: {process.stderr.read().strip()[-200:]}")
        yield
        if process.poll() is not None:
            raise ExperimentError(f"{attack} ended early: {process.stderr.read().strip()[-200:]}")
    finally:
        process.communicate()


def _resident(registry: Path) -> int:
    """Bytes of memory of the module's process."""
    argv = [sys.executable, "-m", "modnet", "module", "show", "gzip", "--json"]
    environment = {**os.environ, "MODNET_RUNTIME_DIR": str(registry)}
    told = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True).stdout
    status = Path(f"/proc/{json.loads(told)['pid']}/statm").read_text()
    return int(status.split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _rows(results: Results) -> list[dict[str, object]]:
    return [
        {
            "variant": variant,
            "attack": situation,
            "is": plan.ATTACKS.get(situation, "nobody attacks"),
            "p99_us": stats.spread(samples.p99_us).json(),
            "p99_ratio": stats.ratios(samples.p99_us, results[variant, plan.PEACE].p99_us).json(),
            "requests_per_s": stats.spread(samples.rate).json(),
            "busy": stats.spread(samples.busy).json(),
            "memory_mb": stats.spread(samples.memory).json() if variant == plan.GZIP else None,
            "errors": [one for one in samples.errors if one],
            "paper": None,
        }
        for (variant, situation), samples in results.items()
    ]


def _checks(results: Results) -> list[Check]:
    peace = results[plan.GZIP, plan.PEACE]
    made = []
    for attack in plan.ATTACKS:
        samples = results[plan.GZIP, attack]
        slower = stats.ratios(samples.p99_us, peace.p99_us).median
        made.append(check(f"{attack}: others' p99, of none", slower, plan.SLOWER))
        growth = max(samples.memory) - min(peace.memory)
        made.append(check(f"{attack}: MB that the module grows by", growth, plan.GROWTH))
    failed = sum(bool(error) for samples in results.values() for error in samples.errors)
    return [*made, check("rounds with errors", failed, "== 0")]


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
