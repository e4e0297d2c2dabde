"""CPython's own network tests, run natively and under a module, compared test by test.

Rules: what passes natively has to pass. A test that differs is run again alone, three times each way, so
that a flaky one is told from a difference; KNOWN is the only way for a difference to be accepted, and every
row has its reason.
"""

import contextlib
import os
import subprocess
import sys
import xml.etree.ElementTree as xml
from dataclasses import dataclass
from pathlib import Path

from tests.lib import census
from tests.lib.place import Place
from tests.lib.process import Program, until
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

# Suites that accept no TCP connection; they show that the shim leaves the rest alone.
WITHOUT_TCP = {"test_selectors"}
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


@dataclass
class Outcomes:
    """Each test's outcome by name, and how many sockets went through the variant's modules meanwhile."""

    tests: dict[str, str]
    stolen: int = 0


def outcomes(variant: str, suite: str, only: str | None = None, seconds: float = 300) -> Outcomes:
    """Runs a suite (or its test `only`). Where it hung or crashed there is no report, and so no outcomes."""
    place = Place(root() if os.geteuid() == 0 else ordinary())
    before = census.take(place)
    found = Outcomes({})
    try:
        report = place.directory / "report.xml"
        # regrtest's own deadline shows where a test hangs.
        command = [python(), "-m", "test", "--timeout", "60", "--junit-xml", str(report), "-v"]
        # With both, regrtest takes no notice of -m.
        command += [*RESOURCES.get(suite, []), *(["-m", only] if only else ["-i", IGNORED]), suite]
        program = Program(place, wrap(place, variant, command), f"{suite}-{variant}")

        def ended() -> bool:
            # The record goes with the process, so its counter is looked at as long as it lives.
            with contextlib.suppress(FileNotFoundError):
                found.stolen = max(found.stolen, census.stolen(place, program.pid))
            return program.process.poll() is not None

        until(ended, seconds, f"{suite} {variant} to end")
        if report.exists():
            found.tests = read(report)
        else:
            print(f"{suite} {variant} ended with {program.process.returncode}:\n{place.logged(last=6000)}")
        return found
    finally:
        census.sweep(before)
        Program.running[:] = [p for p in Program.running if p.place is not place]
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
    passed = [name for name, outcome in native.tests.items() if outcome == "ok"]
    if not passed:
        raise Broken(f"{suite}: nothing passes natively")
    suspects = [name for name in passed if ours.tests.get(name) != "ok"]
    if not ours.stolen and suite not in WITHOUT_TCP:
        raise Broken(f"{suite} {variant}: no socket went through a module")
    passing = len(passed) - len(suspects)
    print(f"{suite} {variant}: {ours.stolen} sockets; {passing} of {len(passed)} that pass natively pass")
    if len(suspects) > MOST_SUSPECTS:
        return {name: ours.tests.get(name, "missing") for name in suspects}
    confirmed = {}
    for name in suspects:
        again = {
            which: [outcomes(which, suite, name).tests.get(name, "missing") for _ in range(3)]
            for which in (NATIVE, variant)
        }
        print(f"  {name}: {ours.tests.get(name, 'missing')} at first, then {again}")
        if again[variant] != ["ok"] * 3 and again[NATIVE] == ["ok"] * 3:
            confirmed[name] = f"{ours.tests.get(name, 'missing')}, then {again[variant]}"
    return confirmed


def unexplained(variant: str, suite: str) -> dict[str, str]:
    """Differences that KNOWN does not explain."""
    return {name: what for name, what in differences(variant, suite).items() if name not in KNOWN}
