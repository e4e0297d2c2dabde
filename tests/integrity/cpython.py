"""CPython's own network tests, run natively and under a module, compared test by test.

Rules: what passes natively has to pass. A test that differs is run again alone, three times each way, so
that a flaky one is told from a difference; KNOWN is the only way for a difference to be accepted, and every
row has its reason.
"""

import os
import subprocess
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

from tests.lib.place import Place
from tests.lib.users import Broken, ordinary, root
from tests.lib.variants import NATIVE, wrap

SHORT = ["test_socketserver", "test_httpservers", "test_selectors"]
# Suites that run only where a resource is granted, though all they use is the loopback.
RESOURCES = {"test_socketserver": ["-u", "network"]}
FULL = [
    "test_socket",
    "test_asyncio",
    "test_ssl",
    "test_httpservers",
    "test_socketserver",
    "test_ftplib",
    "test_selectors",
]

# Never run: a connection over vsock to oneself hangs natively in some virtual machines, and concerns no TCP
# socket.
IGNORED = "*VSOCK*"
# A differing suite with more suspects than this is not flaky.
MOST_SUSPECTS = 12

# Test by name: why it cannot pass under a module.
KNOWN: dict[str, str] = {}


def python() -> str:
    """An interpreter that has its test package; Broken if there is none."""
    for candidate in (sys._base_executable, "/usr/bin/python3"):  # type: ignore[attr-defined]
        if not subprocess.run([candidate, "-c", "import test.test_socket"], capture_output=True).returncode:
            return candidate
    raise Broken(
        "no Python here has its test package: apt-get install libpython3.N-testsuite, N as in its version"
    )


def outcomes(variant: str, suite: str, only: str | None = None, seconds: float = 300) -> dict[str, str]:
    """Runs a suite (or its test `only`) and returns each test's outcome."""
    place = Place(root() if os.geteuid() == 0 else ordinary())
    try:
        report = place.directory / "report.xml"
        chosen = ["-m", only] if only else []
        # regrtest's own deadline shows where a test hangs.
        command = [
            python(),
            "-m",
            "test",
            "--timeout",
            "60",
            "--junit-xml",
            str(report),
            "-i",
            IGNORED,
            *RESOURCES.get(suite, []),
            *chosen,
            "-v",
            suite,
        ]
        done = subprocess.run(
            wrap(place, variant, command),
            cwd=place.directory,
            env=place.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=seconds,
        )
        if not report.exists():
            print(f"{suite} {variant} ended with {done.returncode}:\n{done.stdout[-5000:]}")
            return {}
        return read(report)
    finally:
        place.remove()


def read(report: Path) -> dict[str, str]:
    """Outcomes by test name from regrtest's report."""
    found = {}
    for case in xml.parse(report).getroot().iter("testcase"):
        kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
        found[case.get("name", "")] = kinds.pop() if kinds else "ok"
    return found


def differences(variant: str, suite: str) -> dict[str, str]:
    """Tests that pass natively and not under the variant, with what became of them there."""
    native, ours = outcomes(NATIVE, suite), outcomes(variant, suite)
    passed = [name for name, outcome in native.items() if outcome == "ok"]
    if not passed:
        raise Broken(f"{suite}: nothing passes natively")
    suspects = [name for name in passed if ours.get(name) != "ok"]
    print(f"{suite} {variant}: of {len(passed)} tests that pass natively {len(passed) - len(suspects)} pass")
    if len(suspects) > MOST_SUSPECTS:
        return {name: ours.get(name, "missing") for name in suspects}
    confirmed = {}
    for name in suspects:
        again = {
            which: [outcomes(which, suite, name).get(name, "missing") for _ in range(3)]
            for which in (NATIVE, variant)
        }
        print(f"  {name}: {ours.get(name, 'missing')} at first, then {again}")
        if again[variant] != ["ok"] * 3 and again[NATIVE] == ["ok"] * 3:
            confirmed[name] = f"{ours.get(name, 'missing')}, then {again[variant]}"
    return confirmed


def unexplained(variant: str, suite: str) -> dict[str, str]:
    """Differences that KNOWN does not explain."""
    return {name: what for name, what in differences(variant, suite).items() if name not in KNOWN}
