"""Other projects' test suites, run natively and under a module, compared test by test.

Rules: what passes natively has to pass. A test that differs is run again alone, three times each way, so
that a flaky one is told from a difference; a suite's `known` is the only way for a difference to be accepted,
and every row has its reason.
"""

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.lib import census
from tests.lib.place import Place
from tests.lib.process import Program, until
from tests.lib.users import Broken, ordinary, root
from tests.lib.variants import NATIVE, wrap

# A differing suite with more suspects than this is not flaky.
MOST_SUSPECTS = 12


@dataclass(frozen=True)
class Suite:
    """One suite: how it is run, how its report is read."""

    name: str
    # The command, given where the report goes, and the one test to run or None.
    command: Callable[[Path, str | None], list[str]]
    # Outcomes by test name, "ok" among them, from the report.
    read: Callable[[Path], dict[str, str]]
    # Test by name: why it cannot pass under a module.
    known: Mapping[str, str] = field(default_factory=dict)
    # Whether it accepts TCP connections; one that does not shows that the shim leaves the rest alone.
    accepts: bool = True
    # How long it may take; of which a hang is told.
    seconds: float = 300


def printing(report: Path, folder: Path, words: list[str]) -> list[str]:
    """A suite's command that runs in that folder, and whose report is what it prints: too much for a log."""
    script = 'cd "$1" && report=$2 && shift 2 && exec "$@" >"$report" 2>&1'
    return ["sh", "-c", script, "sh", str(folder), str(report), *words]


@dataclass
class Outcomes:
    """Each test's outcome by name, and how many sockets went through the variant's modules meanwhile."""

    tests: dict[str, str]
    stolen: int = 0


def outcomes(variant: str, suite: Suite, only: str | None = None) -> Outcomes:
    """Runs a suite (or its test `only`). Where it hung or crashed there is no report, and so no outcomes."""
    place = Place(root() if os.geteuid() == 0 else ordinary())
    before = census.take(place)
    found = Outcomes({})
    try:
        report = place.directory / "report"
        command = suite.command(report, only)
        program = Program(place, wrap(place, variant, command), f"{suite.name}-{variant}")

        def ended() -> bool:
            # The record goes with the process, so its counter is looked at as long as it lives.
            with contextlib.suppress(FileNotFoundError):
                found.stolen = max(found.stolen, census.stolen(place, program.pid))
            return program.process.poll() is not None

        until(ended, suite.seconds, f"{suite.name} {variant} to end")
        if report.exists():
            found.tests = suite.read(report)
        else:
            print(
                f"{suite.name} {variant} ended with {program.process.returncode}:\n{place.logged(last=6000)}"
            )
        return found
    finally:
        census.sweep(before)
        Program.running[:] = [p for p in Program.running if p.place is not place]
        place.remove()


def differences(variant: str, suite: Suite) -> dict[str, str]:
    """Tests that pass natively and not under the variant, with what became of them there."""
    native, ours = outcomes(NATIVE, suite), outcomes(variant, suite)
    passed = [name for name, outcome in native.tests.items() if outcome == "ok"]
    if not passed:
        raise Broken(f"{suite.name}: nothing passes natively")
    suspects = [name for name in passed if ours.tests.get(name) != "ok"]
    if not ours.stolen and suite.accepts:
        raise Broken(f"{suite.name} {variant}: no socket went through a module")
    passing = len(passed) - len(suspects)
    print(
        f"{suite.name} {variant}: {ours.stolen} sockets; {passing} of {len(passed)} that pass natively pass"
    )
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


def unexplained(variant: str, suite: Suite) -> dict[str, str]:
    """Differences that the suite does not know."""
    return {name: what for name, what in differences(variant, suite).items() if name not in suite.known}
