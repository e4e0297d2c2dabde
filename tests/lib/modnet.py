"""A runtime directory of its own for one test, the `modnet` command in it, and nothing left behind
afterwards.

Rules: `modnet` runs as a user would start it; what a test leaves is found by a census and fails it.
Must not: look inside the package.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.lib import census
from tests.lib.place import Place
from tests.lib.process import descendants, reap_orphans
from tests.lib.users import Broken, User

SECONDS = 30


class Modnet:
    """The command in one place."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.runtime = place.runtime

    def argv(self, *arguments: str) -> list[str]:
        return self.place.modnet(*arguments)

    def popen(self, *arguments: str, **more) -> subprocess.Popen:
        """Starts `modnet ARGUMENTS`; its output can be read."""
        given = {
            "env": self.place.environment(),
            "cwd": self.place.directory,
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            **self.as_user(),
        }
        return subprocess.Popen(self.argv(*arguments), **(given | more))

    def as_user(self) -> dict:
        user = self.place.user
        return {} if user.is_self else {"user": user.uid, "group": user.gid, "extra_groups": [user.gid]}

    def __call__(self, *arguments: str, **more) -> subprocess.CompletedProcess:
        """Runs `modnet ARGUMENTS` to its end."""
        with self.popen(*arguments, **more) as process:
            out, err = process.communicate(timeout=SECONDS)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def refused(self, *arguments: str, **more) -> str:
        """Runs it, checks that it fails in one line and starts nothing; the line."""
        done = self(*arguments, **more)
        assert done.returncode != 0, done
        assert done.stdout == "", done.stdout
        lines = done.stderr.splitlines()
        assert len(lines) == 1 and lines[0].startswith("modnet: "), done.stderr
        assert "Traceback" not in done.stderr
        return lines[0]

    def server(self, *modules: str, options: Sequence[str] = ()) -> subprocess.Popen:
        """`modnet run -m …` of a program that does nothing until its input ends."""
        chain = [word for module in modules for word in ("-m", module)]
        running = self.popen(
            "run", *chain, *options, "--", "sh", "-c", "echo here; cat", stdin=subprocess.PIPE
        )
        if running.stdout.readline() != "here\n":
            raise AssertionError(running.communicate()[1])
        return running

    def running(self, module: str) -> list[int]:
        """Our descendants that run the Python module `module` for this place; others' places have theirs."""
        found = []
        place = f"MODNET_RUNTIME_DIR={self.runtime}".encode()
        for pid in descendants(os.getpid()):
            # One that has gone since is not running.
            with contextlib.suppress(OSError):
                words, given = (Path(f"/proc/{pid}/{of}").read_bytes() for of in ("cmdline", "environ"))
                if module.encode() in words.split(b"\0") and place in given.split(b"\0"):
                    found.append(pid)
        return found

    def files(self) -> set[str]:
        """All files of the registry that belong to a module or a process."""
        return set(census.take(self.place).files)


def ended(running: subprocess.Popen) -> tuple[str, str]:
    """Closes the input of `server()`'s program and waits for it; what it had still to say."""
    out, err = running.communicate(timeout=SECONDS)
    return out, err


def places(user: User | None = None) -> Iterator[Modnet]:
    """For a fixture: a place; fails if anything is left in it when the test is over."""
    place = Place(user or User("self", os.geteuid(), os.getegid()))
    before = census.take(place)
    try:
        yield Modnet(place)
        try:
            census.wait_same(place, before)
        except Broken as error:
            # Whom modules that stay believe to be their users.
            error.add_note(Modnet(place)("ps", "--json").stdout)
            raise
    finally:
        census.sweep(before)
        reap_orphans()
        shutil.rmtree(place.directory)
