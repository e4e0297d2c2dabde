"""CPython's own network tests, run natively and under a module, compared test by test.

Rules: what passes natively has to pass. A test that differs is run again alone, three times each way, so that a flaky
one is told from a difference; KNOWN is the only way for a difference to be accepted, and every row has its reason.
"""

import subprocess
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

from tests.lib.place import Place
from tests.lib.users import Broken, root, ordinary
from tests.lib.variants import NATIVE, wrap

SHORT = ["test_socketserver", "test_httpservers", "test_selectors"]
FULL = ["test_socket", "test_asyncio", "test_ssl", "test_httpservers", "test_socketserver", "test_ftplib",
        "test_selectors"]

# Test by name: why it cannot pass under a module.
KNOWN: dict[str, str] = {}


def python() -> str:
    """An interpreter that has its test package; Broken if there is none."""
    for candidate in (sys._base_executable, "/usr/bin/python3"):  # type: ignore[attr-defined]
        if not subprocess.run([candidate, "-c", "import test.test_socket"], capture_output=True).returncode:
            return candidate
    raise Broken("no Python here has its test package: apt-get install libpython3-testsuite")


def outcomes(variant: str, suites: list[str], only: list[str] | None = None, seconds: float = 900) -> dict[str, str]:
    """Runs suites (or the tests `only` of them) and returns each test's outcome."""
    import os
    place = Place(root() if os.geteuid() == 0 else ordinary())
    try:
        report = place.directory / "report.xml"
        chosen = [part for name in only or [] for part in ("-m", name)]
        command = [python(), "-m", "test", "--junit-xml", str(report), *chosen, *suites]
        environment = place.environment()
        done = subprocess.run(
            wrap(place, variant, command), cwd=place.directory, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=seconds)
        if not report.exists():
            raise Broken(f"{' '.join(suites)} {variant} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
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


def differences(variant: str, suites: list[str]) -> dict[str, str]:
    """Tests that pass natively and not under the variant, with what became of them there."""
    native, ours = outcomes(NATIVE, suites), outcomes(variant, suites)
    passed = [name for name, outcome in native.items() if outcome == "ok"]
    print(f"{variant}: {len(native)} tests, {len(passed)} pass natively, "
          f"{sum(ours.get(name) == 'ok' for name in passed)} of these under it")
    suspects = [name for name in passed if ours.get(name) != "ok"]
    confirmed = {}
    for name in suspects:
        again = {which: [outcomes(which, suites, [name]).get(name, "missing") for _ in range(3)]
                 for which in (NATIVE, variant)}
        print(f"  {name}: {ours.get(name, 'missing')} at first, then {again}")
        if again[variant] != ["ok"] * 3 and again[NATIVE] == ["ok"] * 3:
            confirmed[name] = f"{ours.get(name, 'missing')}, then {again[variant]}"
    return confirmed


def unexplained(variant: str, suites: list[str]) -> dict[str, str]:
    """Differences that KNOWN does not explain."""
    return {name: what for name, what in differences(variant, suites).items() if name not in KNOWN}
