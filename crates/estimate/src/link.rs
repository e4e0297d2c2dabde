//! A connection over a simulated link, for tests: the part of `tests/estimate/link.py` that the tests of this crate need.
//!
//! The sender keeps `cwnd` packets under way and adds one for each acknowledged, up to `cwnd_limit`. The link is a queue; the
//! receiver acknowledges every `ack_every` packets, a lone one by a timer. Deterministic.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::snapshot::{Packet, Snapshot};

pub const MSS: i64 = 1448;
pub const MS: i64 = 1_000_000;
pub const SECOND: i64 = 1_000_000_000;
pub const START_NS: i64 = SECOND;
/// What passes at once passes at 1 Gbit/s.
const LINE_NS: i64 = 12_000;
const ACK_TIMER_NS: i64 = 40 * MS;

/// So many bytes are written so long after the start.
#[derive(Clone, Copy)]
pub struct Write {
    pub at_ns: i64,
    pub size: i64,
}

/// One response.
pub fn burst(size: i64) -> Vec<Write> {
    vec![Write { at_ns: 0, size }]
}

/// A response each, so far apart.
pub fn responses(count: i64, size: i64, every_ns: i64) -> Vec<Write> {
    (0..count).map(|number| Write { at_ns: number * every_ns, size }).collect()
}

/// What a reader sees that looks every so many nanoseconds: the state of that moment, the newest packets in it.
pub fn look(snapshots: &[Snapshot], every_ns: i64) -> Vec<Snapshot> {
    let mut at_ns = snapshots[0].updated_ns;
    let mut seen = Vec::new();
    for (number, current) in snapshots.iter().enumerate() {
        let following = snapshots.get(number + 1);
        let end_ns = following.map_or(current.updated_ns + every_ns, |following| following.updated_ns);
        if at_ns < end_ns {
            seen.push(*current);
            at_ns += (end_ns - at_ns + every_ns - 1) / every_ns * every_ns;
        }
    }
    seen
}

/// The same without what single packets tell, as TCP_INFO has it.
pub fn sampled(snapshots: &[Snapshot]) -> Vec<Snapshot> {
    snapshots.iter().map(|snapshot| Snapshot { packets: [Packet::default(); 2], ..*snapshot }).collect()
}

enum Event {
    Write(i64),
    Arrive(i64, i64),
    Timer(usize),
    /// Bytes, packets, and when the newest was sent.
    Ack(i64, u32, i64),
}

/// What happens when; events of one moment in the order in which they were made.
#[derive(Default)]
struct Events {
    made: Vec<Event>,
    due: BinaryHeap<Reverse<(i64, usize)>>,
}

impl Events {
    fn later(&mut self, at_ns: i64, event: Event) {
        self.due.push(Reverse((at_ns, self.made.len())));
        self.made.push(event);
    }
}

/// `rate` in bytes of payload a second.
pub struct Link {
    pub rate: f64,
    /// So long after the start it is another one.
    pub later: Option<(i64, f64)>,
    pub rtt_ns: i64,
    pub ack_every: usize,
    pub cwnd: i64,
    pub cwnd_limit: i64,
    pub first_seq: u32,
}

impl Link {
    pub fn new(rate: f64) -> Self {
        Self { rate, later: None, rtt_ns: 10 * MS, ack_every: 1, cwnd: 10, cwnd_limit: 60, first_seq: 1 }
    }

    /// A snapshot for each write and each acknowledgement.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // sequence numbers wrap
    pub fn carry(&self, writes: &[Write]) -> Vec<Snapshot> {
        let mut events = Events::default();
        for write in writes {
            events.later(START_NS + write.at_ns, Event::Write(write.size));
        }
        let (mut written, mut sent, mut acked, mut delivered) = (0, 0, 0, 0);
        let (mut cwnd, mut flight, mut free_ns) = (self.cwnd, 0, 0);
        // At the receiver, not acknowledged: bytes of each, and when the newest was sent.
        let (mut waiting, mut newest_ns, mut timer) = (Vec::new(), 0, 0);
        let (mut packets, mut srtt, mut least) = ([Packet::default(); 2], 0.0, 0.0);
        let mut seen = Vec::new();
        while let Some(Reverse((now, number))) = events.due.pop() {
            let mut is_seen = true;
            match events.made[number] {
                Event::Write(size) => written += size,
                Event::Arrive(size, sent_ns) => {
                    is_seen = false;
                    waiting.push(size);
                    (newest_ns, timer) = (sent_ns, timer + 1);
                    if waiting.len() < self.ack_every {
                        events.later(now + ACK_TIMER_NS, Event::Timer(timer));
                    } else {
                        self.acknowledge(&mut events, now, &mut waiting, newest_ns);
                    }
                }
                Event::Timer(set) => {
                    is_seen = false;
                    if set == timer && !waiting.is_empty() {
                        self.acknowledge(&mut events, now, &mut waiting, newest_ns);
                    }
                }
                Event::Ack(size, count, sent_ns) => {
                    (acked, delivered, flight) = (acked + size, delivered + count, flight - i64::from(count));
                    cwnd = self.cwnd_limit.min(cwnd + i64::from(count));
                    packets = [Packet { arrival_ns: now, sent_ns, acked_bytes: size }, packets[0]];
                    let rtt = (now - sent_ns) as f64 / 1000.0;
                    (srtt, least) =
                        if srtt > 0.0 { (srtt + (rtt - srtt) / 8.0, rtt.min(least)) } else { (rtt, rtt) };
                }
            }
            while flight < cwnd && sent < written {
                let size = MSS.min(written - sent);
                free_ns = self.pass(now.max(free_ns), size);
                events.later(free_ns + self.rtt_ns / 2, Event::Arrive(size, now));
                (sent, flight) = (sent + size, flight + 1);
            }
            if is_seen {
                seen.push(Snapshot {
                    updated_ns: now,
                    snd_una: self.first_seq.wrapping_add(acked as u32),
                    snd_nxt: self.first_seq.wrapping_add(sent as u32),
                    write_seq: self.first_seq.wrapping_add(written as u32),
                    mss: MSS,
                    srtt_us: srtt.round() as i64,
                    min_rtt_us: least.round() as i64,
                    delivered,
                    bytes_acked: acked,
                    packets,
                    ..Snapshot::default()
                });
            }
        }
        seen
    }

    #[allow(clippy::cast_possible_truncation)] // a few packets
    fn acknowledge(&self, events: &mut Events, now: i64, waiting: &mut Vec<i64>, sent_ns: i64) {
        let ack = Event::Ack(waiting.iter().sum(), waiting.len() as u32, sent_ns);
        waiting.clear();
        events.later(now + self.rtt_ns / 2, ack);
    }

    /// When a packet has passed whose turn has come.
    #[allow(clippy::cast_possible_truncation)] // nanoseconds of seconds
    fn pass(&self, start: i64, size: i64) -> i64 {
        let rate = self
            .later
            .filter(|(from_ns, _)| start - START_NS >= *from_ns)
            .map_or(self.rate, |(_, rate)| rate);
        start + ((size * SECOND) as f64 / rate).round().max(LINE_NS as f64) as i64
    }
}
