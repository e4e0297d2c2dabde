"""Tests of the shim alone: a program under it, and a peer in the test's process instead of the engine."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.shim.host")

from tests.shim.host import SHIM, Host  # noqa: E402
from tests.shim.pooled import Module  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def built() -> None:
    if not SHIM.exists():
        pytest.exit(f"{SHIM} is missing: make build, or name it in MODNET_SHIM", returncode=2)


@pytest.fixture(scope="session")
def module() -> Iterator[Module]:
    module = Module()
    try:
        yield module
    finally:
        module.stop()


@pytest.fixture
def host(module: Module) -> Iterator[Host]:
    host = Host(module)
    try:
        yield host
    finally:
        host.close()


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Compiles tests/shim/c/NAME.c, with further arguments to the compiler."""
    directory = tmp_path_factory.mktemp("c")

    def build(name: str, *arguments: str, suffix: str = "") -> Path:
        source = Path(__file__).parent / "c" / f"{name}.c"
        target = directory / f"{name}-{abs(hash(arguments))}{suffix}"
        if not target.exists():
            compiler = shutil.which("cc") or "cc"
            subprocess.run(
                [
                    compiler,
                    "-O1",
                    "-Wall",
                    "-Wno-unused-result",
                    "-pthread",
                    str(source),
                    "-o",
                    str(target),
                    *arguments,
                ],
                check=True,
            )
        return target

    return build
