"""What late binding costs over loopback: bytes a second of 1 MB responses, beside the plain forwarder.

    python -m experiments.revocation.loopback [--quick] [--json] [--rounds N] [--seconds S]

nginx behind the forwarder, once as it is and once with `revocable=yes`, on one core; wrk in the same network
namespace on the other. Loopback hides half of what a network costs (Figure 3 has the two beside each other
between two hosts), but it is where the kernel takes bytes fastest, so that a rule for how much it is given
would hold it up first. Rounds are short and many; what is compared is always of one round.
"""

from __future__ import annotations

import argparse
import contextlib
import sys

from experiments import net
from experiments.common import cli, load, runner, servers, stats, tables
from experiments.common.report import Check, Report, check
from experiments.common.servers import Server
from experiments.fig03.measure import ORIGIN, write_data

PLAIN, LATE = "forwarder", "late"
_MODULES = {PLAIN: "forwarder", LATE: "forwarder,revocable=yes"}
SIZE = "1MB"
# Line 1 of the issue.
BOUND = ">= 0.95"
_FULL, _QUICK = runner.Length(60, 0.5), runner.Length(6, 0.4)


def main() -> None:
    """Measures and prints."""
    parser = cli.parser("revocation.loopback", "What does late binding cost over loopback?")
    asked = {"rounds": (1.0, "rounds of both"), "seconds": (0.2, "of one variant in a round")}
    cli.add_numbers(parser, _FULL, asked)
    runner.run(parser, _measure, lambda report, _: tables.checks(tables.console(), report))


def checks(found: dict[str, list[float]]) -> list[Check]:
    """By bytes a second of each round; 0 stands for a round with errors, which proves nothing."""
    whole = all(rate > 0 for of in found.values() for rate in of)
    share = stats.ratios(found[LATE], found[PLAIN]) if whole else None
    return [
        check(f"{SIZE} over loopback: bytes/s of late / forwarder", share.median if share else None, BOUND)
    ]


def _measure(arguments: argparse.Namespace) -> tuple[Report, None]:
    length = cli.given(_QUICK if arguments.quick else _FULL, arguments)
    with (
        runner.facts([["nginx", "-v"], ["wrk", "-v"]], product=True) as facts,
        net.Hosts() as hosts,
        servers.each(hosts, tuple(_MODULES), _start) as ports,
    ):
        sums = write_data(hosts.work / "www", (SIZE,))
        client = hosts.server.on(hosts.client.core)
        done = facts.task("rounds", length.rounds * len(_MODULES))
        found: dict[str, list[float]] = {name: [] for name in _MODULES}
        for name in found:
            _rate(client, ports[name], length.seconds)
        for number in range(length.rounds):
            for index in stats.order(len(found), number):
                name = list(found)[index]
                found[name].append(_rate(client, ports[name], length.seconds))
                done()
    facts.build["rounds"] = str(length)
    rows = [
        {"size": SIZE, "variant": name, "bytes_per_s": stats.spread(of).json(), "paper": None}
        for name, of in found.items()
    ]
    return facts.report({"origin": ORIGIN, "sha256": sums}, rows, checks(found)), None


def _start(name: str, server: Server, web: list[str], _undo: contextlib.ExitStack) -> None:
    command = [sys.executable, "-P", "-m", "modnet", "run", "-m", _MODULES[name], "--", *web]
    server.start(command, {"MODNET_RUNTIME_DIR": str(server.folder / "rt")})


def _rate(client: net.Host, port: int, seconds: float) -> float:
    result = load.run(client, f"http://127.0.0.1:{port}/{SIZE}", keep_alive=False, duration_s=seconds)
    return 0.0 if result.errors else result.received / result.duration_s


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
