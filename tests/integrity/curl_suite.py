"""curl's own tests, from its source package: servers in C and Perl, and the client as built by them."""

import os
import re
import subprocess
from pathlib import Path

from tests.integrity.sources import unpacked
from tests.integrity.suites import Suite, printing
from tests.lib.users import Broken

# No TLS, which would be one more library; no servers of ssh, which are not its own.
_CONFIGURE = ["./configure", "--quiet", "--without-ssl", "--without-libpsl", "--disable-shared"]
_LEFT_OUT = ["!SFTP", "!SCP"]
_RESULT = re.compile(r"^test (\d+)\.\.\.\[(.*)\]$")


def suite() -> Suite:
    """All of them; builds it first, which takes minutes."""
    tree = unpacked("curl")
    if not (tree / "tests/server/sws").exists():
        _build(tree)

    def command(report: Path, only: str | None) -> list[str]:
        tests = [only.partition(" ")[0]] if only else _LEFT_OUT
        # Where nobody has said who it is, its scripts stop.
        user = f"USER={os.environ.get('USER') or 'root'}"
        return printing(
            report, tree / "tests", ["env", user, "perl", "runtests.pl", "-a", "-n", "-k", *tests]
        )

    return Suite("curl", command, read, seconds=3000)


def _build(tree: Path) -> None:
    cores = f"-j{os.cpu_count()}"
    for command in (_CONFIGURE, ["make", "-s", cores], ["make", "-s", cores, "-C", "tests"]):
        done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
        if done.returncode:
            raise Broken(f"curl: {' '.join(command)}: {done.stderr.strip()[-500:]}")


def read(report: Path) -> dict[str, str]:
    """Outcomes by number and name."""
    found: dict[str, str] = {}
    now = ""
    for line in report.read_text(errors="replace").splitlines():
        match = _RESULT.match(line)
        if match:
            now = f"{int(match[1])} {match[2]}"
        elif now and (" OK (" in line or "FAILED" in line or "SKIPPED" in line):
            found.setdefault(now, "ok" if " OK (" in line else "failure" if "FAILED" in line else "skipped")
    return found
