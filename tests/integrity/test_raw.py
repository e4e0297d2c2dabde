"""Raw TCP under every variant: both directions at once, half-closes and resets in both orders, three kinds
of server."""

import asyncio
import subprocess
from pathlib import Path

import pytest

from tests.integrity.matrix import USERS, pairs
from tests.integrity.raw import flows
from tests.lib.place import Place
from tests.lib.users import interpreter
from tests.lib.variants import NATIVE
from tests.servers.base import Server, running

HERE = Path(__file__).parent / "raw"


def peer_command(place: Place, www: Path) -> list[str]:
    binary = place.directory / "peer"
    subprocess.run(["cc", "-O2", "-pthread", "-o", binary, HERE / "peer.c"], check=True)
    binary.chmod(0o755)
    return [str(binary), str(place.port)]


def echo_server(style: str) -> Server:
    def command(place: Place, www: Path) -> list[str]:
        return [interpreter(place.user), str(place.copy(HERE / "echo.py")), style, str(place.port)]

    return Server(style, (), command)


RAW = {
    s.name: s
    for s in (Server("peer", ("cc",), peer_command), *map(echo_server, ("threads", "selectors", "asyncio")))
}


def drive(server: str, variant: str, user: str, count: int) -> None:
    with running(RAW[server], USERS[user](), variant, HERE) as up:
        orders = flows.ORDERS if server == "peer" else (flows.echo,)
        counts = asyncio.run(flows.load(up.place.port, count, 24, seed=1, orders=orders))
        print(f"{server} {variant} {user}: {dict(counts)}")
        if variant != NATIVE:
            assert up.stolen() >= count


@pytest.mark.parametrize(("server", "variant", "user"), pairs(["peer"]))
def test_every_order_of_ends(server: str, variant: str, user: str) -> None:
    drive(server, variant, user, count=400)


@pytest.mark.parametrize(
    ("server", "variant", "user"), pairs(["threads", "selectors", "asyncio"], users=["user"])
)
def test_echo(server: str, variant: str, user: str) -> None:
    drive(server, variant, user, count=100)
