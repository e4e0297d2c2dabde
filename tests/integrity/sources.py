"""Source packages of the system, for the tests of projects whose binary packages bring none.

They are kept in target/sources and unpacked once. apt's own lists stay as they are.
"""

import fcntl
import re
import subprocess
from pathlib import Path

from tests.lib.users import Broken

CACHE = Path(__file__).parents[2] / "target" / "sources"
_APT = Path("/etc/apt")


def unpacked(package: str) -> Path:
    """The folder with the upstream sources of a package; Broken where the system cannot have them."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = CACHE / package
        if not folder.exists():
            _fetch(package)
            _unpack(package, folder)
        return folder


def _fetch(package: str) -> None:
    """Its upstream archives, whatever becomes of Debian's own part."""
    lists = CACHE / "lists"
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    (CACHE / "of.sources").write_text(_sources("sources", r"^Types:.*$", "Types: deb-src"))
    (CACHE / "of.list").write_text(_sources("list", r"^deb ", "deb-src "))
    parts = CACHE / "parts"
    parts.mkdir(exist_ok=True)
    for name in ("of.sources", "of.list"):
        (CACHE / name).replace(parts / name)
    apt = ["apt-get", "-qq", "-o", f"Dir::Etc::sourceparts={parts}", "-o", "Dir::Etc::sourcelist=/dev/null"]
    apt += ["-o", f"Dir::State::lists={lists}", "-o", "APT::Sandbox::User="]
    folder = CACHE / f"{package}.archives"
    folder.mkdir(exist_ok=True)
    for command in (["update"], ["source", "--download-only", package]):
        done = subprocess.run([*apt, *command], cwd=folder, capture_output=True, text=True)
    if not _archives(folder):
        raise Broken(f"apt-get source {package}: {done.stderr.strip()[-500:]}")


def _sources(ending: str, types: str, source: str) -> str:
    """What the system's apt knows, as sources of source packages."""
    files = [*(_APT / "sources.list.d").glob(f"*.{ending}")]
    if ending == "list":
        files.append(_APT / "sources.list")
    texts = [file.read_text() for file in files if file.exists()]
    return "\n\n".join(re.sub(types, source, text, flags=re.MULTILINE) for text in texts) + "\n"


def _archives(folder: Path) -> list[Path]:
    """The main archive; further ones, of components, have a name behind `orig`."""
    return [file for file in folder.glob("*.orig.tar.*") if file.suffix != ".asc"]


def _unpack(package: str, folder: Path) -> None:
    partial = folder.with_suffix(".partial")
    subprocess.run(["rm", "-rf", partial], check=True)
    partial.mkdir()
    (archive,) = _archives(CACHE / f"{package}.archives")
    subprocess.run(
        ["tar", "xf", archive, "-C", partial, "--strip-components=1", "--no-same-owner"], check=True
    )
    partial.rename(folder)
