"""As whom a server runs, and which Python that user can start `modnet` with.

Rules: the ordinary user is `nobody` where the tests run as root, and the tests' own user otherwise. A user
that cannot reach this clone (it may be below a directory that is closed to others) gets a copy. It must not
fall back to another user in silence: what cannot be had is an error.
"""

import atexit
import functools
import os
import pwd
import shutil
import stat
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


class Broken(Exception):
    """Something that a test needs did not come about; the message says what to do."""


@dataclass(frozen=True)
class User:
    """A user by the numbers that a child process takes on."""

    name: str
    uid: int
    gid: int

    @property
    def is_self(self) -> bool:
        return self.uid == os.geteuid()


def root() -> User:
    return User("root", 0, 0)


def ordinary() -> User:
    """`nobody` where the tests run as root, else whoever runs them."""
    entry = pwd.getpwuid(os.geteuid()) if os.geteuid() else pwd.getpwnam("nobody")
    return User(entry.pw_name, entry.pw_uid, entry.pw_gid)


def open_to_others(path: Path) -> bool:
    """Whether anybody can read `path` (and run it or enter it, where its owner can)."""
    for place in path.parents:
        if not place.stat().st_mode & stat.S_IXOTH:
            return False
    mode = path.stat().st_mode
    return bool(mode & stat.S_IROTH) and (not mode & stat.S_IXUSR or bool(mode & stat.S_IXOTH))


@functools.cache
def interpreter(user: User) -> str:
    """A Python, 3.11 or newer, that `user` can run."""
    candidates = [sys.executable, sys._base_executable, "/usr/bin/python3"]  # type: ignore[attr-defined]
    for candidate in candidates:
        path = Path(candidate)
        if user.is_self or (path.exists() and open_to_others(path.resolve())):
            return candidate
    raise Broken(f"no Python that {user.name} can run ({', '.join(candidates)}): apt-get install python3")


@functools.cache
def python_path(user: User) -> str:
    """PYTHONPATH with which `interpreter(user)` finds `modnet` and what it depends on."""
    parts = [REPOSITORY / "python", *(Path(p) for p in sys.path if p.endswith("site-packages"))]
    if user.is_self or all(open_to_others(part) for part in parts):
        return ":".join(map(str, parts))
    stage = Path(tempfile.mkdtemp(prefix="mn-stage-"))
    atexit.register(shutil.rmtree, stage, ignore_errors=True)
    stage.chmod(0o755)
    for number, part in enumerate(parts):
        shutil.copytree(part, stage / str(number), ignore=shutil.ignore_patterns("__pycache__"))
    return ":".join(str(stage / str(number)) for number in range(len(parts)))
