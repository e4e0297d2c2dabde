"""What module gzip costs where nothing can be compressed: requests a second beside the plain forwarder.

    python -m experiments.fig04.overhead [--quick] [--json]

Files of 100 bytes and 1 MB, as JPEG, from nginx; new connections and kept ones. Bound: 0.95 of the forwarder.
As Figure 3 otherwise: same hosts, same client. It must not compress anything.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys

from experiments import net
from experiments.common import cli, load, servers, stats
from experiments.common.machine import build, machine
from experiments.common.report import Report, check
from experiments.common.servers import Server

VARIANTS = {"forwarder": "forwarder", "gzip": "gzip"}
SIZES = {"100B": 100, "1MB": 1_000_000}
_ROUNDS, _ROUND_S = {False: 10, True: 2}, {False: 2.0, True: 0.5}
_FIRST_PORT = 8001


def main() -> None:
    """Measures and prints."""
    arguments = cli.parser("fig04.overhead", "What does module gzip cost where it does nothing?").parse_args()
    report = _run(arguments)
    if arguments.json:
        print(report.json())
        return
    for one in report.checks:
        print(f"{one.name}: {one.value} ({one.bound}: {'yes' if one.ok else 'NO'})")


def _run(arguments: argparse.Namespace) -> Report:
    facts, built = machine(), build([["nginx", "-v"], ["wrk", "-v"]], product=True)
    rounds, round_s = _ROUNDS[arguments.quick], _ROUND_S[arguments.quick]
    found: dict[tuple[str, bool], dict[str, list[float]]] = {}
    with net.Hosts() as hosts, contextlib.ExitStack() as undo, cli.progress() as progress:
        www = hosts.work / "www"
        www.mkdir()
        for name, size in SIZES.items():
            (www / f"{name}.jpg").write_bytes(random.Random(name).randbytes(size))
        ports = {}
        for number, (variant, module) in enumerate(VARIANTS.items()):
            folder = hosts.work / variant
            folder.mkdir()
            server = Server(hosts.server, folder)
            undo.callback(server.stop)
            ports[variant] = _FIRST_PORT + number
            web = servers.nginx(folder, "types { image/jpeg jpg; }\n" + servers.files(ports[variant], www))
            command = [sys.executable, "-m", "modnet", "run", "-m", module, "--", *web]
            server.start(command, {"MODNET_RUNTIME_DIR": str(folder / "rt")})
            server.await_port(ports[variant])
        cells = [(size, keep) for size in SIZES for keep in (False, True)]
        task = progress.add_task("rounds", total=len(cells) * rounds * len(VARIANTS))
        for size, keep in cells:
            of = found[size, keep] = {variant: [] for variant in VARIANTS}
            for number in range(rounds):
                for index in stats.order(len(VARIANTS), number):
                    variant = list(VARIANTS)[index]
                    url = f"http://{hosts.server.ipv4}:{ports[variant]}/{size}.jpg"
                    result = load.run(hosts.client, url, keep, round_s)
                    # By bytes: wrk counts whole responses only.
                    of[variant].append(0.0 if result.errors else result.received / result.duration_s)
                    progress.advance(task)
    rows = [
        {
            "size": size,
            "mode": "keep" if keep else "new",
            "variant": variant,
            "bytes_per_s": stats.spread(values).json(),
            "paper": None,
        }
        for (size, keep), of in found.items()
        for variant, values in of.items()
    ]
    checks = [
        check(
            f"{size} {'keep' if keep else 'new'}: gzip / forwarder",
            stats.ratios(of["gzip"], of["forwarder"]).median,
            ">= 0.95",
        )
        for (size, keep), of in found.items()
    ]
    return Report(facts, built, {"origin": "random bytes of a fixed seed"}, rows, checks)


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
