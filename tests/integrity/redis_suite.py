"""Redis' own tests, in Tcl, from its source package, with the server that is installed."""

import re
import shutil
from pathlib import Path

from tests.integrity.sources import unpacked
from tests.integrity.suites import Suite, printing

SHORT = ["unit/protocol", "unit/querybuf", "unit/limits", "unit/networking", "unit/quit"]
# None: every unit.
FULL: list[str] | None = None

_PROGRAMS = ["redis-server", "redis-cli", "redis-benchmark", "redis-check-aof", "redis-check-rdb"]
# As the terminal is told the colour of it.
_LINE = re.compile(
    r"\[(?:\x1b\[[0-9;]*m)?(ok|err|exception|timeout)(?:\x1b\[[0-9;]*m)?\]: (.*?)(?: \(\d+ ms\))?$"
)


def suite(units: list[str] | None) -> Suite:
    """These of its units."""
    tree = unpacked("redis")
    for program in _PROGRAMS:
        link = tree / "src" / program
        link.unlink(missing_ok=True)
        link.symlink_to(shutil.which(program) or f"/usr/bin/{program}")
    runs = [word for unit in units or [] for word in ("--single", unit)]

    def command(report: Path, only: str | None) -> list[str]:
        words = ["./runtest", "--clients", "2", *runs, *(["--only", only] if only else [])]
        return printing(report, tree, words)

    return Suite("redis", command, read, seconds=3000)


def read(report: Path) -> dict[str, str]:
    """Outcomes by test name; one of several of a name that did not pass counts."""
    found: dict[str, str] = {}
    for line in report.read_text(errors="replace").splitlines():
        match = _LINE.search(line)
        if match and found.get(match[2], "ok") == "ok":
            found[match[2]] = match[1]
    return found
