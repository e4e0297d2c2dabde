"""A real forwarder for the shim's tests, which takes the pool that the shim offers, as `peer.py` does not.

Rules: one module for all tests of a run, in a runtime directory of its own; a server that is to get pairs
which have had flows says so by `WARM` in its environment. It must not assert.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from shutil import rmtree
from typing import Any

from tests.shim.record import Record

# Connections that a probe's server accepts and closes before its own: the first make pairs, others use them.
WARM = {"WARM": "5"}


class Module:
    """The forwarder `peer` in a runtime directory."""

    def __init__(self) -> None:
        self.runtime = Path(tempfile.mkdtemp(prefix="mnp-"))
        self.runtime.chmod(0o711)
        self.modnet("start", "forwarder,as=peer")

    def record(self, **settings: Any) -> Record:
        """A record under which pairs are pooled."""
        return Record(self.runtime, **({"flags": 0} | settings))

    def descriptors(self) -> int:
        """How many the module has."""
        status = json.loads(self.modnet("show", "peer", "--json"))
        return len(list(Path(f"/proc/{status['pid']}/fd").iterdir()))

    def names(self) -> list[str]:
        """Modules that run in its directory."""
        return [one["name"] for one in json.loads(self.modnet("list", "--json"))]

    def stop(self) -> None:
        self.modnet("stop", "peer")
        rmtree(self.runtime)

    def modnet(self, *words: str) -> str:
        """`modnet module ...` in its directory; what it printed."""
        environment = os.environ | {"MODNET_RUNTIME_DIR": str(self.runtime), "MODNET_PAIRS": "pooled"}
        argv = [sys.executable, "-m", "modnet", "module", *words]
        return subprocess.run(
            argv, env=environment, check=True, timeout=60, stdout=subprocess.PIPE, text=True
        ).stdout
