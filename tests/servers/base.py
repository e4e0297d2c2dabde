"""What a server is to the tests, and its life from readiness to the last process.

Rules: ready means listening (and answering, where a server listens before it can), found by polling. After
the end, a census must equal the one before: modules end with their last user.
It must not know any particular server.
"""

import contextlib
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.lib import census
from tests.lib.place import Place
from tests.lib.process import Program, descendants, listening, until
from tests.lib.users import Broken, User
from tests.lib.variants import NATIVE, module_names, wrap


@dataclass(frozen=True)
class Traits:
    """What an HTTP client may do with a server, and what it sees natively."""

    # How a body is sent to it: "put" (and fetched again), "post" (/hash and /echo), or not at all.
    upload: str | None = None
    # What a client sees that half-closes after its request. Every server here answers in full, some may cut.
    half_close: frozenset[str] = frozenset({"ok"})
    # What follows a request that says `Connection: close` while more requests lie behind it, unread.
    unread: frozenset[str] = frozenset({"ok", "short", "reset"})
    # A path at which the server resets the connection in the middle of a body.
    reset: str | None = None
    # Whether it closes a connection soon after its client has gone.
    tidy: bool = True
    # Prefix of the upload paths.
    scripts: str = ""
    suffix: str = ""


@dataclass(frozen=True)
class Server:
    """How to run a server in a place whose `www` directory holds the files to serve."""

    name: str
    needs: tuple[str, ...]
    command: Callable[[Place, Path], list[str]]
    traits: Traits = Traits()
    stop_signal: int = signal.SIGTERM
    # Asked after the port listens, for servers that listen before they can answer.
    answers: Callable[[Place], bool] | None = None
    # RLIMIT_NOFILE for servers with many connections; 0 leaves it.
    descriptors: int = 0


@dataclass(frozen=True)
class Running:
    """A server that is up."""

    server: Server
    place: Place
    program: Program
    variant: str

    @property
    def pid(self) -> int:
        """The command itself: `modnet run` has become it."""
        return self.program.pid

    def family(self) -> list[int]:
        """The server's own processes, its modules left out."""
        modules = set(self.modules().values())
        return [p for p in [self.pid, *descendants(self.pid)] if p not in modules]

    def modules(self) -> dict[str, int]:
        """The living modules of its variant and their processes."""
        found = {name: census.module_pid(self.place, name) for name in module_names(self.variant)}
        return {name: pid for name, pid in found.items() if pid is not None}

    def stolen(self) -> int:
        """Connections that went to the chain so far; 0 natively."""
        return 0 if self.variant == NATIVE else census.stolen(self.place, self.pid)


def require(*programs: str) -> None:
    """Raises Broken naming the programs that are not installed."""
    places = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    missing = [p for p in programs if not shutil.which(p, path=places)]
    if missing:
        raise Broken(f"not installed: {', '.join(missing)} (apt-get install what CONTRIBUTING.md lists)")


def start(server: Server, place: Place, variant: str, www: Path) -> Running:
    """Starts a server in `place` and waits until it answers."""
    require(*server.needs)
    program = Program(
        place, wrap(place, variant, server.command(place, www)), server.name, server.descriptors
    )
    program.wait_for(lambda: listening(place.port), 30, f"a listener on port {place.port}")
    if server.answers:
        answers = server.answers
        program.wait_for(lambda: answers(place), 30, "an answer")
    return Running(server, place, program, variant)


@contextlib.contextmanager
def running(server: Server, user: User, variant: str, www: Path) -> Iterator[Running]:
    """A server for the time of a `with` block; nothing of it is there afterwards, or Broken says what is."""
    place = Place(user)
    before = census.take(place)
    try:
        up = start(server, place, variant, www)
        yield up
        if up.program in Program.running:
            up.program.stop(server.stop_signal)
        census.wait_same(place, before)
    finally:
        census.sweep(before)
        Program.running[:] = [p for p in Program.running if p.place is not place]
        place.remove()


def idle(most: dict[int, int], seconds: float) -> None:
    """Waits until each process has at most as many descriptors as `most` says."""
    try:
        until(
            lambda: all(census.descriptors(pid) <= n for pid, n in most.items()), seconds, "descriptors to go"
        )
    except Broken as error:
        now = {pid: census.descriptors(pid) for pid in most}
        raise Broken(f"{error}: now {now}, at most {most}") from None
