"""`make demo`: what it prints, and that it leaves nothing.

Rules: the speeds are not judged here, `experiments` does that; the bodies, the sockets' way and the end are.
"""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lib.process import descendants, reap_orphans, until

ROOT = Path(__file__).resolve().parents[2]
DEMO = [sys.executable, "examples/demo/demo.py"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]


def left_behind() -> list[str]:
    """Our descendants that are still there, by command."""
    reap_orphans()
    return [Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ") for pid in descendants(os.getpid())]


def wait_until_all_gone(before: list[str]) -> None:
    until(lambda: len(left_behind()) <= len(before), 20, f"the demo's processes to end: {left_behind()}")


def directories() -> set[Path]:
    return set(Path("/tmp").glob("modnet-demo-*"))


@pytest.fixture
def busy_port_80():
    """Somebody on port 80, as on a machine that has nginx already; they may be there before us."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("0.0.0.0", 80))
            taken.listen()
        except PermissionError:
            pass  # an ordinary user: then nothing of ours could take the port either
        except OSError:
            pass  # taken already, which is what we want
        yield


def test_the_demo_shows_a_table_and_leaves_nothing(busy_port_80):
    before, places = left_behind(), directories()
    done = subprocess.run(DEMO, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    rows = {}
    for line in done.stdout.splitlines():
        found = re.match(
            r"\s*(100 B, new|1 KB, kept)\s+(nginx alone|\+ forwarder|\+ shout\.py)\s+([\d,]+)", line
        )
        if found:
            rows[found[1], found[2]] = int(found[3].replace(",", "")), line
    assert len(rows) == 6, done.stdout
    assert all(rate > 0 for rate, _ in rows.values())
    assert all("in capitals" in line for (_, by), (_, line) in rows.items() if by == "+ shout.py")
    assert all("as they are" in line for (_, by), (_, line) in rows.items() if by != "+ shout.py")
    assert len(left_behind()) <= len(before), left_behind()
    assert directories() == places


def test_a_demo_that_is_told_to_end_leaves_nothing():
    before, places = left_behind(), directories()
    demo = subprocess.Popen(DEMO, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    until(lambda: any("wrk" in line for line in left_behind()), 60, "the demo to measure")
    demo.send_signal(signal.SIGTERM)
    demo.communicate(timeout=60)
    assert demo.returncode == 128 + signal.SIGTERM
    wait_until_all_gone(before)
    assert directories() == places


def test_without_nginx_the_demo_says_what_is_missing(tmp_path):
    for name in ("wrk", "taskset"):
        (tmp_path / name).symlink_to("/bin/true")
    (tmp_path / "demo.py").write_text(
        "import os, shutil, sys\n"
        f"sys.path.insert(0, {str(ROOT / 'examples' / 'demo')!r})\n"
        "which = shutil.which\n"
        "shutil.which = lambda name, path=None: None if name == 'nginx' else which(name, path=path)\n"
        "import demo\n"
        "sys.exit(demo.main())\n"
    )
    done = subprocess.run([sys.executable, tmp_path / "demo.py"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == "demo: nginx is not installed: apt-get install nginx-light\n"
