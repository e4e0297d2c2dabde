"""What the estimators read: a flow's own snapshot as anything else with its attributes, and any numbers."""

import socket
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modnet import calls
from modnet.estimate import Bandwidth, DeliveryRate, PacketPair
from modnet.estimate.snapshot import seq_diff

from tests.estimate.link import MSS, Link, Packet, Snapshot, burst

NAMES = [name for name in Snapshot.__dataclass_fields__ if name != "packets"]


def copied(snapshot):
    """The same by attributes only."""
    packets = [
        SimpleNamespace(arrival_ns=p.arrival_ns, sent_ns=p.sent_ns, acked_bytes=p.acked_bytes)
        for p in snapshot.packets
    ]
    return SimpleNamespace(**{name: getattr(snapshot, name) for name in NAMES}, packets=packets)


def test_a_socket_s_snapshot_is_read_as_its_attributes_are():
    by_memory, by_attribute = Bandwidth(), Bandwidth()
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
        server.accept()[0] as peer,
    ):
        # Many small packets: loopback's own are of 64 KB, and eight have to come before anything is known.
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, MSS)
        state = calls.map_state(peer.fileno())
        while by_memory.best() is None:
            peer.sendall(bytes(30_000))
            client.recv(30_000, socket.MSG_WAITALL)
            snapshot = state.snapshot()
            by_memory.observe(snapshot)
            by_attribute.observe(copied(snapshot))
            assert by_memory.best() == by_attribute.best()
            assert by_memory.rate.judged() == by_attribute.rate.judged()


@pytest.mark.parametrize("kind", [Bandwidth, DeliveryRate, PacketPair])
def test_what_is_no_snapshot_is_refused_and_changes_nothing(kind):
    link = Link(125_000.0).carry(burst(100_000))
    estimator = kind()
    for snapshot in link:
        estimator.observe(snapshot)
    before = estimator.estimate
    with pytest.raises(AttributeError, match="packets"):
        estimator.observe(object())
    with pytest.raises(OverflowError):
        estimator.observe(replace(link[-1], snd_una=2**32))
    with pytest.raises(TypeError):
        estimator.observe(replace(link[-1], mss="1448"))
    assert estimator.estimate == before


def test_an_attribute_may_ask_the_estimator_itself():
    link = Link(125_000.0).carry(burst(100_000))
    bandwidth, asked = Bandwidth(), []

    class Asking:
        def __init__(self, snapshot):
            self.snapshot = snapshot

        def __getattr__(self, name):
            asked.append((bandwidth.best(), bandwidth.rate.recent))
            return getattr(self.snapshot, name)

    for snapshot in link:
        bandwidth.observe(Asking(snapshot))
    assert len(asked) > len(link) and asked[0] == (None, None) and asked[-1][0].source == "rate"


COUNT = st.integers(0, 2**32 - 1)
LONG = st.integers(0, 2**63 - 1)
PACKET = st.builds(Packet, LONG, LONG, COUNT)


@given(
    st.lists(
        st.builds(
            Snapshot,
            updated_ns=LONG,
            snd_una=COUNT,
            snd_nxt=COUNT,
            write_seq=COUNT,
            mss=COUNT,
            srtt_us=COUNT,
            min_rtt_us=COUNT,
            delivered=COUNT,
            bytes_acked=LONG,
            delivery_rate=st.floats(0, 1e19),
            retransmits=st.integers(0, 2),
            packets=st.tuples(PACKET, PACKET),
        ),
        max_size=30,
    )
)
def test_rubbish_is_taken(snapshots):
    bandwidth = Bandwidth()
    for snapshot in snapshots:
        bandwidth.observe(snapshot)
        bandwidth.best()
        assert bandwidth.rate.maximum is None or bandwidth.rate.maximum > 0


@given(st.integers(0, 2**32 - 1), st.integers(-(2**31), 2**31 - 1))
def test_the_difference_of_sequence_numbers(start, distance):
    assert seq_diff((start + distance) % 2**32, start) == distance
