"""Runs tornado's tests and writes their outcomes: `tornado_runner.py REPORT NAME…`.

This is the program that runs natively or under a module, so it knows nothing of ours.
"""

import json
import logging
import sys
import unittest
from pathlib import Path


class Outcomes(unittest.TextTestResult):
    """Keeps each test's outcome; one that is told twice keeps the first."""

    def __init__(self, *arguments: object, **settings: object) -> None:
        super().__init__(*arguments, **settings)  # type: ignore[arg-type]
        self.outcomes: dict[str, str] = {}

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        self.outcomes.setdefault(test.id(), "ok")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        super().addSkip(test, reason)
        self.outcomes[test.id()] = "skipped"

    def addFailure(self, test: unittest.TestCase, err: object) -> None:
        super().addFailure(test, err)  # type: ignore[arg-type]
        self.outcomes[test.id()] = "failure"

    def addError(self, test: unittest.TestCase, err: object) -> None:
        super().addError(test, err)  # type: ignore[arg-type]
        self.outcomes[test.id()] = "error"

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: object) -> None:
        super().addSubTest(test, subtest, err)  # type: ignore[arg-type]
        if err is not None:
            self.outcomes[test.id()] = "failure"


def main(report: str, *names: str) -> None:
    # As tornado's own runner does: its tests fail where anything is logged.
    logging.getLogger("tornado.access").setLevel(logging.CRITICAL)
    tests = unittest.defaultTestLoader.loadTestsFromNames(names)
    runner = unittest.TextTestRunner(resultclass=Outcomes, verbosity=2)
    result = runner.run(tests)
    assert isinstance(result, Outcomes)
    Path(report).write_text(json.dumps(result.outcomes))


if __name__ == "__main__":
    main(*sys.argv[1:])
