"""States that the kernel writes: at rest, in a hurry, and what becomes of the slots."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.inspect.conftest import HERE, HERE_6, NAMESPACE, run_python
from tests.lib.process import until

pytestmark = pytest.mark.root
REST = (Path(__file__).parent / "rest.py").read_text()
SINK = str(Path(__file__).with_name("sink.py"))
ADDRESSES = ["127.0.0.1", "::1", "::ffff:127.0.0.1"]


def rest(address: str, congestion: str = "cubic", *more: str, **environment: str) -> dict:
    found = run_python(REST, address, congestion, *more, **environment)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("congestion", ["cubic", "bbr"])
@pytest.mark.parametrize("address", ADDRESSES)
def test_at_rest_a_state_says_what_tcp_info_says(enabled, address, congestion):
    available = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()
    assert congestion in available, f"this kernel has {available}: load tcp_{congestion}"
    found = rest(address, congestion, MODNET_INSPECT="bpf", MODNET_BPF_DIR=str(enabled.directory))
    says_the_same(found)


@pytest.mark.parametrize("congestion", ["cubic", "bbr"])
@pytest.mark.parametrize("address", [HERE, HERE_6, f"::ffff:{HERE}"])
def test_at_rest_a_state_of_a_connection_to_another_host_does_too(enabled, veth, address, congestion):
    environment = {"MODNET_INSPECT": "bpf", "MODNET_BPF_DIR": str(enabled.directory)}
    says_the_same(rest(address, congestion, NAMESPACE, **environment))


def says_the_same(found: dict) -> None:
    assert found["source"] == "bpf"
    assert found["state"] == found["info"]
    assert found["in_order"] and found["sent"] == 5 * 200_000 and found["received"] == 20
    assert found["snd_buf"] == found["sndbuf"]


def test_the_two_newest_packets_are_told(enabled):
    found = rest("127.0.0.1", MODNET_INSPECT="bpf", MODNET_BPF_DIR=str(enabled.directory))
    newest, older = found["packets"]
    assert 0 < older[0] <= newest[0] <= found["updated_ns"] <= found["now"]
    assert newest[3] == found["snd_una"]
    for arrival, sent, _, ack, acked_bytes, acked_packets in (newest, older):
        assert (acked_packets > 0) == (sent > 0) and sent <= arrival
        assert acked_bytes <= 200_000 and ack > 0


def test_the_sampled_way_says_the_same(place):
    found = rest("127.0.0.1", MODNET_INSPECT="sampled", MODNET_BPF_DIR=str(place.directory))
    assert found["source"] == "sampled"
    assert found["sent"] <= 5 * 200_000
    assert found["packets"] == [[0] * 6] * 2


def torn(enabled, reads, count: int, address: str = "127.0.0.1", *prefix: str) -> None:
    """Snapshots of a connection to a sink at `address` (started with `prefix`) that is sent to meanwhile."""
    with subprocess.Popen(
        [*prefix, sys.executable, SINK, address], stdout=subprocess.PIPE, text=True
    ) as sink:
        port = int(sink.stdout.readline())
        done = subprocess.run(
            reads("torn", count, f"{address}:{port}"),
            env=enabled.environment,
            capture_output=True,
            text=True,
            check=True,
        )
    found = json.loads(done.stdout)
    print(found)
    assert found["torn"] == 0, found
    # A writer may lose its core in mid-write: then a read gives up after a while, and `Watch` takes a sample.
    assert found["unread"] <= count / 1_000_000, found
    assert found["checked"] == found["snapshots"] - found["unread"] and found["different"] > 100, found


@pytest.mark.slow
def test_no_snapshot_is_torn(enabled, reads):
    """Twenty million here; a hundred million, and over veth, in the soak."""
    torn(enabled, reads, 20_000_000)


@pytest.mark.slow
def test_short_flows_give_their_slots_back(enabled, reads):
    done = subprocess.run(
        reads("churn", 10_000), env=enabled.environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == {"connections": 10_000, "inspected": 10_000}
    until(lambda: enabled.counters()["in_use"] == 0, 20, "the slots")
    counters = enabled.counters()
    assert (counters["taken"], counters["lost"], counters["refused"]) == (10_000, 0, 0)


@pytest.mark.slow
def test_a_killed_process_loses_no_slot(enabled, reads):
    for _ in range(10):
        with subprocess.Popen(
            reads("hold", 1000), env=enabled.environment, stdout=subprocess.PIPE, text=True
        ) as holding:
            assert holding.stdout.readline() == "ready\n"
            assert enabled.counters()["in_use"] == 1000
            holding.kill()
        until(lambda: enabled.counters()["in_use"] == 0, 20, "the slots")
    counters = enabled.counters()
    assert (counters["taken"], counters["lost"], counters["refused"]) == (10_000, 0, 0)


HUNDRED = """
import json, socket
from modnet import calls
listener = socket.create_server(("127.0.0.1", 0))
held = []
for _ in range(100):
    client = socket.create_connection(listener.getsockname())
    server = listener.accept()[0]
    held.append((client, server, calls.map_state(server.fileno())))
