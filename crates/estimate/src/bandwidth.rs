//! [`Bandwidth`]: one number from everything that is known of a connection, and how far to trust it.
//!
//! | source | taken from | trusted, while fresh |
//! | --- | --- | --- |
//! | `rate` | [`Judged::recent`](crate::Judged::recent) | [`Judged::trust`](crate::Judged::trust): 0.6 for the fewest packets, 0.8 for 24 |
//! | `kernel` | the kernel's `delivery_rate`, no more than the packet pairs say | 0.4, after eight packets |
//! | `pair` | [`PacketPair::estimate`] | 0.3 |
//!
//! While nothing is seen to wait in the network the sender may be the limit, and rates are lower bounds: `rate` counts then where
//! it is more than the best of the others or there is no other, `kernel` only where there is no other.
//!
//! Trust halves every two seconds after the measure: mobile links change that fast. The most trusted source counts, so a rate of
//! ten seconds ago gives way to a packet pair of now, and where there is nothing newer it stays, with little confidence.
//!
//! Fooled by what fools the source: see their files. What fools the kernel's rate is a bucket's burst, for a whole round trip,
//! and a response that passes a bucket whole, until something else is known.
//!
//! Must not: average sources. They are fooled in the same direction by the same things, so the mean of a good and a bad one is
//! bad.

use crate::delivery_rate::{DeliveryRate, LEAST};
use crate::packet_pair::PacketPair;
use crate::snapshot::Snapshot;

const HALF_LIFE_NS: f64 = 2e9;
const KERNEL: f64 = 0.4;
const PAIR: f64 = 0.3;
/// The trust in a lower bound, of that in the same rate with a queue.
const BOUND: f64 = 0.3;

/// Whose word a measure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// [`DeliveryRate`]'s.
    Rate,
    /// The kernel's.
    Kernel,
    /// [`PacketPair`]'s.
    Pair,
}

/// What is believed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measure {
    /// Bytes/s of payload.
    pub rate: f64,
    /// From 0 (nothing is known) to 1; above 0.5 half of the estimates are within a few per cent.
    pub confidence: f64,
    /// Whose word it is.
    pub source: Source,
}

/// A connection's bandwidth, in bytes/s of payload.
#[derive(Clone, Debug, Default)]
pub struct Bandwidth {
    /// The packet pairs alone.
    pub pair: PacketPair,
    /// The rate of acknowledgement alone.
    pub rate: DeliveryRate,
    heard: f64,
    kernel: f64,
    kernel_ns: i64,
    kernel_bound: bool,
    pair_ns: i64,
    now_ns: i64,
}

impl Bandwidth {
    /// Nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a snapshot, of the same connection and not older than the one before.
    pub fn observe(&mut self, snapshot: &Snapshot) {
        self.now_ns = snapshot.updated_ns;
        if self.pair.observe(snapshot) {
            self.pair_ns = self.now_ns;
        }
        self.rate.observe(snapshot);
        let kernel = snapshot.delivery_rate;
        // In a train's first packets it is the rate at which a bucket lets them pass: up to 7,000 times the link's was seen.
        if kernel != self.heard {
            self.heard = kernel;
            let train = self.rate.train();
            if kernel > 0.0 && train.size >= LEAST * snapshot.mss {
                (self.kernel, self.kernel_ns) = (kernel, self.now_ns);
                // Where all came at once nobody has seen it wait: it may have passed a bucket whole.
                let waited = train.waited_ns as f64 * kernel;
                self.kernel_bound = train.points().len() < 2 || waited < snapshot.mss as f64 * 1e9;
            }
        }
    }

    /// The most trusted measure; None while there is none.
    pub fn best(&mut self) -> Option<Measure> {
        let (mut best, mut bound) = (None, None);
        let judged = self.rate.judged();
        if let Some(rate) = judged.recent {
            let confidence = judged.trust * self.fresh(judged.at_ns);
            let measure = Measure { rate, confidence, source: Source::Rate };
            if judged.bound {
                bound = Some(Measure { confidence: BOUND * confidence, ..measure });
            } else if confidence >= KERNEL {
                // The others have no more.
                return Some(measure);
            } else {
                best = Some(measure);
            }
        }
        let pair = self.pair.estimate();
        if let Some(rate) = pair {
            let confidence = PAIR * self.fresh(self.pair_ns);
            best = more_trusted(best, Measure { rate, confidence, source: Source::Pair });
        }
        if self.kernel > 0.0 {
            let confidence = KERNEL * self.fresh(self.kernel_ns);
            let measure = Measure { rate: self.kernel, confidence, source: Source::Kernel };
            if !self.kernel_bound {
                // A burst raises both; the lower one has seen less of it.
                let rate = pair.map_or(self.kernel, |pair| pair.min(self.kernel));
                best = more_trusted(best, Measure { rate, ..measure });
            } else if bound.is_none() && best.is_none() {
                // It may be a bucket's burst as well: not to be held against any other.
                bound = Some(Measure { confidence: BOUND * confidence, ..measure });
            }
        }
        let counts = |bound: &Measure| best.is_none_or(|best| bound.rate > best.rate);
        bound.filter(counts).or(best)
    }

    /// What is left of a trust.
    fn fresh(&self, at_ns: i64) -> f64 {
        (-((self.now_ns - at_ns).max(0) as f64 / HALF_LIFE_NS)).exp2()
    }
}

fn more_trusted(best: Option<Measure>, other: Measure) -> Option<Measure> {
    best.filter(|best| best.confidence >= other.confidence).or(Some(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{burst, Link, SECOND};

    #[test]
    fn nothing_is_known_at_first_then_the_pairs_then_a_rate_that_grows_old() {
        let mut bandwidth = Bandwidth::new();
        assert_eq!(bandwidth.best(), None);
        let link = Link::new(125_000.0).carry(&burst(100_000));
        let mut sources = Vec::new();
        for snapshot in &link {
            bandwidth.observe(snapshot);
            sources.extend(bandwidth.best().map(|measure| measure.source));
        }
        sources.dedup();
        assert_eq!(sources, [Source::Pair, Source::Rate]);
        let fresh = bandwidth.best().unwrap();
        let last = link.last().unwrap();
        bandwidth.observe(&Snapshot { updated_ns: last.updated_ns + 2 * SECOND, ..*last });
        let old = bandwidth.best().unwrap();
        assert_eq!(old.rate, fresh.rate);
        assert!((old.confidence - fresh.confidence / 2.0).abs() < 0.01, "{fresh:?} {old:?}");
    }
}
