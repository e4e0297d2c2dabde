//! [`DeliveryRate`]: how fast what was sent arrives, as the acknowledgements tell.
//!
//! `recent` is the slope of the acknowledged bytes over the last quarter of a second ([`crate::train`]), `maximum` the largest that
//! this was in the last ten seconds, as in BBR.
//!
//! What fools it, and what is done:
//!
//! - A token bucket that is not empty: the head of a train arrives too fast. Of all tails that leave out up to 24 packets the
//!   slowest counts. A bucket that holds most of a response still wins.
//! - A bucket that lets a large packet pass whole and is in debt afterwards (HTB behind segmentation offload): the gap follows its
//!   packet instead of leading it, 33 % too much in slow start. The order that explains the gaps better is taken.
//! - An application that has little to send, or a window that is still small for a long path: the sender's own pace is measured,
//!   too little. Nothing waits in the network then; it counts only where it is more than what is known.
//! - Compressed acknowledgements: too much in a short train. Fewer than eight packets say nothing, and the slowest tail counts.
//! - Delayed acknowledgements: a timer of 40 ms ends a train, too little. Less than two last packets are left out, and so is a
//!   last gap that alone would change much.
//! - A change of the link: for a quarter of a second or 16 packets the window holds the time before.
//!
//! Must not: use the kernel's `delivery_rate`, which looks back a round trip: a long queue makes that seconds, and a bucket's
//! burst stays in it as long.

use std::collections::VecDeque;

use crate::snapshot::Snapshot;
use crate::train::{Point, Train, WINDOW_NS};

/// With fewer packets one delayed acknowledgement is a quarter of the whole.
pub const LEAST: i64 = 8;
/// A bucket's burst: 10 packets are Linux's first flight, 24 are `burst 32k`.
const HEAD: i64 = 24;
const MEMORY_NS: i64 = 10_000_000_000;
/// Unasked, a rate is judged so often and at the end of its train: to judge costs many times what taking a point does.
const JUDGE_NS: i64 = WINDOW_NS / 10;
/// So many packets are worth half of full trust. Readings an eighth of the time apart halve it: both ends may be wrong by one, and
/// the kernel's own rate is better then.
const FEW: f64 = 6.0;
const BLUR: i64 = 8;
/// Sent in less than this share of the time that it took to arrive: the network was the reason.
const DRIVEN: f64 = 0.75;
/// A lower bound so near to what is known confirms it: congestion controls that keep queues short leave nothing else to see.
const NEAR: f64 = 1.1;
/// Large packets through HTB leave a tenth of the misses of the other order; single packets make the two alike.
const EXPLAINS: f64 = 0.7;

struct Slope {
    rate: f64,
    packets: f64,
    time_ns: i64,
    driven: bool,
}

/// What is believed of the rate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Judged {
    /// The slope of the last window in which the network was the limit, or until then the largest so far; bytes/s, None before.
    pub recent: Option<f64>,
    /// How far `recent` could be trusted at `at_ns`, from 0 to 1: n / (n + 6) for n packets; less where single packets are
    /// unknown and readings were far apart.
    pub trust: f64,
    /// Whether `recent` is a lower bound only: nothing waited in the network, the sender was the limit.
    pub bound: bool,
    /// When `recent` was measured, or confirmed by a lower bound near it; CLOCK_MONOTONIC, 0 before.
    pub at_ns: i64,
}

/// Bandwidth by the rate of acknowledgement, in bytes/s of payload.
#[derive(Clone, Debug, Default)]
pub struct DeliveryRate {
    train: Train,
    found: Judged,
    /// When `recent` was what, each less than the one before: those of ten seconds.
    best: VecDeque<(i64, f64)>,
    early: bool,
    unjudged: bool,
    judged_ns: i64,
}

impl DeliveryRate {
    /// Nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What the rate is taken from.
    #[must_use]
    pub fn train(&self) -> &Train {
        &self.train
    }

