"""Bandwidth: within its bounds on simulated and recorded links, and a confidence that means something."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modnet.estimate import Bandwidth, DeliveryRate, Measure, PacketPair

from tests.estimate.link import MS, MSS, SECOND, Link, Packet, Snapshot, burst, look, responses, sampled

RATE = 125_000.0
RECORDED = Path(__file__).with_name("recorded")
PAYLOAD_1MBIT = 125_000 * 1448 / 1514


def recorded(name):
    """A recorded connection's snapshots, one after each packet."""
    found, least_ns = [Packet(), Packet()], SECOND
    for row in csv.DictReader((RECORDED / f"{name}.csv").open()):
        r = {key: int(value) for key, value in row.items()}
        at_ns = SECOND + r["arrival_us"] * 1000
        sent_ns = SECOND + r["sent_us"] * 1000 if r["acked_bytes"] else 0
        least_ns = min(least_ns, at_ns - sent_ns)
        found = [Packet(at_ns, sent_ns, r["acked_bytes"]), found[0]]
        yield Snapshot(
            updated_ns=at_ns,
            snd_una=r["una"] % 2**32,
            snd_nxt=r["nxt"] % 2**32,
            write_seq=r["written"] % 2**32,
            min_rtt_us=least_ns // 1000,
            delivered=r["delivered"],
            bytes_acked=r["bytes_acked"],
            delivery_rate=r["kernel_rate"],
            app_limited=bool(r["app_limited"]),
            retransmits=r["resent"],
            packets=(found[0], found[1]),
        )


def fed(snapshots):
    bandwidth = Bandwidth()
    for snapshot in snapshots:
        bandwidth.observe(snapshot)
    return bandwidth


def test_nothing_is_known_at_first():
    bandwidth = fed([Snapshot()])
    assert (bandwidth.estimate, bandwidth.confidence, bandwidth.best()) == (None, 0.0, None)


def test_the_first_pair_is_better_than_nothing_and_little_trusted():
    bandwidth = fed(Link(RATE).carry(burst(100_000))[:4])
    measure = bandwidth.best()
    assert measure.source == "pair" and measure.rate == pytest.approx(RATE, rel=0.01)
    assert measure.confidence < 0.35


def test_a_rate_of_acknowledgement_replaces_it_and_is_trusted_more_the_longer_it_is():
    link = Link(RATE).carry(burst(100_000))
    young, old = fed(link[:16]).best(), fed(link[:50]).best()
    assert young.source == old.source == "rate"
    assert 0.5 < young.confidence < old.confidence <= 1


@pytest.mark.parametrize(
    ("name", "mbit", "kernel_off_by"),
    [("htb_offload_cubic_1mbit", 1, 0.2), ("htb_offload_bbr_10mbit", 10, 0.3)],
)
def test_recorded_large_packets_through_htb(name, mbit, kernel_off_by):
    snapshots = list(recorded(name))
    bandwidth, checked = Bandwidth(), False
    for snapshot in snapshots:
        bandwidth.observe(snapshot)
        if snapshot.delivered >= 30 and not checked:
            checked = True
            assert bandwidth.estimate == pytest.approx(mbit * PAYLOAD_1MBIT, rel=0.2)
            assert snapshot.delivery_rate > (1 + kernel_off_by) * mbit * PAYLOAD_1MBIT
    assert checked
    assert bandwidth.estimate == pytest.approx(mbit * PAYLOAD_1MBIT, rel=0.05)


@pytest.mark.parametrize("every_ns", [MS, 5 * MS, 10 * MS])
def test_recorded_responses_whose_heads_pass_a_bucket_at_once(every_ns):
    ends, bandwidth = [], Bandwidth()
    for snapshot in look(list(recorded("responses_burst_10k_1mbit")), every_ns):
        bandwidth.observe(snapshot)
        if snapshot.snd_una == snapshot.snd_nxt and snapshot.bytes_acked:
            ends.append(bandwidth.estimate)
    assert len(ends) >= 3
    assert ends == [pytest.approx(PAYLOAD_1MBIT, rel=0.05)] * len(ends)


def once(link):
    """One reading at the end of each response, with a rate by the kernel that is a fifth too high."""
    ends = [s for s in link if s.bytes_acked and s.snd_una == s.snd_nxt]
    return [link[0], *(replace(end, delivery_rate=12 * RATE + n) for n, end in enumerate(ends))]


