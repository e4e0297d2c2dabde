"""Runs node's tests and writes their outcomes: `node_runner.py REPORT TREE PATTERN…`.

This is the program that runs natively or under a module, so it knows nothing of ours.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

# Its own runner allows 120; what natively takes longer than this is left out.
SECONDS = 30


def run(test: Path, folder: str) -> str:
    """One test's outcome."""
    flags = re.search(r"^// Flags: (.*)$", test.read_text(errors="replace"), re.MULTILINE)
    command = ["node", *(flags[1].split() if flags else []), str(test)]
    environment = {**os.environ, "NODE_TEST_DIR": folder, "TEST_THREAD_ID": "0"}
    null = subprocess.DEVNULL
    # In a session of its own, so that what it has started ends with it.
    process = subprocess.Popen(
        command,
        stdin=null,
        stdout=null,
        stderr=null,
        env=environment,
        cwd=test.parents[2],
        start_new_session=True,
    )
    try:
        return "ok" if process.wait(SECONDS) == 0 else "failure"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return "timeout"


def main(report: Path, tree: Path, patterns: list[str]) -> None:
    tests = sorted({test for pattern in patterns for test in tree.glob(pattern)})
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for test in tests:
            found[str(test.relative_to(tree))] = run(test, folder)
    report.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
