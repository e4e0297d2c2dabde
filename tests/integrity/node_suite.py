"""Node's own tests of its servers, from its source package, with the node that is installed."""

import json
import sys
from pathlib import Path

from tests.integrity.sources import unpacked
from tests.integrity.suites import Suite

FULL = [
    f"{kind}/test-{what}-*.js"
    for kind in ("parallel", "sequential")
    for what in ("net", "http", "https", "tls", "cluster")
]
SHORT = ["parallel/test-net-server-*.js", "parallel/test-http-upgrade-*.js"]

RUNNER = Path(__file__).with_name("node_runner.py")


def suite(patterns: list[str]) -> Suite:
    """These of its tests, one process each."""
    tree = unpacked("nodejs") / "test"

    def command(report: Path, only: str | None) -> list[str]:
        return [sys.executable, "-P", str(RUNNER), str(report), str(tree), *([only] if only else patterns)]

    return Suite("node", command, lambda report: json.loads(report.read_text()), seconds=3000)
