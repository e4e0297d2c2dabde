"""The two hosts: reached, shaped, and gone without a trace, also after kill -9."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import net
from experiments.common import cli, namespace, netcheck, owner, traces
from experiments.common.errors import ExperimentError
from experiments.common.shaping import FRAME_BYTES, Shape

pytestmark = pytest.mark.root

REPOSITORY = Path(net.__file__).parents[1]
# Makes hosts with a server and a client process that would live for long, says so, and waits to be killed.
VICTIM = """
import signal
from experiments.net import Hosts
with Hosts() as hosts:
    pids = [host.popen(["sleep", "1000"]).pid for host in (hosts.server, hosts.client)]
    print(hosts.work.name, *pids, flush=True)
    signal.pause()
"""


def start_victim():
    process = subprocess.Popen(
        [sys.executable, "-c", VICTIM], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    tag, *pids = process.stdout.readline().split()
    return process, tag, [int(pid) for pid in pids]


def left_of(tag):
    return [
        path.name
        for folder in (net.NETNS, net.WORK)
        if folder.is_dir()
        for path in folder.iterdir()
        if tag in path.name
    ]


def test_the_hosts_reach_each_other_by_both_families():
    with net.Hosts() as hosts:
        for family, address in ((socket.AF_INET, hosts.server.ipv4), (socket.AF_INET6, hosts.server.ipv6)):
            assert netcheck.transfer(hosts, family, address, 1_000_000) < 10


def test_nothing_of_the_hosts_is_reachable_from_outside():
    with net.Hosts() as hosts, hosts.server.entered():
        listener = socket.create_server((hosts.server.ipv4, 0))
    # Some networks answer for every address there is: what counts is whether it arrives.
    with listener, socket.socket() as outside:
        outside.setblocking(False)
        outside.connect_ex(listener.getsockname())
        listener.settimeout(0.3)
        with pytest.raises(TimeoutError):
            listener.accept()


@pytest.mark.parametrize("mbit", [50, 200])
def test_shaping_sets_the_rate(mbit):
    size = mbit * 125_000 // 2  # half a second's worth
    with net.Hosts() as hosts:
        hosts.shape(mbit)
        seconds = netcheck.transfer(hosts, socket.AF_INET, hosts.server.ipv4, size)
        # What the burst lets pass at once is not shaped; headers take up to a twentieth.
        least = (size - 2 * net.BURST_BYTES) * 8 / (mbit * 1e6)
        assert least * 0.98 <= seconds <= size * 8 / (mbit * 1e6) * 1.25
        hosts.shape(None)
        assert netcheck.transfer(hosts, socket.AF_INET, hosts.server.ipv4, size) < seconds / 2


def seconds(hosts, size):
    return netcheck.transfer(hosts, socket.AF_INET, hosts.server.ipv4, size)


@pytest.mark.parametrize("router", [False, True])
@pytest.mark.parametrize("kind", ["htb", "tbf"])
def test_a_link_s_rate_can_be_changed(kind, router):
    size = 1_000_000
    with net.Hosts(router=router) as hosts:
        hosts.shape(Shape(40, kind=kind))
        fast = seconds(hosts, size)
        hosts.set_rate(20)
        slow = seconds(hosts, size)
        assert 0.9 * size / Shape(20).payload <= slow <= 1.5 * size / Shape(20).payload
        assert fast < 0.8 * slow


def test_what_waits_in_the_buffer_outlives_a_change_of_the_rate():
    with net.Hosts(router=True) as hosts:
        hosts.shape(Shape(0.1))
        with hosts.server.entered():
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with hosts.client.entered():
            receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with sender, receiver:
            receiver.bind((hosts.client.ipv4, 0))
            receiver.settimeout(10)
            # Sixteen seconds' worth, of which nothing may be lost.
            for number in range(200):
                sender.sendto(number.to_bytes(2, "big") * 500, receiver.getsockname())
            hosts.set_rate(100)
            # The first two may change places while the address is resolved.
            arrived = sorted(int.from_bytes(receiver.recv(2000)[:2], "big") for _ in range(200))
            assert arrived == list(range(200))


@pytest.mark.parametrize("kind", ["htb", "tbf"])
def test_a_buffer_s_limit_drops_what_is_beyond_it(kind):
    with net.Hosts(router=True) as hosts:
        hosts.shape(Shape(0.5, buffer_packets=20, kind=kind))
        with hosts.server.entered():
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with hosts.client.entered():
            receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with sender, receiver:
            receiver.bind((hosts.client.ipv4, 0))
            receiver.settimeout(2)
            for _ in range(100):
                sender.sendto(bytes(1472), receiver.getsockname())
            arrived = 0
            with pytest.raises(TimeoutError):
                while receiver.recv(2000):
                    arrived += 1
            # The bucket's three and one on its way are not in the buffer.
            assert 20 <= arrived <= 25


def test_behind_a_router_frames_arrive_one_by_one():
    with net.Hosts(router=True) as hosts:
        assert hosts.router is not None
        hosts.shape(Shape(100))
        seconds(hosts, 500_000)
        with hosts.router.netlink() as link:
            (counts,) = link.get_links(link.link_lookup(ifname="to-client")[0])
        sent = counts.get_attr("IFLA_STATS64")
        assert sent["tx_bytes"] / sent["tx_packets"] <= FRAME_BYTES


def test_a_rate_of_an_unshaped_link_is_a_mistake():
    with net.Hosts() as hosts, pytest.raises(ExperimentError, match="shape"):
        hosts.set_rate(1)


def test_a_link_without_a_rate_is_a_mistake():
    with pytest.raises(ExperimentError, match="0"):
        Shape(0)


def test_a_replayed_trace_changes_the_rate():
    steps = [traces.Step(0.2, 100), traces.Step(0.2, 10), traces.Step(0.2, 20)]
    with net.Hosts(router=True) as hosts:
        hosts.shape(Shape(1))
        with traces.Replay(hosts.set_rate, steps) as replay:
            assert replay.wait(20)
        assert [mbit for _, mbit in replay.rates] == [100, 10, 20]
        times = [at_ns / 1e9 for at_ns, _ in replay.rates]
        assert times[2] - times[0] == pytest.approx(0.4, abs=0.2)
        assert seconds(hosts, 500_000) == pytest.approx(500_000 / Shape(20).payload, rel=0.3)


def test_connections_use_the_congestion_control_that_was_asked_for_also_over_loopback():
    with net.Hosts("reno") as hosts:
        for address in (hosts.server.ipv4, "127.0.0.1", hosts.server.ipv6):
            with hosts.server.entered():
                listener = socket.create_server(
                    (address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET
                )
            host = hosts.server if address == "127.0.0.1" else hosts.client
            with host.entered():
                client = socket.socket(listener.family)
            with listener, client:
                client.connect(listener.getsockname())
                accepted, _ = listener.accept()
                with accepted:
                    for end in (client, accepted):
                        name = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
                        assert name.rstrip(b"\0") == b"reno", address


def test_a_congestion_control_that_does_not_exist_is_named():
    with pytest.raises(ExperimentError, match="nonsense"):
        net.Hosts("nonsense")
    assert not left_of(f"{os.getpid()}-")


def test_packets_and_processes_are_on_the_host_s_core():
    with net.Hosts() as hosts:
        assert hosts.server.core != hosts.client.core
        for host in (hosts.server, hosts.client):
            with host.popen(["sleep", "1000"]) as process:
                assert os.sched_getaffinity(process.pid) == {host.core}
                assert process.pid in host.processes()
                process.kill()
            masks = []
            namespace.with_own_sys(
                host._fd,
                lambda masks=masks: masks.append(
                    Path(f"/sys/class/net/{net.DEVICE}/queues/rx-0/rps_cpus").read_text()
                ),
            )
            assert int(masks[0].replace(",", ""), 16) == 1 << host.core
    assert os.sched_getaffinity(0) >= {hosts.server.core, hosts.client.core}


def test_the_end_takes_processes_namespaces_and_files_away():
    with net.Hosts() as hosts:
        tag = hosts.work.name
        (hosts.work / "file").write_text("x")
        process = hosts.server.popen(
            ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1000; done"], stdout=subprocess.PIPE
        )
        assert process.stdout.readline() == "deaf\n"
        process.stdout.close()
        assert len(left_of(tag)) == 3
    assert process.wait(timeout=5) == -signal.SIGKILL
    assert left_of(tag) == []
    # Its child sleep, too.
    assert process.pid in hosts.killed


def test_an_error_inside_leaves_nothing():
    with pytest.raises(RuntimeError), net.Hosts() as hosts:
        raise RuntimeError
    assert left_of(hosts.work.name) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_is_cleaned_up_by_the_next_one(number):
    victim, tag, pids = start_victim()
    with victim:
        victim.send_signal(number)
    assert (len(left_of(tag)) == 3) == (number == signal.SIGKILL), (
        "a kill -9 leaves all for the next run, a Ctrl-C nothing"
    )
    with net.Hosts():
        assert left_of(tag) == []
    assert not any(owner.start_time(pid) for pid in pids)


def test_a_run_beside_another_disturbs_nothing_of_it():
    victim, tag, pids = start_victim()
    try:
        with net.Hosts() as hosts:
            netcheck.transfer(hosts, socket.AF_INET, hosts.server.ipv4, 1000)
            net.clean()
        assert len(left_of(tag)) == 3
        assert all(owner.start_time(pid) for pid in pids)
    finally:
        with victim:
            victim.terminate()
        net.clean()
    assert left_of(tag) == []


def test_clean_says_what_it_removed():
    victim, tag, _ = start_victim()
    with victim:
        victim.kill()
    done = subprocess.run(
        [sys.executable, "-m", "experiments.net", "--clean"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stderr == ""
    assert sorted(line.split("/")[-1] for line in done.stdout.splitlines() if tag in line) == sorted(
        [tag, f"modnet-{tag}-client", f"modnet-{tag}-server"]
    )


def test_an_ordinary_user_is_told_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert cli.guarded(net.Hosts) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "root" in said
