"""The rate of acknowledgement: right on every link, and each case of the table of what fools it."""

from dataclasses import replace

import pytest
from modnet.estimate import DeliveryRate

from tests.estimate.link import MS, MSS, SECOND, Link, Packet, Write, burst, look, responses, sampled

RATE = 125_000.0


def rate_of(snapshots):
    rate = DeliveryRate()
    for snapshot in snapshots:
        rate.observe(snapshot)
    return rate


def mean(snapshots):
    """What a plain mean over a train says: all but its first acknowledgement's bytes over its time."""
    acks = [s for s in snapshots if s.bytes_acked]
    return (acks[-1].bytes_acked - acks[0].bytes_acked) * SECOND / (acks[-1].updated_ns - acks[0].updated_ns)


@pytest.mark.parametrize("mbit", [1, 2, 10, 50, 240])
@pytest.mark.parametrize("every_ns", [MS, 5 * MS])
@pytest.mark.parametrize("ack_every", [1, 2])
def test_a_long_transfer(mbit, every_ns, ack_every):
    link = Link(mbit * RATE, cwnd_limit=600, ack_every=ack_every)
    rate = rate_of(look(link.carry(burst(int(mbit * RATE))), every_ns))
    assert rate.recent == pytest.approx(mbit * RATE, rel=0.01)
    assert rate.estimate == rate.recent


def test_nothing_is_known_before_eight_packets():
    link = Link(RATE).carry(burst(100_000))
    assert rate_of(link[:8]).recent is None
    assert rate_of(link[:14]).recent == pytest.approx(RATE, rel=0.01)


def test_sampled_state_does_for_long_transfers():
    rate = rate_of(sampled(look(Link(RATE).carry(burst(300_000)), 10 * MS)))
    assert rate.recent == pytest.approx(RATE, rel=0.1)


def test_a_full_bucket_s_head_is_left_out():
    snapshots = Link(RATE, bucket=7 * MSS).carry(burst(30 * MSS))
    assert mean(snapshots) > 1.25 * RATE
    assert rate_of(snapshots).recent == pytest.approx(RATE, rel=0.01)


def test_a_bucket_of_most_of_a_response_fools_it():
    snapshots = Link(RATE, bucket=25 * MSS).carry(burst(30 * MSS))
    assert rate_of(snapshots).recent > 1.5 * RATE


def test_large_packets_that_pass_whole_are_charged_to_the_gap_behind_them():
    # Slow start through HTB on a device with segmentation offload: each acknowledgement lets a larger one go.
    sizes = [5, 5, 7, 9, 12, 16, 21, 28, 37]
    link = Link(RATE, whole=True, cwnd=2, cwnd_limit=2, packet=lambda n: sizes[n] * MSS)
    snapshots = link.carry(burst(sum(sizes) * MSS))
    assert mean(snapshots) > 1.25 * RATE
    assert rate_of(snapshots).recent == pytest.approx(RATE, rel=0.01)


def test_an_application_with_little_to_send_does_not_lower_it():
    trickle = [Write(SECOND + i * 4 * MS, 100) for i in range(500)]
    rate = rate_of(Link(RATE, rtt_ns=50 * MS).carry([Write(0, 50_000), *trickle]))
    assert rate.recent == pytest.approx(RATE, rel=0.05)


def test_an_application_that_sends_more_than_was_known_raises_it():
    # Three times the rate of the transfer before, and still no queue: at least so much is there.
    link = Link(lambda at_ns: RATE if at_ns < SECOND else 100 * RATE, rtt_ns=50 * MS)
    more = [Write(SECOND + i * 4 * MS, 1500) for i in range(500)]
    assert rate_of(link.carry([Write(0, 50_000), *more])).recent == pytest.approx(3 * RATE, rel=0.1)


def test_a_window_that_is_small_for_a_long_path_makes_it_a_lower_bound():
    # Six packets take 7 ms of each 100.
    small = rate_of(Link(10 * RATE, rtt_ns=100 * MS, cwnd=6, cwnd_limit=6).carry(burst(60 * MSS)))
    assert small.recent < 0.2 * 10 * RATE
    assert small.bound
    large = rate_of(Link(10 * RATE, rtt_ns=100 * MS, cwnd_limit=200).carry(burst(3_000_000)))
    assert large.recent == pytest.approx(10 * RATE, rel=0.01)
    assert not large.bound and large.trust > 0.9