    /// Takes a snapshot. Four or more in a train are enough; 5 ms apart do for links below 50 Mbit/s.
    pub fn observe(&mut self, snapshot: &Snapshot) {
        let Some(news) = self.train.read(snapshot) else { return };
        if self.unjudged && news.begins() {
            self.judge();
        }
        self.train.add(&news);
        self.unjudged = true;
        if self.last_ns() - self.judged_ns >= JUDGE_NS {
            self.judged();
        }
    }

    /// What is believed now.
    pub fn judged(&mut self) -> Judged {
        if self.unjudged {
            self.unjudged = false;
            self.judged_ns = self.last_ns();
            self.judge();
        }
        self.found
    }

    /// The largest `recent` of the ten seconds before `at_ns`; bytes/s, None before the first one.
    pub fn maximum(&mut self) -> Option<f64> {
        self.judged();
        self.best.front().map(|(_, rate)| *rate)
    }

    fn last_ns(&self) -> i64 {
        self.train.points().back().map_or(0, |last| last.at_ns)
    }

    fn judge(&mut self) {
        let Some(slope) = self.slope() else { return };
        let (at_ns, found) = (self.last_ns(), &mut self.found);
        if let Some(recent) = found.recent.filter(|recent| !slope.driven && slope.rate <= NEAR * recent) {
            if slope.rate * NEAR >= recent {
                found.at_ns = at_ns;
            }
            return;
        }
        let blurred_ns = slope.time_ns + BLUR * self.train.blur_ns;
        let trust = slope.packets / (slope.packets + FEW) * (slope.time_ns as f64 / blurred_ns as f64);
        *found = Judged { recent: Some(slope.rate), trust, bound: !slope.driven, at_ns };
        while self.best.back().is_some_and(|(_, rate)| *rate <= slope.rate) {
            self.best.pop_back();
        }
        self.best.push_back((at_ns, slope.rate));
        while self.best.front().is_some_and(|(then_ns, _)| *then_ns < at_ns - MEMORY_NS) {
            self.best.pop_front();
        }
    }

    fn slope(&mut self) -> Option<Slope> {
        let (points, mss) = (self.train.points(), self.train.mss);
        let (first, mut last) = (points.front()?, points.back()?);
        // A runt among so many full packets makes it no fewer.
        let least = (LEAST - 1) * mss;
        if last.arrived - first.arrived <= least {
            return None;
        }
        if points.len() > 3 {
            self.early = is_early(points);
            if !self.early && is_lull(points) {
                last = &points[points.len() - 2];
            }
        }
        let (mut rate, mut start) = (0.0, None);
        for point in starts(points, &self.train.begun, mss) {
            let (arrived, time_ns) = (last.arrived - point.arrived, last.at_ns - point.at_ns);
            if arrived > least && time_ns > 0 {
                let counted = if self.early { arrived + point.chunk - last.chunk } else { arrived };
                let (counted, time_ns) = (counted as f64 * 1e9, time_ns as f64);
                if start.is_none() || counted < rate * time_ns {
                    (rate, start) = (counted / time_ns, Some(point));
                }
            }
        }
        let start = start.filter(|_| rate > 0.0)?;
        Some(Slope {
            rate,
            packets: (last.arrived - start.arrived) as f64 / mss as f64,
            time_ns: last.at_ns - start.at_ns,
            driven: is_driven(points, start, last, mss as f64 * 1e9 / rate),
        })
    }
}

/// Where a tail may begin: in the head's second half, or at the window's start once that is past it.
fn starts<'a>(points: &'a VecDeque<Point>, begun: &Point, mss: i64) -> impl Iterator<Item = &'a Point> {
    let arrived = |point: Option<&Point>| point.map_or(0, |point| point.arrived);
    let whole = arrived(points.back()) - begun.arrived;
    let end = begun.arrived + (2 * whole).div_euclid(3).min(HEAD * mss);
    let (begin, end, most) = if arrived(points.front()) >= end {
        (i64::MIN, i64::MAX, 1)
    } else {
        (begun.arrived + whole.div_euclid(3).min(HEAD * mss / 2), end, points.len())
    };
    let head = points.iter().take(most).take_while(move |point| point.arrived <= end);
    head.filter(move |point| point.arrived >= begin)
}

