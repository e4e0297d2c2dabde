"""Packet pair: what it reads from a link, and everything that its table says it is fooled by."""

import pytest
from modnet.estimate import PacketPair

from tests.estimate.link import MS, MSS, Link, Packet, Snapshot, Write, burst, responses

RATE = 125_000.0


def pairs(snapshots):
    pair = PacketPair()
    found = []
    for snapshot in snapshots:
        if pair.observe(snapshot):
            found.append(pair.last)
    return pair, found


def two(gap_ns, sizes=(MSS, MSS), sent_gap_ns=1000, at_ns=10**9):
    newest = Packet(at_ns, at_ns - 20 * MS, sizes[0])
    return Snapshot(packets=(newest, Packet(at_ns - gap_ns, newest.sent_ns - sent_gap_ns, sizes[1])))


def test_nothing_is_known_before_the_first_pair():
    pair, found = pairs([Snapshot()])
    assert (pair.estimate, pair.last, found) == (None, None, [])


@pytest.mark.parametrize("mbit", [1, 2, 10, 50, 240])
def test_packets_that_left_together_tell_the_link_s_rate(mbit):
    rate = mbit * 125_000.0
    pair, found = pairs(Link(rate).carry(burst(10 * MSS)))
    assert len(found) == 9
    assert pair.estimate == pytest.approx(rate, rel=1e-3)


def test_a_pair_that_is_seen_twice_counts_once():
    pair, found = pairs([two(10 * MS), two(10 * MS)])
    assert found == [pytest.approx(MSS * 100)]
    assert pair.estimate == pair.last


def test_the_estimate_is_the_median_of_nine_and_last_the_paper_s():
    gaps = (1, 1, 1, 1, 1, 1, 10, 10, 10, 10, 10, 1)
    snapshots = [two(gap * MS, at_ns=(i + 1) * 10**9) for i, gap in enumerate(gaps)]
    pair, _ = pairs(snapshots)
    assert pair.estimate == pytest.approx(MSS * 100)
    assert pair.last == pytest.approx(MSS * 1000)


@pytest.mark.parametrize(
    ("what", "snapshot"),
    [
        ("of unlike size", two(10 * MS, sizes=(MSS, 2 * MSS))),
        ("of which one acknowledged nothing: a request", two(10 * MS, sizes=(MSS, 0))),
        ("of small packets", two(10 * MS, sizes=(300, 300))),
        ("sent further apart than half of their gap", two(10 * MS, sent_gap_ns=6 * MS)),
        ("of which the second was sent again", two(10 * MS, sent_gap_ns=-1)),
        ("at the same moment", two(0, sent_gap_ns=0)),
    ],
)
def test_no_pair(what, snapshot):
    assert pairs([snapshot])[1] == [], what


def test_a_full_bucket_fools_it_without_bound_until_most_pairs_are_later_ones():
    snapshots = Link(RATE, bucket=4 * MSS, cwnd=14).carry(burst(14 * MSS))
    pair = PacketPair()
    for snapshot in snapshots[:6]:
        pair.observe(snapshot)
    assert pair.estimate is None or pair.estimate > 2 * RATE
    for snapshot in snapshots[6:]:
        pair.observe(snapshot)
    assert pair.estimate == pytest.approx(RATE, rel=0.01)


def test_compressed_acknowledgements_fool_it():
    pair, found = pairs(Link(RATE, hold_ns=50 * MS).carry(burst(40 * MSS)))
    assert len(found) > 9
    assert pair.estimate > 100 * RATE


def test_a_delayed_acknowledgement_is_no_pair():
    # The last packet of each response waits 40 ms for a second one.
    snapshots = Link(RATE, ack_every=2).carry(responses(5, 3 * MSS, 500 * MS))
    _, found = pairs(snapshots)
    assert not any(value < 0.5 * RATE for value in found)


def test_an_application_with_little_to_send_gives_no_pairs():
    _, found = pairs(Link(RATE).carry([Write(i * 100 * MS, MSS) for i in range(20)]))
    assert found == []


def test_a_link_that_has_become_faster_is_not_noticed_while_acknowledgements_pace_the_sender():
    link = Link(lambda at_ns: RATE if at_ns < 1000 * MS else 10 * RATE, cwnd_limit=10)
    pair, found = pairs(link.carry(burst(600_000)))
    assert found
    assert pair.estimate == pytest.approx(RATE, rel=0.01)


def test_one_that_has_become_slower_is_noticed_by_what_was_under_way():
    link = Link(lambda at_ns: 10 * RATE if at_ns < 1000 * MS else RATE, cwnd_limit=10)
    pair, _ = pairs(link.carry(burst(1_400_000)))
    assert pair.estimate == pytest.approx(RATE, rel=0.01)