def test_responses_that_are_read_once_leave_the_pairs_and_without_them_the_kernel_as_a_bound():
    readings = once(Link(10 * RATE).carry(responses(3, 12 * MSS, SECOND)))
    assert fed(readings).best().source == "pair"
    assert fed(readings).estimate == pytest.approx(10 * RATE, rel=0.01)
    alone = fed(sampled(readings)).best()
    assert alone.source == "kernel" and alone.rate == pytest.approx(12 * RATE, rel=0.01)
    assert alone.confidence < 0.2


def test_a_rate_from_before_is_better_than_the_kernel_s_word_on_what_came_at_once():
    long = Link(RATE).carry(burst(100_000))
    whole = replace(
        long[-1],
        updated_ns=long[-1].updated_ns + SECOND,
        snd_una=long[-1].snd_una + 50_000,
        snd_nxt=long[-1].snd_nxt + 50_000,
        write_seq=long[-1].write_seq + 50_000,
        bytes_acked=long[-1].bytes_acked + 50_000,
        delivered=long[-1].delivered + 35,
        delivery_rate=7000 * RATE,
    )
    assert fed(sampled([*long, whole])).estimate == pytest.approx(RATE, rel=0.05)


def test_of_the_kernel_and_the_pairs_the_lower_counts():
    # Read twice in each response: something waited, and there is no slope of eight packets yet.
    link = Link(10 * RATE, cwnd=14).carry(responses(3, 14 * MSS, SECOND))
    readings = [link[0], *(s for s in link if s.bytes_acked // MSS % 14 in (7, 13))]
    bandwidth = fed(replace(s, delivery_rate=12 * RATE + n) for n, s in enumerate(readings))
    assert bandwidth.best().source == "kernel"
    assert bandwidth.estimate == pytest.approx(10 * RATE, rel=0.01)


def test_where_the_window_is_small_for_a_long_path_the_pairs_are_believed_before_the_lower_bounds():
    link = Link(10 * RATE, rtt_ns=100 * MS, cwnd=6, cwnd_limit=6).carry(burst(60 * MSS))
    bandwidth = fed(replace(s, delivery_rate=6 * MSS / 0.1 + s.delivered) for s in link)
    assert bandwidth.rate.recent < 0.2 * 10 * RATE
    assert bandwidth.best().source == "pair"
    assert bandwidth.estimate == pytest.approx(10 * RATE, rel=0.01)


def test_a_lower_bound_counts_where_there_is_nothing_else_or_it_is_more():
    link = Link(10 * RATE, rtt_ns=100 * MS, cwnd=6, cwnd_limit=6).carry(burst(60 * MSS))
    alone = fed(sampled(link))
    assert alone.best().source == "rate" and alone.confidence < 0.3
    assert alone.estimate < 0.2 * 10 * RATE
    # The link becomes a hundred times faster; a trickle of three times what was known shows that, in part.
    faster = Link(lambda at_ns: RATE if at_ns < SECOND else 100 * RATE, rtt_ns=50 * MS)
    trickle = [replace(w, at_ns=SECOND + i * 4 * MS, size=1500) for i, w in enumerate(burst(1) * 500)]
    more = fed(faster.carry([*burst(50_000), *trickle]))
    assert more.estimate == pytest.approx(3 * RATE, rel=0.1)
    assert more.confidence < 0.3


def test_the_kernel_s_word_on_a_bucket_s_first_packets_is_not_heard():
    first = Link(RATE).carry(burst(100_000))[:6]
    bandwidth = fed(replace(s, delivery_rate=25e6 if s.bytes_acked else 0.0) for s in sampled(first))
    assert bandwidth.estimate is None


def test_nor_is_it_later_while_it_stays_the_same():
    link = Link(RATE, cwnd=20).carry(burst(20 * MSS))
    bandwidth = fed(replace(s, delivery_rate=25e6 if s.bytes_acked else 0.0) for s in sampled(link))
    assert bandwidth.estimate < 2 * RATE


def test_where_readings_are_far_apart_and_packets_unknown_the_kernel_is_believed():
    link = [replace(s, delivery_rate=RATE + i) for i, s in enumerate(Link(RATE).carry(burst(40 * MSS)))]
    exact, rough = fed(link), fed(sampled(look(link, 100 * MS)))
    assert exact.best().source == "rate"
    assert rough.best().source == "kernel"
    assert rough.rate.trust < exact.rate.trust / 2


def test_its_parts_know_what_it_knows_and_stay():
    link = Link(RATE).carry(burst(100_000))
    whole, rate, pair = Bandwidth(), DeliveryRate(), PacketPair()
    parts = whole.rate, whole.pair
    for snapshot in link:
        whole.observe(snapshot)
        rate.observe(snapshot)
        pair.observe(snapshot)
    del whole
    assert parts[0].judged() == rate.judged() == (rate.recent, rate.trust, rate.bound, rate.at_ns)
    assert (parts[1].last, parts[1].estimate) == (pair.last, pair.estimate)


def test_what_is_measured_is_a_named_tuple():
    best = fed(Link(RATE).carry(burst(100_000))).best()
    assert isinstance(best, Measure)
    rate, confidence, source = best
    assert best == Measure(rate, confidence, source) and best._replace(rate=1.0).rate == 1.0


def test_trust_halves_every_two_seconds_and_the_estimate_stays():
    link = Link(RATE).carry(burst(100_000))
    bandwidth = fed(link)
    estimate, confidence = bandwidth.estimate, bandwidth.confidence
    bandwidth.observe(replace(link[-1], updated_ns=link[-1].updated_ns + 4 * SECOND))
    assert bandwidth.estimate == estimate
    assert bandwidth.confidence == pytest.approx(confidence / 4, rel=0.01)


@pytest.mark.parametrize("mbit", [1, 10, 50])
def test_responses_on_one_connection_from_the_second_one_on(mbit):
    starts, bandwidth = [], Bandwidth()
    link = Link(mbit * RATE, bucket=3 * MSS, ack_every=2).carry(responses(6, 50_000, SECOND))
    for snapshot in look(link, MS):
        if snapshot.packets[0].acked_bytes and snapshot.app_limited and bandwidth.estimate:
            starts.append(bandwidth.estimate)
        bandwidth.observe(snapshot)
    assert len(starts) > 20
    assert all(value == pytest.approx(mbit * RATE, rel=0.15) for value in starts)


@pytest.mark.parametrize(("before", "after"), [(10, 1), (1, 10)])
def test_a_second_after_a_change_it_is_known(before, after):
    link = Link(lambda at_ns: RATE * (before if at_ns < SECOND else after)).carry(burst(3_000_000))
    a_second_later = link[0].updated_ns + 2 * SECOND
    bandwidth = fed(s for s in look(link, 5 * MS) if s.updated_ns < a_second_later)
    assert bandwidth.estimate == pytest.approx(after * RATE, rel=0.05)


@given(
    st.floats(30_000, 3e7),
    st.integers(0, 30),
    st.integers(1, 2),
    st.sampled_from([0, 5 * MS, 50 * MS]),
    st.lists(st.integers(1, 60_000), min_size=1, max_size=5),
    st.integers(1, 30),
)
def test_on_any_link_it_is_positive_or_none_and_confidence_a_share(
    rate, bucket, ack_every, hold, sizes, every
):
    link = Link(rate, bucket=bucket * MSS, ack_every=ack_every, hold_ns=hold)
    writes = [replace(w, size=size) for w, size in zip(responses(5, 1, SECOND), sizes, strict=False)]
    bandwidth = Bandwidth()
    for snapshot in look(link.carry(writes), every * MS):
        bandwidth.observe(snapshot)
        best = bandwidth.best()
        assert best is None or (best.rate > 0 and 0 <= best.confidence <= 1)
        assert (bandwidth.confidence == 0) == (best is None)


@given(st.floats(30_000, 3e7), st.integers(2, 400), st.integers(1, 10))
def test_confidence_above_a_half_means_a_few_per_cent(rate, packets, every):
    bandwidth = Bandwidth()
    link = Link(rate, rtt_ns=MS, cwnd=40, cwnd_limit=200)
    for snapshot in look(link.carry(burst(packets * MSS)), every * MS):
        bandwidth.observe(snapshot)
        if bandwidth.confidence > 0.5:
            assert bandwidth.estimate == pytest.approx(rate, rel=0.05)
