"""The train: what has arrived when, through losses, wrapping numbers and pauses, in few points."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from modnet.estimate.snapshot import seq_diff
from modnet.estimate.train import WINDOW_NS, Train

from tests.estimate.link import MS, MSS, Link, Packet, Snapshot, burst, look, responses, sampled

RATE = 125_000.0


def fed(snapshots):
    train = Train()
    for snapshot in snapshots:
        train.observe(snapshot)
    return train


def test_a_point_lies_where_the_acknowledgement_came_not_where_somebody_looked():
    link = Link(RATE).carry(burst(200_000))
    came = {(s.packets[0].arrival_ns, s.bytes_acked) for s in link}
    for every_ns in (3 * MS, 20 * MS):
        seen = fed(look(link, every_ns)).points
        assert len(seen) > 5
        assert {(p.at_ns, p.arrived) for p in seen} <= came


def test_the_first_snapshot_of_a_connection_is_where_counting_begins():
    link = Link(RATE).carry(burst(200_000))
    assert not fed(link[40:41]).points
    assert fed(link[40:42]).points[-1].arrived == MSS


@given(st.integers(1, 400), st.sampled_from([100_000.0, 1e6, 3e7]), st.integers(1, 20))
def test_points_are_few_in_order_and_reach_back_a_window(packets, rate, every_ms):
    train = fed(look(Link(rate, cwnd_limit=300).carry(burst(packets * MSS)), every_ms * MS))
    points = train.points
    assert len(points) <= 97
    assert all(
        a.at_ns < b.at_ns and a.arrived <= b.arrived for a, b in zip(points, list(points)[1:], strict=False)
    )
    if points and points[0] is not train.begun:
        assert points[-1].at_ns - points[0].at_ns >= WINDOW_NS


def test_a_snapshot_shows_two_acknowledgements_and_both_are_points():
    link = Link(RATE).carry(burst(30_000))
    assert fed([*link[:5], link[6], link[8]]).points == fed(link[:9]).points


def test_a_long_train_s_points_are_spread_evenly_over_the_window():
    points = fed(look(Link(240 * RATE, cwnd_limit=1000).carry(burst(20_000_000)), MS)).points
    gaps = [b.at_ns - a.at_ns for a, b in zip(points, list(points)[1:], strict=False)]
    assert len(points) > 40
    assert max(gaps) < WINDOW_NS / 20
    assert points[-1].at_ns - points[0].at_ns < 1.1 * WINDOW_NS


def test_a_pause_begins_a_new_train():
    link = Link(RATE).carry(responses(2, 30_000, 1000 * MS))
    train = fed(link)
    assert train.begun.at_ns - link[0].updated_ns > 900 * MS
    assert train.size == 30_000


def test_a_pause_that_nobody_saw_does_too():
    # Read while the first response is under way, and not again before the second is.
    link = Link(RATE).carry(responses(2, 14_480, 200 * MS))
    late = next(i for i, s in enumerate(link) if s.bytes_acked > 14_480 + 3 * MSS)
    train = fed([link[0], link[2], link[4], *link[late:-2]])
    assert train.begun.at_ns == link[late].packets[1].arrival_ns


def test_a_lone_last_packet_that_a_timer_acknowledged_is_no_point():
    link = Link(RATE, ack_every=2).carry(burst(21 * MSS))
    assert link[-1].packets[0].arrival_ns - link[-2].packets[0].arrival_ns > 40 * MS
    train = fed(link)
    assert train.points[-1].at_ns == link[-2].packets[0].arrival_ns
    assert train.points[-1].arrived == link[-2].bytes_acked - link[0].bytes_acked


def test_a_request_moves_nothing():
    link = Link(RATE).carry(burst(30_000))
    train, other = fed(link[:8]), fed(link[:8])
    last = link[7]
    other.observe(replace(last, packets=(Packet(last.updated_ns + 1, 0, 0), last.packets[0])))
    assert other.points == train.points


def test_a_request_that_came_with_what_was_acknowledged_before_it_does_not_hide_that():
    link = Link(RATE).carry(burst(30_000))
    train, other = fed(link[:9]), fed(link[:8])
    last = link[8]
    other.observe(replace(last, packets=(Packet(last.updated_ns + 5 * MS, 0, 0), last.packets[0])))
    assert other.points == train.points


def test_without_single_packets_the_time_of_reading_has_to_do():
    link = Link(RATE).carry(burst(100_000))
    train = fed(sampled(look(link, 10 * MS)))
    assert train.points[-1].at_ns == link[-1].updated_ns
    assert train.points[-1].chunk == train.points[-1].arrived - train.points[-2].arrived
    assert {p.sent_ns for p in train.points} == {0}


def test_a_part_of_a_large_packet_has_no_time_of_its_own_and_the_usual_delay():
    link = Link(RATE).carry(burst(30_000))
    newest, before = link[8].packets
    part = replace(link[8], srtt_us=30_000, packets=(replace(newest, sent_ns=0), before))
    point = fed([*link[:8], part]).points[-1]
    assert (point.at_ns, point.sent_ns) == (newest.arrival_ns, 0)
    assert point.delay_ns == (30_000 - part.min_rtt_us) * 1000


def test_packets_are_counted_modulo_their_width():
    start = 2**32 - 3
    snapshots = [replace(hole(n, n, 0, resent=min(n, 1)), delivered=(start + n) % 2**32) for n in range(8)]
    assert fed(snapshots).points[-1].arrived == 7 * MSS


def hole(n, delivered, acked, resent=0, nxt=60):
    """Packet `n` has come: so many delivered, so many acknowledged in order."""
    packet = Packet(10**9 + n * 10 * MS, 10**9, 0 if acked == 10 else MSS)
    return Snapshot(
        updated_ns=packet.arrival_ns,
        snd_una=acked * MSS,
        snd_nxt=nxt * MSS,
        write_seq=10**6,
        delivered=delivered,
        bytes_acked=acked * MSS,
        retransmits=resent,
        packets=(packet, Packet()),
    )


def test_what_arrives_behind_a_hole_counts_when_it_arrives_and_not_when_the_hole_is_filled():
    train = fed(
        [
            *(hole(n, n, n) for n in range(11)),
            # The eleventh was lost and sent again; forty arrive behind it, then the hole is filled.
            *(hole(n, n, 10, resent=1) for n in range(11, 51)),
            hole(51, 51, 51, resent=1),
        ]
    )
    steps = [b.arrived - a.arrived for a, b in zip(train.points, list(train.points)[1:], strict=False)]
    times = [b.at_ns - a.at_ns for a, b in zip(train.points, list(train.points)[1:], strict=False)]
    assert {s / t for s, t in zip(steps, times, strict=True)} == {MSS / (10 * MS)}


def test_after_the_hole_bytes_count_again():
    snapshots = [hole(0, 0, 0), hole(1, 1, 1, resent=1, nxt=2), hole(2, 2, 2, resent=1, nxt=9)]
    small = replace(hole(3, 3, 2, resent=1, nxt=9), bytes_acked=2 * MSS + 100, snd_una=2 * MSS + 100)
    train = fed([*snapshots, small])
    assert train.points[-1].arrived == 2 * MSS + 100


def test_sequence_numbers_wrap():
    plain = fed(Link(RATE).carry(responses(3, 50_000, 1000 * MS)))
    wrapped = fed(Link(RATE, first_seq=2**32 - 70_000).carry(responses(3, 50_000, 1000 * MS)))
    assert plain.points == wrapped.points and plain.size == wrapped.size


@given(st.integers(0, 2**32 - 1), st.integers(-(2**31), 2**31 - 1))
def test_the_difference_of_sequence_numbers(start, distance):
    assert seq_diff((start + distance) % 2**32, start) == distance
