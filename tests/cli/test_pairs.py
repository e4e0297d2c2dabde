"""MODNET_PAIRS: what it may say, where it is shown, and what it changes between the modules of a chain."""

import json
import socket

import pytest

from tests.lib.modnet import Modnet, ended
from tests.lib.process import until

# Closes each connection itself, after it has answered.
SERVER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0), backlog=64)
print(listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    connection.sendall(connection.recv(100).upper())
    connection.close()
"""
FLOWS = 100


def ask(port: int, number: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(f"flow {number}".encode())
        answer = b""
        while part := client.recv(100):
            answer += part
    assert answer == f"FLOW {number}".encode()


def status(modnet: Modnet, name: str) -> dict:
    return json.loads(modnet("module", "show", name, "--json").stdout)


@pytest.mark.parametrize("word", ["fresh", "pooled"])
def test_a_chain_carries_every_flow_and_says_what_became_of_the_pairs(modnet: Modnet, word: str) -> None:
    place, given = modnet.place, modnet.place.environment() | {"MODNET_PAIRS": word}
    program = place.write("server.py", SERVER)
    chain = [part for name in ("one", "two", "three") for part in ("-m", f"forwarder,as={name}")]
    with modnet.popen("run", *chain, "--", "python3", str(program), env=given) as server:
        try:
            port = int(server.stdout.readline())
            for number in range(FLOWS):
                ask(port, number)
            for name, passes_on in (("one", True), ("two", True), ("three", False)):
                until(lambda name=name: status(modnet, name)["flows"] == 0, 10, "no flow")
                said = status(modnet, name)
                counters = said["counters"]
                assert said["pairs"] == word
                assert counters["pairs_new"] + counters["pairs_reused"] == (FLOWS if passes_on else 0)
                assert (counters["pairs_reused"] > FLOWS / 2) == (passes_on and word == "pooled"), counters
            shown = modnet("ps").stdout
            assert "PAIRS" in shown and word in shown
        finally:
            server.terminate()
            server.communicate(timeout=10)


def test_another_word_is_refused_in_one_line(modnet: Modnet) -> None:
    given = modnet.place.environment() | {"MODNET_PAIRS": "Pooled"}
    said = modnet.refused("run", "-m", "forwarder", "--", "true", env=given)
    assert 'MODNET_PAIRS is "Pooled"; set it to fresh or pooled' in said


def test_no_word_is_the_default(modnet: Modnet) -> None:
    given = {name: value for name, value in modnet.place.environment().items() if name != "MODNET_PAIRS"}
    with modnet.popen(
        "run", "-m", "forwarder", "--", "sh", "-c", "echo here; cat", env=given, stdin=-1
    ) as running:
        assert running.stdout.readline() == "here\n"
        assert status(modnet, "forwarder")["pairs"] == "pooled"
        ended(running)