print(json.dumps([[tcp.source, tcp.reason, tcp.cwnd > 0] for _, _, tcp in held]))
"""


def test_where_no_slot_is_left_flows_are_sampled_and_counted(place):
    place.enable("--slots", "64")
    found = run_python(HUNDRED, MODNET_BPF_DIR=str(place.directory))
    assert found == [["bpf", None, True]] * 64 + [["sampled", "every slot is taken", True]] * 36
    assert place.counters()["refused"] == 36


# As crates/inspect/bpf/chosen.h spreads sockets over rows; of 129 in 16 rows nine stand in one.
CROWDED = """
import json, socket, sys
from modnet import calls
listener = socket.create_server(("127.0.0.1", 0))
rows = [[] for _ in range(16)]
while max(map(len, rows)) < 9:
    client = socket.create_connection(listener.getsockname())
    server = listener.accept()[0]
    cookie = int.from_bytes(server.getsockopt(socket.SOL_SOCKET, 57, 8), sys.byteorder)
    rows[(cookie * 0x9e3779b97f4a7c15 >> 32) % 16].append((client, server))
states = [calls.map_state(server.fileno()) for _, server in max(rows, key=len)]
print(json.dumps([[tcp.source, tcp.reason, tcp.cwnd > 0] for tcp in states]))
"""


def test_where_its_row_is_full_a_flow_is_sampled_and_counted(place):
    place.enable("--slots", "32")
    found = run_python(CROWDED, MODNET_BPF_DIR=str(place.directory))
    assert found == [["bpf", None, True]] * 8 + [["sampled", "every slot is taken", True]]
    counters = place.counters()
    assert (counters["refused"], counters["lost"]) == (1, 0)


DISABLED = """
import json, socket, sys
from modnet import calls
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server = listener.accept()[0]
tcp = calls.map_state(server.fileno())
before = tcp.source
print("here", flush=True, file=sys.stderr)
sys.stdin.readline()
print(json.dumps([before, tcp.source, tcp.reason, tcp.cwnd]))
"""


def test_disabling_leaves_no_reader_with_a_state_that_nobody_writes(enabled):
    with subprocess.Popen(
        [sys.executable, "-c", DISABLED],
        env=enabled.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as reading:
        assert reading.stderr.readline() == "here\n"
        enabled.disable()
        out, err = reading.communicate("\n", timeout=20)
    assert json.loads(out) == ["bpf", "sampled", "it is not enabled on this machine", 10], err


CLOSING = """
import json, socket
from modnet import calls
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server = listener.accept()[0]
tcp = calls.map_state(server.fileno())
states = [[tcp.state, tcp.source]]
client.shutdown(socket.SHUT_WR)
assert server.recv(1) == b""
states.append([tcp.state, tcp.source, tcp.reason])
number = server.fileno()
server.close()
other = socket.socket()
assert other.fileno() == number
states.append([tcp.state, tcp.source])
print(json.dumps(states))
"""


def test_a_connection_that_is_closing_is_sampled_and_a_closed_one_keeps_its_last_state(enabled):
    found = run_python(CLOSING, MODNET_BPF_DIR=str(enabled.directory))
    assert found == [[1, "bpf"], [8, "sampled", "the connection is being closed"], [8, "sampled"]]


AT_ONCE = """
import json, multiprocessing, socket
from modnet import calls
listener = socket.create_server(("127.0.0.1", 0))
sockets = []
for _ in range(400):
    sockets.append((socket.create_connection(listener.getsockname()), listener.accept()))
processes = 4
start, failed = multiprocessing.Barrier(processes), multiprocessing.Queue()

def ask():
    errors = []
    for client, _ in sockets:
        start.wait(20)
        try:
            calls.map_state(client.fileno()).snapshot()
        except OSError as error:
            errors.append(str(error))
    failed.put(errors)

asking = [multiprocessing.Process(target=ask) for _ in range(processes)]
for one in asking:
    one.start()
errors = [failed.get() for _ in asking]
for one in asking:
    one.join()
print(json.dumps(errors))
"""


def test_of_processes_that_ask_about_one_socket_at_once_each_is_told(enabled):
    """As modules of a chain and its application do: the kernel's storage of the socket comes and goes, and
    two programs would choose a slot for it at one moment.
    """
    found = run_python(AT_ONCE, MODNET_INSPECT="bpf", MODNET_BPF_DIR=str(enabled.directory))
    assert len(found) == 4
    assert found == [[], [], [], []]
