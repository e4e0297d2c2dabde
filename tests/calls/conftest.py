"""C programs compiled as the header says: with cc and the pkg-config file."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PKGCONFIG = ROOT / "python/modnet/lib/pkgconfig"


def flags(*questions: str) -> list[str]:
    """What pkg-config says of modnet."""
    environment = os.environ | {"PKG_CONFIG_PATH": str(PKGCONFIG)}
    answer = subprocess.run(
        ["pkg-config", *questions, "modnet"], check=True, capture_output=True, text=True, env=environment
    )
    return answer.stdout.split()


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Compiles a C source; `language` is cc's -x, `standard` its -std."""
    directory = tmp_path_factory.mktemp("calls")

    def build(source: Path, language: str = "c", standard: str = "gnu99") -> Path:
        target = directory / f"{source.stem}-{language}"
        if not target.exists():
            subprocess.run(
                [
                    shutil.which("c++" if language == "c++" else "cc") or "cc",
                    *("-x", language, f"-std={standard}", "-O1", "-Wall", "-Wextra", "-Werror", "-Wpedantic"),
                    *("-o", str(target), str(source), "-x", "none", *flags("--cflags", "--libs")),
                ],
                check=True,
            )
        return target

    return build
