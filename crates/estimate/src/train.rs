//! [`Train`]: how many bytes had arrived when, for as long as something was under way without a pause.
//!
//! A point is the arrival of an acknowledgement, not the moment of reading: how often somebody looks changes how many points
//! there are, and not where they lie. A *train* begins with the first acknowledgement after everything had been acknowledged;
//! what lies between two trains is the application's silence and no measure of the network.
//!
//! Rules: no clock, no I/O; a bounded number of points, so that observing costs the same at any rate. What arrived is counted in
//! bytes acknowledged; while something is being sent again in full packets delivered, since `bytes_acked` stands still behind a
//! hole and jumps when that is filled. It must not judge: [`crate::delivery_rate`] does.

use std::collections::VecDeque;

use crate::snapshot::{seq_diff, Packet, Snapshot};

/// Ten acknowledgements at 1 Mbit/s. Traces of mobile links change within a second: a longer window is always half in the past.
pub const WINDOW_NS: i64 = 250_000_000;
/// At lower rates the window holds this many full packets instead.
const LEAST_PACKETS: i64 = 16;
/// With so many points every other one is given up, and from then on none lies nearer to the one before than the rest do; so a
/// window has half as many, evenly spaced, and a young train more than enough.
const MOST_POINTS: i64 = 96;
const STEP_NS: i64 = WINDOW_NS * 2 / MOST_POINTS;
/// A train's first packets have nobody to wait for.
const HEAD_PACKETS: i64 = 8;
const LONG_NS: i64 = 1 << 62;

/// `arrived` bytes of the flow had arrived at `at_ns`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// When.
    pub at_ns: i64,
    /// Bytes of the flow, since it was first seen.
    pub arrived: i64,
    /// Of them by this very acknowledgement, or, where single packets are unknown, since the reading before.
    pub chunk: i64,
    /// When the newest was sent; 0: unknown.
    pub sent_ns: i64,
    /// How much longer than the shortest round trip takes it waited.
    pub delay_ns: i64,
}

impl Point {
    fn of(packet: &Packet, arrived: i64, snapshot: &Snapshot) -> Self {
        let (at_ns, sent_ns) = (packet.arrival_ns, packet.sent_ns);
        let delay_ns = if sent_ns == 0 {
            // It acknowledged a part of a large packet, whose time is not kept.
            usual_delay_ns(snapshot)
        } else {
            (at_ns - sent_ns - snapshot.min_rtt_us * 1000).max(0)
        };
        Self { at_ns, arrived, chunk: packet.acked_bytes, sent_ns, delay_ns }
    }
}

fn usual_delay_ns(snapshot: &Snapshot) -> i64 {
    (snapshot.srtt_us - snapshot.min_rtt_us).max(0) * 1000
}

/// What a snapshot brings: one point or two, that are not part of the train yet.
#[derive(Clone, Copy, Debug)]
pub struct News {
    before: Option<Point>,
    last: Point,
    growth: i64,
    begins: bool,
}

impl News {
    /// Whether a train begins with it, and the one so far has ended.
    #[must_use]
    pub fn begins(&self) -> bool {
        self.begins
    }
}

/// The points of the current train that are in the window, oldest first.
#[derive(Clone, Debug)]
pub struct Train {
    points: VecDeque<Point>,
    /// The train's first point, though that may have left the window.
    pub begun: Point,
    /// Bytes that have arrived since the pause before; its first acknowledgement's included.
    pub size: i64,
    /// Bytes of a full packet.
    pub mss: i64,
    /// How much earlier than it says the last point may be: 0 where single packets are known.
    pub blur_ns: i64,
    /// The least that anything behind the train's head waited in the network.
    pub waited_ns: i64,
    arrived: i64,
    paused: bool,
    recover: Option<u32>,
    /// -1: nothing was seen yet.
    acked: i64,
    delivered: u32,
    resent: u32,
    next: u32,
    read_ns: i64,
    step_ns: i64,
    queued: bool,
}

impl Default for Train {
    fn default() -> Self {
        Self {
            points: VecDeque::new(),
            begun: Point::default(),
            size: 0,
            mss: 1,
            blur_ns: 0,
            waited_ns: LONG_NS,
            arrived: 0,
            paused: true,
            recover: None,
            acked: -1,
            delivered: 0,
            resent: 0,
            next: 0,
            read_ns: 0,
            step_ns: 0,
            queued: false,
        }
    }
}

impl Train {
    /// Its points, at most 96.
    #[must_use]
    pub fn points(&self) -> &VecDeque<Point> {
        &self.points
    }