/// Whether the last gap alone makes the rate by a third less. If it is the link that has changed, the next acknowledgement shows
/// it.
fn is_lull(points: &VecDeque<Point>) -> bool {
    let (first, before, last) = (points[0], points[points.len() - 2], points[points.len() - 1]);
    let (gap_ns, time_ns) = (last.at_ns - before.at_ns, before.at_ns - first.at_ns);
    2 * gap_ns > time_ns && 4 * (last.arrived - before.arrived) < before.arrived - first.arrived
}

/// Whether the network was the limit from `start` on: everything waited longer than a packet takes, or was sent in less time than
/// it took to arrive.
fn is_driven(points: &VecDeque<Point>, start: &Point, last: &Point, packet_ns: f64) -> bool {
    let (sent_ns, came_ns) = (last.sent_ns - start.sent_ns, last.at_ns - start.at_ns);
    if start.sent_ns != 0 && sent_ns >= 0 && sent_ns as f64 <= DRIVEN * came_ns as f64 {
        return true;
    }
    let mut between = points.iter().filter(|point| (start.at_ns..=last.at_ns).contains(&point.at_ns));
    between.all(|point| point.delay_ns as f64 >= packet_ns)
}

/// Whether packets arrive before the link charges for them, so that each gap is the earlier one's.
///
/// Each order predicts what arrives in each gap from the mean rate; the one that misses less is believed. O(points), which are
/// some fifty.
fn is_early(points: &VecDeque<Point>) -> bool {
    let (first, last) = (points[0], points[points.len() - 1]);
    let time_ns = (last.at_ns - first.at_ns) as f64;
    let late = (last.arrived - first.arrived) as f64 / time_ns;
    let early = (last.arrived - first.arrived + first.chunk - last.chunk) as f64 / time_ns;
    let (mut misses_late, mut misses_early) = (0.0, 0.0);
    let mut before = &first;
    for point in points {
        let (gap_ns, grown) = ((point.at_ns - before.at_ns) as f64, point.arrived - before.arrived);
        misses_late += (grown as f64 - late * gap_ns).abs();
        misses_early += ((grown + before.chunk - point.chunk) as f64 - early * gap_ns).abs();
        before = point;
    }
    misses_early < EXPLAINS * misses_late
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{burst, responses, Link, MSS, SECOND, START_NS};

    const RATE: f64 = 125_000.0;

    fn is_near(rate: Option<f64>, expected: f64) -> bool {
        rate.is_some_and(|rate| (rate - expected).abs() < 0.01 * expected)
    }

    #[test]
    fn a_train_that_nobody_asked_about_is_judged_when_the_next_begins() {
        let mut rate = DeliveryRate::new();
        let link = Link::new(RATE).carry(&responses(2, 24 * MSS, SECOND));
        let second = link.iter().position(|snapshot| snapshot.bytes_acked > 24 * MSS).unwrap();
        // Too few packets, and too soon to be judged unasked; the rest comes without being judged.
        for snapshot in &link[..9] {
            rate.observe(snapshot);
        }
        assert_eq!(rate.judged().recent, None);
        rate.judged_ns = link[second].updated_ns;
        for snapshot in &link[9..second] {
            rate.observe(snapshot);
        }
        assert_eq!(rate.found.recent, None);
        rate.observe(&link[second]);
        assert!(is_near(rate.found.recent, RATE), "{:?}", rate.found);
    }

    #[test]
    fn a_long_transfer_s_rate_is_the_link_s_and_the_maximum_is_kept() {
        let mut link = Link::new(10.0 * RATE);
        link.later = Some((SECOND, RATE));
        let (mut rate, mut before) = (DeliveryRate::new(), None);
        for snapshot in link.carry(&burst(2_000_000)) {
            if snapshot.updated_ns < START_NS + SECOND {
                before = rate.judged().recent;
            }
            rate.observe(&snapshot);
        }
        assert!(is_near(before, 10.0 * RATE) && is_near(rate.judged().recent, RATE));
        assert!(is_near(rate.maximum(), 10.0 * RATE));
    }
}
