"""One server's own place: a directory below /tmp, a port, a runtime directory, an environment.

Rules: the path is short (a UNIX socket's name below it has 108 bytes) and open to others (workers drop their
privileges). Everything goes with `remove()`.
It must not start anything.
"""

import os
import random
import shutil
import socket
import tempfile
from pathlib import Path

from tests.lib.users import User, interpreter, python_path

# Below the range from which clients' ports are taken (32768-60999), so that no client sits on a server's
# port.
PORTS = range(20000, 32000)


def free_port() -> int:
    """A port nobody is bound to, on any address."""
    for port in random.SystemRandom().sample(PORTS, 200):
        with socket.socket(socket.AF_INET6) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            try:
                probe.bind(("::", port))
            except OSError:
                continue
            return port
    raise OSError(f"200 ports of {PORTS} are all taken")


class Place:
    """Where one server lives while it runs as `user`."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="mn-"))
        self.directory.chmod(0o755)
        self.runtime = self.directory / "run"
        self.logs = self.directory / "logs"
        for path in (self.runtime, self.logs, self.directory / "tmp", self.directory / "uploads"):
            path.mkdir()
        self.runtime.chmod(0o711)
        # Workers of a server that root starts are another user, and write here.
        for name in ("uploads", "tmp"):
            (self.directory / name).chmod(0o777)
        if not user.is_self:
            for path in (self.directory, *self.directory.iterdir()):
                os.chown(path, user.uid, user.gid)

    def write(self, name: str, text: str) -> Path:
        """Writes a file that the user can read."""
        path = self.directory / name
        path.write_text(text)
        path.chmod(0o644)
        return path

    def copy(self, source: Path) -> Path:
        """Copies a script here, since the clone may be closed to the user."""
        return self.write(source.name, source.read_text())

    def environment(self) -> dict[str, str]:
        """What the server, and the modules started beside it, are given."""
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
            "HOME": str(self.directory),
            "LANG": "C.UTF-8",
            "TMPDIR": str(self.directory / "tmp"),
            "MODNET_RUNTIME_DIR": str(self.runtime),
            "PYTHONPATH": python_path(self.user),
            "PYTHONDONTWRITEBYTECODE": "1",
            # Every suite can be run both ways: MODNET_PAIRS=pooled make test.
            **{name: os.environ[name] for name in ("MODNET_PAIRS",) if name in os.environ},
        }

    def modnet(self, *arguments: str) -> list[str]:
        """The `modnet` command, as this user runs it."""
        return [interpreter(self.user), "-m", "modnet", *arguments]

    def logged(self, last: int = 3000) -> str:
        """The end of every log, for a failure's message."""
        parts = []
        for path in [*sorted(self.logs.iterdir()), *sorted(self.runtime.glob("log/*"))]:
            text = path.read_text(errors="replace")[-last:].strip()
            if text:
                parts.append(f"--- {path.name}\n{text}")
        return "\n".join(parts)

    def remove(self) -> None:
        shutil.rmtree(self.directory)
