"""node with what goes on for a while, as a server of the tests; live.js is the server itself."""

from pathlib import Path

from tests.servers.base import Server

SCRIPT = Path(__file__).with_name("live.js")
LIVE = Server("live", ("node",), lambda place, _: ["node", str(place.copy(SCRIPT)), str(place.port)])
