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

from experiments import net
from experiments.common import cli, cpu, load, servers, stats, tables
from experiments.common.errors import ExperimentError
from experiments.common.machine import build, machine
from experiments.common.report import Check, Report, check
from experiments.common.servers import Server
from experiments.hostile import plan

_HERE = Path(__file__).parent
_CONNECTIONS = 8
_FULL, _QUICK = (10, 2.0), (2, 1.0)
_PORTS = {plan.NATIVE: (8001, 8002), plan.GZIP: (8003, 8004)}


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
    parser.add_argument("--rounds", type=int, metavar="N", help=f"rounds (default {_FULL[0]})")
    arguments = parser.parse_args()
    report = _run(arguments)
    if arguments.json:
        print(report.json())
        return
    console = tables.console()
    made = tables.Table("variant", "attack", "p99, µs", "of none", "requests/s", "core 0 busy", "module, MB")
    for row in report.rows:
        values = (row["p99_us"], row["p99_ratio"], row["requests_per_s"], row["busy"], row["memory_mb"])
        made.add_row(
            row["variant"], row["attack"], *(f"{value['median']:.4g}" if value else "-" for value in values)
        )
    console.print(made)
    tables.checks(console, report)


def _run(arguments: argparse.Namespace) -> Report:
    rounds, round_s = _QUICK if arguments.quick else _FULL
    rounds = arguments.rounds or rounds
    facts, built = machine(), build([["nginx", "-v"], ["wrk", "-v"]], product=True)
    built["rounds"] = f"{rounds} of {round_s:g} s, {_CONNECTIONS} kept connections"
    cells = [(variant, situation) for variant in plan.VARIANTS for situation in plan.SITUATIONS]
    results: Results = {cell: Samples() for cell in cells}
    with net.Hosts() as hosts, _running(hosts) as registry, cli.progress() as progress:
        task = progress.add_task("rounds", total=rounds * len(cells))
        for number in range(rounds):
            for index in stats.order(len(cells), number):
                _round(hosts, registry, *cells[index], round_s, results[cells[index]])
                progress.advance(task)
    data = {"origin": "a page of 20 KB, words of a fixed seed"}
    return Report(facts, built, data, _rows(results), _checks(results))


@contextlib.contextmanager
def _running(hosts: net.Hosts) -> Iterator[Path]:
    """nginx and the origin of the attacks, twice: alone, and behind one module. Answers the registry."""
    www = hosts.work / "www"
    www.mkdir()
    words = random.Random(7).choices([f"word{number}" for number in range(200)], k=5000)
    (www / "page.html").write_text(" ".join(words)[:20_000])
    registry = hosts.work / "rt"
    with contextlib.ExitStack() as undo:
        for variant, (port, origin) in _PORTS.items():
            folder = hosts.work / variant
            folder.mkdir()
            server = Server(hosts.server, folder)
            undo.callback(server.stop)
            web = servers.nginx(folder, "types { text/html html; }\n" + servers.files(port, www))
            modnet = [sys.executable, "-m", "modnet", "run", "-m", "gzip", "--"]
            before = [] if variant == plan.NATIVE else modnet
            environment = {"MODNET_RUNTIME_DIR": str(registry)}
            server.start([*before, *web], environment)
            server.await_port(port)
            server.start([*before, sys.executable, str(_HERE / "origin.py"), str(origin)], environment)
            server.await_port(origin)
        yield registry


def _round(
    hosts: net.Hosts, registry: Path, variant: str, situation: str, round_s: float, into: Samples
) -> None:
    port, origin = _PORTS[variant]
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
    raise SystemExit(cli.guarded(main))
