"""In a chain, the application and every module, in C and Python, read the state of the one real socket."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.calls.conftest import compiled  # noqa: F401 - a fixture
from tests.lib.modnet import Modnet
from tests.lib.process import until

HERE = Path(__file__).parent
NUMBERS = 5
"""How many numbers each tells first: cookie, updated_ns, cwnd, snd_una, rcv_nxt."""


def told(path: Path) -> list:
    return json.loads(path.read_text()) if path.exists() else []


@pytest.fixture
def look(modnet: Modnet) -> Path:
    return modnet.place.copy(HERE / "look.py")


@pytest.mark.root
@pytest.mark.parametrize("pairs", ["pooled", "fresh"])
def test_all_of_a_chain_of_three_read_the_same(enabled, modnet, look, compiled, pairs):  # noqa: F811
    environment = modnet.place.environment() | {
        "MODNET_BPF_DIR": str(enabled.directory),
        "MODNET_INSPECT": "bpf",
        "MODNET_PAIRS": pairs,
    }
    place = modnet.place.directory
    files = [place / name for name in ("first", "last", "application")]
    with subprocess.Popen(
        [compiled(HERE / "c/mapped.c"), "middle"], env=environment, stdout=subprocess.PIPE, text=True
    ) as middle:
        assert middle.stdout.readline() == "ready\n"
        chain = [f"{look}:Look,as=first,file={files[0]}", "middle", f"{look}:Look,as=last,file={files[1]}"]
        words = [word for module in chain for word in ("-m", module)]
        server = modnet.popen(
            "run", *words, "--", sys.executable, str(HERE / "application.py"), str(files[2]), env=environment
        )
        port = int(server.stdout.readline())
        with socket.create_connection(("127.0.0.1", port)) as client:
            for _ in range(10):
                client.sendall(b"through three modules\n" * 100)
                assert client.recv(2200, socket.MSG_WAITALL) == b"THROUGH THREE MODULES\n" * 100
            until(lambda: all(told(file) for file in files), 20, "all to look")
            # At rest all tell the same, C too.
            end = time.monotonic() + 20
            while True:
                line = middle.stdout.readline().split()
                seen = [told(file) for file in files]
                same = all(one == seen[0] for one in seen)
                if same and [*map(int, line[:NUMBERS])] == seen[0][:NUMBERS]:
                    break
                assert time.monotonic() < end, (line, seen)
            assert seen[0][NUMBERS] == "bpf" and line[NUMBERS] == "1"
        assert server.wait(20) == 0, server.stderr.read()
        assert middle.wait(20) == 0
        middle.stdout.close()
    server.communicate()


def test_in_the_sampled_way_all_modules_of_a_chain_read_the_same(modnet, look):
    environment = modnet.place.environment() | {"MODNET_INSPECT": "sampled"}
    files = [modnet.place.directory / name for name in ("first", "last", "application")]
    words = [
        word
        for name, file in zip(("first", "last"), files, strict=False)
        for word in ("-m", f"{look}:Look,as={name},file={file}")
    ]
    server = modnet.popen(
        "run", *words, "--", sys.executable, str(HERE / "application.py"), str(files[2]), env=environment
    )
    port = int(server.stdout.readline())
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"through two modules\n")
        assert client.recv(20, socket.MSG_WAITALL) == b"THROUGH TWO MODULES\n"

        def numbers() -> list:
            # Each samples at its own time.
            return [[one[0], *one[2:6]] for one in map(told, files) if one]

        until(
            lambda: (
                len(numbers()) == 3
                and all(one == numbers()[0] for one in numbers())
                and numbers()[0][2] == 20
            ),
            20,
            "all to tell the same",
        )
        assert numbers()[0][-1] == "sampled"
    assert server.wait(20) == 0, server.stderr.read()
    server.communicate()
    assert files[0].exists()
