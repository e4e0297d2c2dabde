"""The mixed server as the tests start it: compiled once, copied to each place."""

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.lib.place import Place
from tests.servers.base import Server

HERE = Path(__file__).parent


@functools.cache
def compiled() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        binary = Path(directory) / "mixed"
        sources = sorted(HERE.glob("mixed*.c"))
        subprocess.run(["cc", "-O2", "-Wall", "-Werror", "-pthread", "-o", binary, *sources], check=True)
        return binary.read_bytes()


def mixed_server(mode: str) -> Server:
    def command(place: Place, www: Path) -> list[str]:
        binary = place.directory / "mixed"
        # By rename: the former one may be running still.
        fresh = place.directory / "mixed.new"
        fresh.write_bytes(compiled())
        fresh.chmod(0o755)
        shutil.move(fresh, binary)
        return [str(binary), mode, str(place.port)]

    return Server(f"mixed-{mode}", ("cc",), command)
