//! The train: what has arrived when, through losses, wrapping numbers and pauses, in few points.

use super::*;
use crate::link::{burst, look, responses, sampled, Link, MS, MSS, SECOND};

const RATE: f64 = 125_000.0;

fn take(train: &mut Train, snapshot: &Snapshot) {
    if let Some(news) = train.read(snapshot) {
        train.add(&news);
    }
}

fn fed<'a>(snapshots: impl IntoIterator<Item = &'a Snapshot>) -> Train {
    let mut train = Train::default();
    for snapshot in snapshots {
        take(&mut train, snapshot);
    }
    train
}

fn pairs(train: &Train) -> impl Iterator<Item = (&Point, &Point)> {
    train.points().iter().zip(train.points().iter().skip(1))
}

fn last(train: &Train) -> Point {
    *train.points().back().unwrap()
}

#[test]
fn a_point_lies_where_the_acknowledgement_came_not_where_somebody_looked() {
    let link = Link::new(RATE).carry(&burst(200_000));
    for every_ns in [3 * MS, 20 * MS] {
        let train = fed(&look(&link, every_ns));
        assert!(train.points().len() > 5);
        for point in train.points() {
            let came =
                |s: &Snapshot| (s.packets[0].arrival_ns, s.bytes_acked) == (point.at_ns, point.arrived);
            assert!(link.iter().any(came), "{point:?}");
        }
    }
}

#[test]
fn the_first_snapshot_of_a_connection_is_where_counting_begins() {
    let link = Link::new(RATE).carry(&burst(200_000));
    assert!(fed(&link[40..41]).points().is_empty());
    assert_eq!(last(&fed(&link[40..42])).arrived, MSS);
}

#[test]
fn points_are_few_in_order_and_reach_back_a_window() {
    for (packets, rate, every_ms) in [1, 7, 40, 400].into_iter().flat_map(|packets| {
        [100_000.0, 1e6, 3e7].into_iter().flat_map(move |rate| [1, 3, 20].map(|every| (packets, rate, every)))
    }) {
        let mut link = Link::new(rate);
        link.cwnd_limit = 300;
        let mut train = Train::default();
        for snapshot in look(&link.carry(&burst(packets * MSS)), every_ms * MS) {
            take(&mut train, &snapshot);
            assert!(train.points().len() <= 96);
            assert!(pairs(&train).all(|(a, b)| a.at_ns < b.at_ns && a.arrived <= b.arrived));
            if train.points().front().is_some_and(|first| *first != train.begun) {
                assert!(last(&train).at_ns - train.points()[0].at_ns >= WINDOW_NS);
            }
        }
    }
}

#[test]
fn a_snapshot_shows_two_acknowledgements_and_both_are_points() {
    let link = Link::new(RATE).carry(&burst(30_000));
    let some = fed(link[..5].iter().chain([&link[6], &link[8]]));
    assert_eq!(some.points(), fed(&link[..9]).points());
}

#[test]
fn a_long_train_s_points_are_spread_evenly_over_the_window() {
    let mut link = Link::new(240.0 * RATE);
    link.cwnd_limit = 1000;
    let train = fed(&look(&link.carry(&burst(20_000_000)), MS));
    assert!(train.points().len() > 40);
    assert!(pairs(&train).all(|(a, b)| b.at_ns - a.at_ns < WINDOW_NS / 20));
    assert!(last(&train).at_ns - train.points()[0].at_ns < WINDOW_NS * 11 / 10);
}

#[test]
fn a_pause_begins_a_new_train() {
    let link = Link::new(RATE).carry(&responses(2, 30_000, SECOND));
    let train = fed(&link);
    assert!(train.begun.at_ns - link[0].updated_ns > 900 * MS);
    assert_eq!(train.size, 30_000);
}

#[test]
fn a_pause_that_nobody_saw_does_too() {
    // Read while the first response is under way, and not again before the second is.
    let link = Link::new(RATE).carry(&responses(2, 14_480, 200 * MS));
    let late = link.iter().position(|snapshot| snapshot.bytes_acked > 14_480 + 3 * MSS).unwrap();
    let train = fed([&link[0], &link[2], &link[4]].into_iter().chain(&link[late..link.len() - 2]));
    assert_eq!(train.begun.at_ns, link[late].packets[1].arrival_ns);
}

#[test]
fn a_lone_last_packet_that_a_timer_acknowledged_is_no_point() {
    let mut link = Link::new(RATE);
    link.ack_every = 2;
    let link = link.carry(&burst(21 * MSS));
    let [.., before, end] = &link[..] else { unreachable!() };
    assert!(end.packets[0].arrival_ns - before.packets[0].arrival_ns > 40 * MS);
    let point = last(&fed(&link));
    assert_eq!((point.at_ns, point.arrived), (before.packets[0].arrival_ns, before.bytes_acked));
}

