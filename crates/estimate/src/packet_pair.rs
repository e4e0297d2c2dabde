//! [`PacketPair`]: bandwidth from the last two packets that were acknowledged (the paper's §5.4, after Lai and Baker, SIGCOMM
//! 2000).
//!
//! Two packets that leave close together reach the narrowest link together and leave it one after the other, as far apart as
//! that link needs for the second one. So its size over the time between the two acknowledgements is what the link carries.
//!
//! What fools it, and what is done:
//!
//! - A token bucket that is not empty: both pass at once, too much, without bound. Half of the latest pairs may be so.
//! - Compressed acknowledgements, that waited together on the way back: too much. Pairs that were sent further apart than they
//!   came back are left out; those that were not fool it.
//! - Delayed acknowledgements: one of the two stands for two packets, or for a timer. Pairs of unlike size are left out.
//! - An application that has little to send: the link was not the reason for the gap, too little. Pairs sent more than half of
//!   their gap apart are left out.
//! - Acknowledgements that pace the sender, as in a long transfer: no two packets leave together, so there are no pairs and the
//!   estimate stays what it was. A link that has become faster is not noticed.
//!
//! Must not: be the only thing a policy rests on. `Bandwidth` uses it where nothing better is known.

use crate::snapshot::Snapshot;

/// Odd, so that the median is a pair. Of a bucket's ten packets at the start of a response, a reader every few milliseconds sees
/// one to three.
const PAIRS: usize = 9;
/// Acknowledgements of one and of two packets are not alike, those of a full and a nearly full one are.
const ALIKE: f64 = 0.75;
const CLOSE: f64 = 0.5;

/// Bandwidth by packet pair, in bytes/s of payload.
#[derive(Clone, Debug, Default)]
pub struct PacketPair {
    /// A ring; how many there were, ever.
    pairs: [f64; PAIRS],
    count: usize,
    seen_ns: i64,
}

impl PacketPair {
    /// Nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The latest pair alone, as the paper takes it; bytes/s, None before the first one.
    #[must_use]
    pub fn last(&self) -> Option<f64> {
        self.count.checked_sub(1).map(|last| self.pairs[last % PAIRS])
    }

    /// The median of the latest nine pairs; bytes/s, None before the first one.
    #[must_use]
    pub fn estimate(&self) -> Option<f64> {
        let mut pairs = self.pairs;
        let pairs = &mut pairs[..self.count.min(PAIRS)];
        pairs.sort_unstable_by(f64::total_cmp);
        let middle = pairs.len() / 2;
        if pairs.len() % 2 == 1 {
            return Some(pairs[middle]);
        }
        (middle > 0).then(|| f64::midpoint(pairs[middle - 1], pairs[middle]))
    }

    /// Takes the pair that the snapshot shows, if it is new and a pair at all; whether it was.
    pub fn observe(&mut self, snapshot: &Snapshot) -> bool {
        let [newest, before] = snapshot.packets;
        if newest.arrival_ns == self.seen_ns {
            return false;
        }
        self.seen_ns = newest.arrival_ns;
        let (size, other) = (newest.acked_bytes as f64, before.acked_bytes as f64);
        let gap_ns = (newest.arrival_ns - before.arrival_ns) as f64;
        let apart_ns = (newest.sent_ns - before.sent_ns) as f64;
        let pair = newest.acked_bytes >= snapshot.mss
            && snapshot.mss > 0
            && (ALIKE * size..=size / ALIKE).contains(&other)
            && before.sent_ns > 0
            && (0.0..=CLOSE * gap_ns).contains(&apart_ns)
            && gap_ns > 0.0;
        if pair {
            self.pairs[self.count % PAIRS] = size * 1e9 / gap_ns;
            self.count += 1;
        }
        pair
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{MS, MSS};
    use crate::snapshot::Packet;

    fn two(gap_ns: i64, at_ns: i64) -> Snapshot {
        let newest = Packet { arrival_ns: at_ns, sent_ns: at_ns - 20 * MS, acked_bytes: MSS };
        let before = Packet { arrival_ns: at_ns - gap_ns, sent_ns: newest.sent_ns - 1000, acked_bytes: MSS };
        Snapshot { mss: MSS, packets: [newest, before], ..Snapshot::default() }
    }

    #[test]
    fn the_estimate_is_the_median_of_the_latest_nine_and_of_two_their_mean() {
        let mut pair = PacketPair::new();
        assert_eq!((pair.estimate(), pair.last()), (None, None));
        let mut found = Vec::new();
        for (number, gap) in [1, 2, 1, 1, 1, 1, 10, 10, 10, 10, 10, 1].into_iter().enumerate() {
            assert!(pair.observe(&two(gap * MS, (number as i64 + 1) * 1_000_000_000)));
            found.push(pair.estimate().unwrap() / MSS as f64);
        }
        assert_eq!(found[..3], [1000.0, 750.0, 1000.0]);
        assert_eq!(found[11], 100.0);
        assert_eq!(pair.last(), Some(1000.0 * MSS as f64));
    }

    #[test]
    fn a_pair_that_is_seen_twice_counts_once() {
        let mut pair = PacketPair::new();
        let snapshot = two(10 * MS, 1_000_000_000);
        assert!(pair.observe(&snapshot) && !pair.observe(&snapshot));
    }
}
