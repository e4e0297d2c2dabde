"""What module gzip costs where nothing can be compressed: requests a second beside the plain forwarder.

    python -m experiments.fig04.overhead [--quick] [--json]

Files of 100 bytes and 1 MB, as JPEG, from nginx; new connections and kept ones. Bound: 0.95 of the forwarder,
of bytes a second, and of bytes for a second of the processes' processor time, which says the same with less
noise where the server's core is full. Rounds are short and many: the machine drifts by more than the bound
leaves. As Figure 3 otherwise: same hosts, same client. It must not compress anything.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import random
import sys
from dataclasses import dataclass

from experiments import net
from experiments.common import cli, load, runner, servers, stats, tables
from experiments.common.report import Check, Report, check
from experiments.common.servers import Server
from experiments.fig04.measure import used_ns

VARIANTS = {"forwarder": "forwarder", "gzip": "gzip"}
SIZES = {"100B": 100, "1MB": 1_000_000}
_FULL, _QUICK = runner.Length(25, 0.8), runner.Length(4, 0.5)


@dataclass(frozen=True)
class _Sample:
    """One round; 0 where something failed."""

    bytes_per_s: float
    bytes_per_cpu_s: float


_VALUES = tuple(field.name for field in dataclasses.fields(_Sample))


def main() -> None:
    """Measures and prints."""
    parser = cli.parser("fig04.overhead", "What does module gzip cost where it does nothing?")
    runner.run(parser, _measure, lambda report, _: tables.checks(tables.console(), report))


def _measure(arguments: argparse.Namespace) -> tuple[Report, None]:
    length = _QUICK if arguments.quick else _FULL
    found: dict[tuple[str, bool], dict[str, list[_Sample]]] = {}
    with (
        runner.facts([["nginx", "-v"], ["wrk", "-v"]], product=True) as facts,
        net.Hosts() as hosts,
        servers.each(hosts, tuple(VARIANTS), _start, "types { image/jpeg jpg; }\n") as ports,
    ):
        www = hosts.work / "www"
        www.mkdir()
        for name, size in SIZES.items():
            (www / f"{name}.jpg").write_bytes(random.Random(name).randbytes(size))
        cells = [(size, keep) for size in SIZES for keep in (False, True)]
        done = facts.task("rounds", len(cells) * length.rounds * len(VARIANTS))
        for size, keep in cells:
            of = found[size, keep] = {variant: [] for variant in VARIANTS}
            for number in range(length.rounds):
                for index in stats.order(len(VARIANTS), number):
                    variant = list(VARIANTS)[index]
                    of[variant].append(_sample(hosts, variant, ports[variant], size, keep, length.seconds))
                    done()
    rows = [
        {
            "size": size,
            "mode": "keep" if keep else "new",
            "variant": variant,
            **{what: stats.spread([getattr(s, what) for s in samples]).json() for what in _VALUES},
            "paper": None,
        }
        for (size, keep), of in found.items()
        for variant, samples in of.items()
    ]
    checks = [_check(size, keep, what, of) for (size, keep), of in found.items() for what in _VALUES]
    return facts.report({"origin": "random bytes of a fixed seed"}, rows, checks), None


def _start(variant: str, server: Server, web: list[str], _undo: contextlib.ExitStack) -> None:
    command = [sys.executable, "-m", "modnet", "run", "-m", VARIANTS[variant], "--", *web]
    server.start(command, {"MODNET_RUNTIME_DIR": str(server.folder / "rt")})


def _sample(hosts: net.Hosts, variant: str, port: int, size: str, keep: bool, round_s: float) -> _Sample:
    folder = hosts.work / variant
    before = used_ns(hosts, folder)
    result = load.run(hosts.client, f"http://{hosts.server.ipv4}:{port}/{size}.jpg", keep, round_s)
    used_s = (used_ns(hosts, folder) - before) / 1e9
    if result.errors or not used_s:
        return _Sample(0.0, 0.0)
    # By bytes: wrk counts whole responses only.
    return _Sample(result.received / result.duration_s, result.received / used_s)


def _check(size: str, keep: bool, what: str, of: dict[str, list[_Sample]]) -> Check:
    spread = stats.ratios(
        *([getattr(sample, what) for sample in of[variant]] for variant in ("gzip", "forwarder"))
    )
    name = (
        f"{size} {'keep' if keep else 'new'}, {what}: gzip / forwarder ({spread.q1:.3g} to {spread.q3:.3g})"
    )
    return check(name, spread.median, ">= 0.95")


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
