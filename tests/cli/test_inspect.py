"""MODNET_INSPECT: what it may say, and where it is seen how flows were read; the rest is in tests/inspect."""

import json
import socket

from tests.lib.modnet import Modnet

READER = """
import modnet

class Reader(modnet.Module):
    def inbound(self, flow, data):
        return b"%s %d" % (flow.tcp.source.encode(), flow.tcp.cwnd)
"""
SERVER = """
import socket
with socket.create_server(("127.0.0.1", 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    connection, _ = listener.accept()
    connection.sendall(connection.recv(100))
    connection.recv(1)
"""


def test_a_word_that_means_nothing_is_refused_in_one_line(modnet: Modnet) -> None:
    given = modnet.place.environment() | {"MODNET_INSPECT": "ebpf"}
    said = modnet.refused("run", "-m", "forwarder", "--", "true", env=given)
    assert "MODNET_INSPECT is auto, bpf, sampled or off, not ebpf" in said


def test_doctor_says_how_flows_are_read(modnet: Modnet) -> None:
    given = modnet.place.environment() | {"MODNET_INSPECT": "sampled"}
    checks = json.loads(modnet("doctor", "--json", env=given).stdout)
    said = next(check for check in checks if check["name"] == "inspection")
    assert said["ok"] and "MODNET_INSPECT=sampled" in said["why"] and not said["needed"]


def test_a_module_shows_how_its_flows_were_read_and_why(modnet: Modnet) -> None:
    given = modnet.place.environment() | {"MODNET_INSPECT": "sampled"}
    reader = modnet.place.write("reader.py", READER)
    server = modnet.popen("run", "-m", f"{reader}:Reader", "--", "python3", "-c", SERVER, env=given)
    port = int(server.stdout.readline())
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"?")
        assert client.recv(100) == b"sampled 10"
        counters = json.loads(modnet("module", "show", "reader", "--json").stdout)["counters"]
        assert counters["inspected_bpf"] == 0
        assert counters["inspected_sampled_forced"] == 1
    assert server.wait(20) == 0
    server.communicate()
