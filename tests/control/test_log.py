"""The log of a module: its directory is everybody's who starts or ends."""

import subprocess
import sys
from pathlib import Path

from tests.lib.modnet import Modnet, ended
from tests.lib.process import until

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


# When the log turns, it gets a lower number, and the file that is opened then the log's former one.
DIES = """
import os, signal, modnet

class Dies(modnet.Module):
    def start(self):
        self.low = os.open(os.devnull, os.O_RDONLY)
        self.every(0.001, self.tick)

    def tick(self):
        if self.low < 0:
            return
        os.close(self.low)
        self.low = -1
        for _ in range(2):
            print("x" * (1 << 20))
        others = [os.open(PATH, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) for _ in range(20)]
        os.kill(os.getpid(), signal.SIGSEGV)
"""


def test_what_a_module_died_of_stands_in_the_log_and_in_nobody_elses_file(modnet: Modnet) -> None:
    other = modnet.place.directory / "other"
    path = modnet.place.write("dies.py", DIES.replace("PATH", repr(str(other))))
    running = modnet.server(f"{path}:Dies")
    log = modnet.runtime / "log" / "dies.log"
    until(lambda: not modnet.running("modnet.host"), 20, "the module to die")
    ended(running)
    assert "Fatal Python error: Segmentation fault" in log.read_text()
    assert other.read_bytes() == b""
    for file in log.parent.iterdir():
        file.unlink()
    log.parent.rmdir()
