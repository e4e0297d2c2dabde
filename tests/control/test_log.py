"""The log of a module: its directory is everybody's who starts or ends."""

import subprocess
import sys
from pathlib import Path

# Others remove the empty directory between its making and the file's, three times.
OPENS = """
import os, sys
from modnet.log import Log
log = Log(sys.argv[1], "m")
real, removed = os.open, []
def robbed(path, *arguments):
    if len(removed) < 3:
        os.rmdir(log.path.parent)
        removed.append(path)
    return real(path, *arguments)
os.open = robbed
log.open()
assert len(removed) == 3 and log.path.exists()
"""


def test_a_log_opens_while_others_remove_the_empty_directory(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPENS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