def test_the_first_flight_tells_the_rate_of_a_long_path_and_lower_bounds_do_not_lower_it():
    rate = DeliveryRate()
    for snapshot in Link(10 * RATE, rtt_ns=100 * MS, cwnd=16).carry(burst(90 * MSS)):
        rate.observe(snapshot)
        assert rate.recent is None or rate.recent == pytest.approx(10 * RATE, rel=0.01)
    assert rate.recent is not None


def test_a_lull_before_the_last_acknowledgement_is_left_out_until_the_next_one_shows_that_it_lasts():
    before = Link(RATE).carry(burst(60 * MSS))[:50]
    late = [
        replace(
            before[-1],
            updated_ns=(at := before[-1].updated_ns + n * 400 * MS),
            bytes_acked=before[-1].bytes_acked + n * MSS,
            delivered=before[-1].delivered + n,
            snd_una=before[-1].snd_una + n * MSS,
            packets=(Packet(at, at - 300 * MS, MSS), Packet(at - 400 * MS, at - 700 * MS, MSS)),
        )
        for n in (1, 2)
    ]
    assert rate_of([*before, late[0]]).recent == pytest.approx(RATE, rel=0.01)
    assert rate_of([*before, *late]).recent < 0.6 * RATE


def test_a_lower_bound_near_what_is_known_confirms_it():
    # As a congestion control that keeps the queue empty does: 95 % of the link, and nothing ever waits.
    paced = [Write(SECOND + i * round(MSS * SECOND / (0.95 * RATE)), MSS) for i in range(200)]
    snapshots = Link(RATE, rtt_ns=50 * MS).carry([Write(0, 50_000), *paced])
    rate = rate_of(snapshots)
    assert rate.recent == pytest.approx(RATE, rel=0.01) and not rate.bound
    assert rate.at_ns == pytest.approx(snapshots[-1].updated_ns, abs=100 * MS)


def test_compressed_acknowledgements_hardly_move_it():
    rate = rate_of(Link(RATE, hold_ns=50 * MS).carry(burst(150_000)))
    assert rate.recent == pytest.approx(RATE, rel=0.2)


def test_in_a_short_train_they_fool_it():
    assert rate_of(Link(RATE, cwnd=8, hold_ns=500 * MS).carry(burst(8 * MSS))).recent is None
    assert rate_of(Link(RATE, cwnd=20, hold_ns=500 * MS).carry(burst(20 * MSS))).recent > 50 * RATE


def test_a_delayed_acknowledgement_at_the_end_is_left_out():
    snapshots = Link(10 * RATE, ack_every=2).carry(burst(35 * MSS))
    assert mean(snapshots) < 0.6 * 10 * RATE
    assert rate_of(snapshots).recent == pytest.approx(10 * RATE, rel=0.01)


@pytest.mark.parametrize("slow", [False, True])
def test_half_a_second_after_a_change_nothing_of_the_time_before_is_left(slow):
    before, after = (10 * RATE, RATE) if slow else (RATE, 10 * RATE)
    link = Link(lambda at_ns: before if at_ns < SECOND else after).carry(burst(4_000_000))
    begun = link[0].updated_ns
    assert rate_of(s for s in link if s.updated_ns < begun + SECOND).recent == pytest.approx(before, rel=0.01)
    half_a_second_later = [s for s in link if s.updated_ns < begun + 1.5 * SECOND]
    assert rate_of(half_a_second_later).recent == pytest.approx(after, rel=0.01)


def test_the_maximum_is_kept_for_ten_seconds():
    link = Link(lambda at_ns: 10 * RATE if at_ns < SECOND else RATE)
    snapshots = link.carry(responses(14, 250_000, SECOND))
    begun = snapshots[0].updated_ns
    early = rate_of(s for s in snapshots if s.updated_ns < begun + 9 * SECOND)
    assert early.recent == pytest.approx(RATE, rel=0.05)
    assert early.maximum == pytest.approx(10 * RATE, rel=0.05)
    assert rate_of(snapshots).maximum == pytest.approx(RATE, rel=0.05)


def test_responses_on_one_connection_each_tell_it():
    rate = DeliveryRate()
    link = Link(RATE, bucket=7 * MSS).carry(responses(5, 50_000, SECOND))
    ends = []
    for snapshot in look(link, 5 * MS):
        rate.observe(snapshot)
        if snapshot.snd_una == snapshot.snd_nxt and rate.recent:
            ends.append(rate.recent)
    assert len(ends) >= 5
    assert all(value == pytest.approx(RATE, rel=0.05) for value in ends)
