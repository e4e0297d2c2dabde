"""A bpf file system of the tests' own, with inspection enabled in it; programs that read, as any user.

Rules: `/sys/fs/bpf` is left alone: what a machine has enabled goes on beside the tests. Must not: leave a
mount or a program behind.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from experiments.inspection.reads import rust
from tests.lib.users import User, interpreter, python_path

MODNET = [sys.executable, "-m", "modnet"]
NAMESPACE = "mn-inspect"
HERE, THERE = "10.211.7.1", "10.211.7.2"
HERE_6, THERE_6 = "fd11:7::1", "fd11:7::2"


class Enabled:
    """Inspection in a place of its own."""

    def __init__(self, mount: Path) -> None:
        self.mount = mount
        self.directory = mount / "modnet"
        self.environment = os.environ | {"MODNET_BPF_DIR": str(self.directory)}

    def inspect(self, *arguments: str) -> subprocess.CompletedProcess:
        """`modnet inspect ARGUMENTS`."""
        return subprocess.run(
            [*MODNET, "inspect", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def enable(self, *arguments: str) -> None:
        done = self.inspect("enable", *arguments)
        assert done.returncode == 0, done.stderr

    def disable(self) -> None:
        if self.directory.exists():
            done = self.inspect("disable")
            assert done.returncode == 0, done.stderr

    def counters(self) -> dict[str, int]:
        return json.loads(self.inspect("status", "--json").stdout)["counters"]


@pytest.fixture
def place() -> Iterator[Enabled]:
    """A bpf file system in which nothing is enabled."""
    with tempfile.TemporaryDirectory(prefix="mn-bpf-") as name:
        mount = Path(name) / "fs"
        mount.mkdir()
        Path(name).chmod(0o755)
        subprocess.run(["mount", "-t", "bpf", "bpf", str(mount)], check=True)
        enabled = Enabled(mount)
        try:
            yield enabled
        finally:
            enabled.disable()
            subprocess.run(["umount", str(mount)], check=True)


@pytest.fixture
def enabled(place: Enabled) -> Enabled:
    """Enabled for root, with a sum in each state."""
    place.enable("--check")
    return place


@pytest.fixture(scope="session")
def reads() -> Callable[..., list[str]]:
    """The command line of the Rust reader, built as a release."""
    program = rust()
    return lambda *arguments: [str(program), *map(str, arguments)]


def run_python(script: str, *arguments: str, user: User | None = None, **environment: str) -> object:
    """Runs a script that prints JSON, as `user` and in that environment."""
    given = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"} | environment
    more = {}
    python = sys.executable
    if user is not None and not user.is_self:
        python = interpreter(user)
        given["PYTHONPATH"] = python_path(user)
        more = {"user": user.uid, "group": user.gid, "extra_groups": []}
    done = subprocess.run(
        [python, "-c", script, *arguments],
        env=given,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        **more,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def veth() -> Iterator[None]:
    """Another host: a network namespace at the end of a veth pair."""

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    ip("netns", "add", NAMESPACE)
    try:
        ip("link", "add", "mn-here", "type", "veth", "peer", "name", "mn-there", "netns", NAMESPACE)
        for where, device, addresses in (
            ((), "mn-here", (f"{HERE}/24", f"{HERE_6}/64")),
            (("-n", NAMESPACE), "mn-there", (f"{THERE}/24", f"{THERE_6}/64")),
        ):
            for address in addresses:
                ip(*where, "addr", "add", address, "dev", device, *(["nodad"] if ":" in address else []))
            ip(*where, "link", "set", device, "up")
        yield
    finally:
        ip("netns", "del", NAMESPACE)