#[test]
fn a_request_moves_nothing() {
    let link = Link::new(RATE).carry(&burst(30_000));
    let (train, mut other) = (fed(&link[..8]), fed(&link[..8]));
    let request = Packet { arrival_ns: link[7].updated_ns + 1, ..Packet::default() };
    take(&mut other, &Snapshot { packets: [request, link[7].packets[0]], ..link[7] });
    assert_eq!(other.points(), train.points());
}

#[test]
fn a_request_that_came_with_what_was_acknowledged_before_it_does_not_hide_that() {
    let link = Link::new(RATE).carry(&burst(30_000));
    let (train, mut other) = (fed(&link[..9]), fed(&link[..8]));
    let request = Packet { arrival_ns: link[8].updated_ns + 5 * MS, ..Packet::default() };
    take(&mut other, &Snapshot { packets: [request, link[8].packets[0]], ..link[8] });
    assert_eq!(other.points(), train.points());
}

#[test]
fn without_single_packets_the_time_of_reading_has_to_do() {
    let link = Link::new(RATE).carry(&burst(100_000));
    let readings = sampled(&look(&link, 10 * MS));
    let train = fed(&readings);
    let (before, point) = pairs(&train).last().unwrap();
    assert_eq!(point.at_ns, link.last().unwrap().updated_ns);
    assert_eq!(point.chunk, point.arrived - before.arrived);
    assert!(train.points().iter().all(|point| point.sent_ns == 0));
    let [.., earlier, end] = &readings[..] else { unreachable!() };
    assert_eq!(train.blur_ns, end.updated_ns - earlier.updated_ns);
}

#[test]
fn a_part_of_a_large_packet_has_no_time_of_its_own_and_the_usual_delay() {
    let link = Link::new(RATE).carry(&burst(30_000));
    let [newest, before] = link[8].packets;
    let part = Snapshot { srtt_us: 30_000, packets: [Packet { sent_ns: 0, ..newest }, before], ..link[8] };
    let point = last(&fed(link[..8].iter().chain([&part])));
    assert_eq!((point.at_ns, point.sent_ns), (newest.arrival_ns, 0));
    assert_eq!(point.delay_ns, (30_000 - part.min_rtt_us) * 1000);
}

/// Packet `n` has come: so many delivered, so many acknowledged in order.
fn hole(n: u32, delivered: u32, acked: u32, retransmits: u32) -> Snapshot {
    let at_ns = SECOND + i64::from(n) * 10 * MS;
    let acked_bytes = if acked == 10 { 0 } else { MSS };
    let packet = Packet { arrival_ns: at_ns, sent_ns: SECOND, acked_bytes };
    Snapshot {
        updated_ns: at_ns,
        snd_una: acked * 1448,
        snd_nxt: 60 * 1448,
        write_seq: 1_000_000,
        mss: MSS,
        delivered,
        bytes_acked: i64::from(acked) * MSS,
        retransmits,
        packets: [packet, Packet::default()],
        ..Snapshot::default()
    }
}

#[test]
fn packets_are_counted_modulo_their_width() {
    let start = u32::MAX - 2;
    let readings = (0..8).map(|n| Snapshot { delivered: start.wrapping_add(n), ..hole(n, n, 0, n.min(1)) });
    assert_eq!(last(&fed(&readings.collect::<Vec<_>>())).arrived, 7 * MSS);
}

#[test]
fn what_arrives_behind_a_hole_counts_when_it_arrives_and_not_when_the_hole_is_filled() {
    let mut readings: Vec<_> = (0..11).map(|n| hole(n, n, n, 0)).collect();
    // The eleventh was lost and sent again; forty arrive behind it, then the hole is filled.
    readings.extend((11..51).map(|n| hole(n, n, 10, 1)));
    readings.push(hole(51, 51, 51, 1));
    let train = fed(&readings);
    assert!(train.points().len() > 20);
    assert!(pairs(&train).all(|(a, b)| (b.arrived - a.arrived) * 10 * MS == (b.at_ns - a.at_ns) * MSS));
}

#[test]
fn after_the_hole_bytes_count_again() {
    let mut readings = [hole(0, 0, 0, 0), hole(1, 1, 1, 1), hole(2, 2, 2, 1), hole(3, 3, 2, 1)];
    for (reading, packets) in readings[1..].iter_mut().zip([2, 9, 9]) {
        reading.snd_nxt = packets * 1448;
    }
    readings[3].bytes_acked += 100;
    readings[3].snd_una += 100;
    assert_eq!(last(&fed(&readings)).arrived, 2 * MSS + 100);
}

#[test]
fn sequence_numbers_wrap() {
    let writes = responses(3, 50_000, SECOND);
    let plain = fed(&Link::new(RATE).carry(&writes));
    let mut link = Link::new(RATE);
    link.first_seq = u32::MAX - 69_999;
    let wrapped = fed(&link.carry(&writes));
    assert_eq!((plain.points(), plain.size), (wrapped.points(), wrapped.size));
}
