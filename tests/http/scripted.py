"""The scripts of this folder as servers of the tests."""

from __future__ import annotations

from pathlib import Path

from tests.servers.base import Server

HERE = Path(__file__).parent


def _server(interpreter: str, script: str) -> Server:
    path = HERE / script
    return Server(
        path.stem, (interpreter,), lambda place, _: [interpreter, str(place.copy(path)), str(place.port)]
    )


LIVE = _server("node", "live.js")
ITEMS = _server("node", "items.js")
PREPARED = _server("python3", "prepared.py")
GENERATED = _server("python3", "generated.py")
