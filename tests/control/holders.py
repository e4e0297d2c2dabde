"""Processes that take names, for the tests of the registry."""

import subprocess
from pathlib import Path

from tests.lib.modnet import SECONDS, Modnet
from tests.lib.users import interpreter

SCRIPT = Path(__file__).with_name("holder.py")


class Holder:
    """A process that is about to take `name`."""

    def __init__(self, modnet: Modnet, name: str, **more) -> None:
        script = modnet.place.directory / SCRIPT.name
        if not script.exists():
            modnet.place.copy(SCRIPT)
        self.process = subprocess.Popen(
            [interpreter(modnet.place.user), str(script), str(modnet.runtime), name],
            env=modnet.place.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **(modnet.as_user() | more),
        )
        self.pid = self.process.pid

    def take(self) -> None:
        """Lets it go for the name; `took` waits for what comes of it."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def ready(self) -> None:
        assert self.process.stdout.readline() == "ready\n"

    def took(self) -> int:
        """0, or the errno of the refusal."""
        return int(self.answer().split()[0])

    def answer(self) -> str:
        return self.process.stdout.readline()

    def end(self) -> None:
        """Gives the name back and ends."""
        self.process.communicate(timeout=SECONDS)

    def kill(self) -> None:
        """kill -9, waited for."""
        self.process.kill()
        self.process.communicate(timeout=SECONDS)


def holding(modnet: Modnet, name: str) -> Holder:
    """A process that has the name."""
    holder = Holder(modnet, name)
    holder.ready()
    holder.take()
    assert holder.took() == 0
    return holder