    /// Reads a snapshot; what it brings, for [`Self::add`]. Two steps: who judges has to see a train once more that ends.
    pub fn read(&mut self, snapshot: &Snapshot) -> Option<News> {
        let mut news = None;
        let Snapshot { bytes_acked: acked, delivered, snd_una: una, snd_nxt: following, .. } = *snapshot;
        let queued = snapshot.write_seq != following;
        if acked != self.acked || delivered != self.delivered {
            let growth = self.growth(snapshot);
            if self.acked >= 0 && growth > 0 {
                news = Some(self.news(snapshot, growth));
                let is_known = snapshot.packets.iter().any(|packet| packet.acked_bytes != 0);
                self.blur_ns = if is_known { 0 } else { snapshot.updated_ns - self.read_ns };
                self.arrived += growth;
                self.paused = false;
            }
            (self.acked, self.delivered) = (acked, delivered);
            (self.queued, self.next) = (queued, following);
        } else if following != self.next {
            (self.queued, self.next) = (queued, following);
        }
        if una == following {
            self.paused = true;
        }
        self.read_ns = snapshot.updated_ns;
        news
    }

    /// Bytes that have arrived since the last snapshot.
    fn growth(&mut self, snapshot: &Snapshot) -> i64 {
        self.mss = snapshot.mss;
        if snapshot.retransmits != self.resent {
            (self.resent, self.recover) = (snapshot.retransmits, Some(snapshot.snd_nxt));
        }
        let Some(recover) = self.recover else { return snapshot.bytes_acked - self.acked };
        if seq_diff(snapshot.snd_una, recover) >= 0 {
            self.recover = None;
        }
        seq_diff(snapshot.delivered, self.delivered) * self.mss
    }

    /// The points of a snapshot by which so much more has arrived.
    fn news(&self, snapshot: &Snapshot, growth: i64) -> News {
        // Nothing was waiting, and all that was under way has arrived: what came since was written later.
        let unseen = !self.queued && seq_diff(snapshot.snd_una, self.next) > 0;
        let begins = self.paused || unseen || self.points.is_empty();
        let arrived = self.arrived + growth;
        let [newest, before] = &snapshot.packets;
        let (chunk, earlier) = (newest.acked_bytes, before.acked_bytes);
        let one = |last| News { before: None, last, growth, begins };
        if chunk == 0 {
            // The last to come was a request, or nothing is known of single packets.
            if earlier != 0 {
                return one(Point::of(before, arrived, snapshot));
            }
            let delay_ns = usual_delay_ns(snapshot);
            return one(Point { at_ns: snapshot.updated_ns, arrived, chunk: growth, sent_ns: 0, delay_ns });
        }
        if earlier != 0 && chunk < 2 * snapshot.mss && snapshot.snd_una == snapshot.snd_nxt {
            // Less than two full packets at the end may have been acknowledged by a timer of 40 ms; those before were not.
            return one(Point::of(before, arrived - chunk, snapshot));
        }
        let mut news = one(Point::of(newest, arrived, snapshot));
        if earlier != 0 && growth >= chunk + earlier {
            // The one before came since the last snapshot too.
            news.before = Some(Point::of(before, arrived - chunk, snapshot));
        }
        news
    }

    /// Takes what [`Self::read`] has found.
    pub fn add(&mut self, news: &News) {
        if news.begins {
            self.begun = news.before.unwrap_or(news.last);
            self.points.clear();
            self.points.push_back(self.begun);
            (self.size, self.step_ns, self.waited_ns) = (0, 0, LONG_NS);
        }
        self.size += news.growth;
        if self.size > HEAD_PACKETS * self.mss {
            self.waited_ns = self.waited_ns.min(news.last.delay_ns);
        }
        for point in news.before.into_iter().chain([news.last]) {
            self.put(point);
        }
        self.thin();
        self.trim();
    }

    fn put(&mut self, point: Point) {
        let step_ns = self.step_ns;
        let count = self.points.len();
        let before_ns = (count > 1).then(|| self.points[count - 2].at_ns);
        let Some(last) = self.points.back_mut() else { return };
        // Not later: the same acknowledgement, of which more is known now; or the last but one at the end.
        if before_ns.is_some_and(|before_ns| point.at_ns <= last.at_ns || last.at_ns - before_ns < step_ns) {
            *last = point;
        } else if point.at_ns > last.at_ns {
            self.points.push_back(point);
        }
    }

    /// Gives up every other point where there are too many.
    fn thin(&mut self) {
        if self.points.len() as i64 <= MOST_POINTS {
            return;
        }
        let mut keep = false;
        self.points.retain(|_| {
            keep = !keep;
            keep
        });
        let (Some(first), Some(last)) = (self.points.front(), self.points.back()) else { return };
        self.step_ns = STEP_NS.min(((last.at_ns - first.at_ns) * 2).div_euclid(MOST_POINTS));
    }

    /// Lets go of what the window does not need.
    fn trim(&mut self) {
        let Some(last) = self.points.back() else { return };
        let (oldest_ns, enough) = (last.at_ns - WINDOW_NS, last.arrived - LEAST_PACKETS * self.mss);
        while self.points.len() > 2 && self.points[1].at_ns <= oldest_ns && self.points[1].arrived <= enough {
            self.points.pop_front();
        }
    }
}

#[cfg(test)]
#[path = "train_tests.rs"]
mod tests;
