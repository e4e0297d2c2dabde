//! How much the kernel is given: what it can send now, and a little for the time until it is asked again.
//!
//! What the kernel holds unsent is beyond recall without privilege, so it is kept small; too little, and the link stands
//! still until the worker has heard of an acknowledgement and written. Between the two:
//!
//! | | bytes |
//! | --- | --- |
//! | `ahead`, what may lie unsent | two thirds of a millisecond of the measured rate, at least two segments (H2O's rule), at most 1 MiB |
//! | what the windows let go at once, in addition | free congestion window, as far as the peer's lets it go; not where the kernel holds segments back in spite of one (pacing, small queues of a device) |
//! | asked again | by the poller (TCP_NOTSENT_LOWAT) when half of `ahead`, or one segment, is left, above 250 Mbit/s three quarters (as one of many, see below, half); where the kernel paces when three quarters are, and by a timer, since a paced packet goes with no word to anybody |
//!
//! *Where the kernel paces, one segment always lies there.* A send that finds less marks the connection as limited by the
//! application (`tcp_rate_check_app_limited`), BBR learns nothing from a round that holds such a mark, and does not leave its
//! start-up until it has learned: measured at 10 Mbit/s, H2O's rule kept it there, sending at 2.9 times the link's rate and with
//! losses for ever. So the timer comes half a segment early; and until the pacing rate has once been near the measured one,
//! which is when start-up is over, half a window lies ahead.
//!
//! *Where the worker comes late* (a machine with more to do than cores), and finds the link empty while bytes wait, the whole
//! millisecond lies ahead, for a while; so it does where the kernel paces, which sends all of it when its timer is due, and above
//! 250 Mbit/s, where each look costs more than it saves. Never more: doubled up to eight times, as it was, 64 KB lay beyond recall
//! with BBR at 100 Mbit/s, whose path is empty between two paced sends, late or not. A pacing kernel makes up for half of what it comes
//! late, and one that does not has a queue on the way.
//!
//! *Where many share a link that is far faster than any of them* (loopback, machines of one rack) a millisecond of each connection's own rate
//! is so little that looks take more than the bytes. There what is beyond recall is a few milliseconds of the link, shared by all
//! (`Seen::share`, which whoever knows all of them gives), once a connection has shown that it carries half of its part at least; half of
//! that while nothing is known but that the peer is near, or the first bytes of each, in pieces, would cost as much as all others. Most
//! looks there are brief: what lies unsent is all that is asked ([`Pace::brief`]).
//!
//! *Whole segments*: a piece of one goes at once where the application wants no delay, and fills no frame.
//!
//! The rate is the kernel's delivery rate. It rises by a quarter with new acknowledgements, so that one compressed burst is
//! not believed. A sample that the application limited (here: this very rule) can only raise it; it falls slowly otherwise. It
//! counts no more than was acknowledged before, so that a token bucket's burst, which passes at the speed of the wire, is not
//! taken for the link.
//!
//! Rejected: TCP_NOTSENT_LOWAT alone (a write is cut only at a segment of segmentation offload, 64 KiB: half a second at 1 Mbit/s);
//! the free window alone (BBR's is a whole bandwidth-delay product, which it paces out). Pure: it is told what TCP_INFO says.

/// Most that lies ahead: more than a millisecond of 10 Gbit/s.
const MOST: u64 = 1 << 20;
/// Of a second: two thirds of the millisecond that may be beyond recall; the rest is for the rate to be wrong.
const AHEAD: u64 = 1_500;
/// Round trips after which a kernel that paces is held to have found the rate.
const STARTING: u64 = 16;
/// All of it.
const WHOLE: u64 = 1_000;
/// Looks in time before the worker is held to come in time again.
const CALM: u32 = 256;
/// A rate that is not confirmed falls by this part each time.
const FALL: u64 = 64;
/// A rate that is confirmed rises by this part each time.
const RISE: u64 = 4;
/// Of all that was acknowledged: see above.
const SHARE: u64 = 4;
/// Bytes a second from which on the rest of the millisecond is not kept for the rate to be wrong.
const FAST: u64 = 31_250_000;
/// Of a second: what all connections together may have beyond recall where they share a link that is faster than any of them.
pub const SHARED: u64 = 125;
/// Microseconds of a round trip to a peer that is likely to have a link as fast as all others.
const NEAR: u64 = 1_000;
/// Brief looks after a whole one.
const BRIEF: u32 = 8;
/// Looks at a kernel that sends nothing: the first few come early, each other after twice the time of the last.
const PATIENCE: u32 = 10;
const EARLY: u32 = 3;

/// What is known of a connection: of TCP_INFO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Congestion window, segments.
    pub cwnd: u64,
    /// Segments on their way: unacknowledged, less those selectively acknowledged or lost, and those sent again.
    pub in_flight: u64,
    /// Bytes that the peer takes beyond those that are unacknowledged.
    pub peer: u64,
    /// Bytes of a segment.
    pub mss: u64,
    /// Bytes that the kernel holds and has never sent.
    pub notsent: u64,
    /// Bytes a second; 0: not measured yet.
    pub delivery_rate: u64,
    /// Whether that was measured while there was nothing to send.
    pub app_limited: bool,
    /// Bytes a second.
    pub pacing_rate: u64,
    /// Bytes acknowledged since the beginning.
    pub acked: u64,
    /// Least round trip, microseconds.
    pub min_rtt: u64,
    /// Whether bytes have waited since the last look.
    pub waited: bool,
    /// This connection's part of what all of a fast link carries in a few milliseconds; 0: the link is not known to be fast.
    pub share: u64,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The kernel may be given so many bytes now.
    pub bytes: usize,
    /// With less than this unsent there is room again.
    pub low: u32,
    /// Nanoseconds after which to ask again if nothing is heard: where the kernel paces.
    pub again: Option<u64>,
}

/// One connection's pace.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    rate: u64,
    /// Acknowledged when the rate rose last.
    risen: u64,
    /// The kernel was seen to hold back what the window would let go.
    holds_back: bool,
    /// It was seen to pace near the measured rate.
    steady: bool,
    /// Looks in time that make up for the last one that was late.
    calm: u32,
    /// What it held unsent at the last look, and how often that was the same.
    notsent: u64,
    idle: u32,
    /// Of the last whole look: bytes of a segment, and what might lie ahead as one of many on a fast link; else 0.
    mss: u64,
    shared: u64,
    /// Brief looks since.
    brief: u32,
}

impl Pace {
    /// What the kernel may be given now.
    pub fn grant(&mut self, seen: Seen) -> Grant {
        let mss = seen.mss.max(1);
        self.learn(seen);
        let window = seen.cwnd.saturating_sub(seen.in_flight).min(seen.peer / mss) * mss;
        // Below one segment it may be waiting for more; above, both windows were open and it has not sent.
        self.holds_back |= window >= mss && seen.notsent >= mss;
        // By the last sample, not by what is believed: that falls slowly from a first burst at the speed of the wire.
        self.steady |= seen.delivery_rate > 0 && seen.pacing_rate < seen.delivery_rate * 2
            || seen.acked > STARTING * seen.cwnd * mss;
        self.hurry(seen);
        let ahead = self.ahead(seen);
        let is_one_of_many = self.is_one_of_many(seen.share);
        let is_early = (self.holds_back || self.rate >= FAST) && !is_one_of_many;
        let low = low(if is_early { ahead * 3 / 4 } else { ahead / 2 }, ahead, mss);
        let window = if self.holds_back { 0 } else { window };
        let bytes = (window + ahead).saturating_sub(seen.notsent) / mss * mss;
        let drains = if seen.pacing_rate > 0 { seen.pacing_rate } else { self.rate };
        // Where nothing goes (the peer reads nothing) an acknowledgement will tell, and no timer is to wake anybody.
        self.idle = if bytes == 0 && seen.notsent == self.notsent { self.idle + 1 } else { 0 };
        self.notsent = seen.notsent;
        self.mss = mss;
        self.shared = if is_one_of_many { ahead } else { 0 };
        self.brief = 0;
        let again = (self.holds_back && drains > 0 && self.idle < PATIENCE).then(|| {
            // When a segment and a half are left; half a segment's time at least, where it is slow to go.
            let excess = (seen.notsent + bytes).saturating_sub(mss + mss / 2).max(mss / 4).max(1);
            (excess.saturating_mul(1_000_000_000) / drains) << self.idle.saturating_sub(EARLY)
        });
        Grant {
            bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
            low: u32::try_from(low).unwrap_or(u32::MAX),
            again,
        }
    }

    /// The same from what lies unsent alone, which is asked for only if that may be; None: it is not enough to tell.
    pub fn brief(&mut self, notsent: impl FnOnce() -> Option<u64>) -> Option<Grant> {
        if self.shared == 0 || self.brief >= BRIEF {
            return None;
        }
        let low = low(self.shared / 2, self.shared, self.mss);
        let notsent = notsent().filter(|notsent| *notsent < low)?;
        self.brief += 1;
        let bytes = (self.shared - notsent) / self.mss * self.mss;
        Some(Grant {
            bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
            low: u32::try_from(low).unwrap_or(u32::MAX),
            again: None,
        })
    }

    /// Bytes a second, as believed now; 0: nothing is known.
    #[must_use]
    pub fn rate(&self) -> u64 {
        self.rate
    }

    fn learn(&mut self, seen: Seen) {
        if seen.delivery_rate > self.rate {
            if self.rate == 0 {
                self.rate = seen.delivery_rate;
            } else if seen.acked > self.risen {
                self.rate = seen.delivery_rate.min(self.rate + self.rate / RISE + 1);
            }
            self.risen = seen.acked;
        } else if !seen.app_limited {
            // Half way down at once: one sample of a stretched acknowledgement is no rate.
            self.rate = seen.delivery_rate.max(self.rate / 2);
        } else {
            self.rate -= self.rate / FALL;
        }
    }

    fn hurry(&mut self, seen: Seen) {
        let link = self.rate.saturating_mul(seen.min_rtt) / 1_000_000;
        let is_late = seen.waited
            && seen.notsent < seen.mss
            && seen.in_flight * seen.mss < link
            && seen.in_flight < seen.cwnd;
        self.calm = if is_late { CALM } else { self.calm.saturating_sub(1) };
    }

    fn is_one_of_many(&self, share: u64) -> bool {
        !self.holds_back && share > 0 && self.rate >= (share * SHARED / 2).min(FAST)
    }

    fn ahead(&self, seen: Seen) -> u64 {
        let mss = seen.mss.max(1);
        let share = if self.holds_back || self.calm > 0 || self.rate >= FAST { WHOLE } else { AHEAD };
        let own = (self.rate / share).min(seen.acked / SHARE).min(MOST);
        let is_new_and_near = self.rate == 0 && !self.holds_back && (1..NEAR).contains(&seen.min_rtt);
        let ahead = own.max(if self.is_one_of_many(seen.share) {
            seen.share
        } else if is_new_and_near {
            seen.share / 2
        } else {
            0
        });
        let ahead = (ahead / mss * mss).max(2 * mss);
        if self.holds_back && !self.steady {
            return ahead.max(seen.cwnd / 2 * seen.mss);
        }
        ahead
    }
}

/// The mark below which room is told. With less than that unsent a whole segment may go, or the poller would tell of room again and
/// again for which nothing is given; with one segment unsent too.
fn low(wanted: u64, ahead: u64, mss: u64) -> u64 {
    wanted.min(ahead - mss + 1).max(mss + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u64 = 1448;

    fn seen() -> Seen {
        Seen { cwnd: 10, mss: MSS, peer: 1 << 30, ..Seen::default() }
    }

    #[test]
    fn a_new_connection_gets_its_window_and_two_segments() {
        let grant = Pace::default().grant(seen());
        assert_eq!((grant.bytes as u64, grant.again), (12 * MSS, None));
    }

    #[test]
    fn a_full_window_gets_two_segments_less_what_is_there() {
        let mut pace = Pace::default();
        let full = Seen { in_flight: 10, ..seen() };
        assert_eq!(pace.grant(full).bytes as u64, 2 * MSS);
        assert_eq!(pace.grant(Seen { notsent: MSS, ..full }).bytes as u64, MSS);
        assert_eq!(pace.grant(Seen { notsent: 3 * MSS, ..full }).bytes, 0);
    }

    #[test]
    fn a_peer_that_takes_less_than_the_congestion_window_is_no_kernel_that_holds_back() {
        let mut pace = Pace::default();
        let narrow = Seen { cwnd: 100, in_flight: 44, peer: MSS + 700, ..seen() };
        assert_eq!(pace.grant(narrow).bytes as u64, 3 * MSS);
        let closed = Seen { peer: 0, notsent: 2 * MSS, ..narrow };
        assert_eq!(pace.grant(closed).bytes, 0);
        let open = Seen { peer: 200 * MSS, in_flight: 0, notsent: 0, ..closed };
        assert_eq!(pace.grant(open).bytes as u64, 102 * MSS);
    }

    #[test]
    fn never_more_than_a_millisecond_beyond_the_window() {
        for mbit in [1, 10, 100, 1000] {
            let rate = mbit * 125_000;
            let mut pace = Pace::default();
            let steady =
                Seen { cwnd: 100, in_flight: 100, delivery_rate: rate, acked: 100_000_000, ..seen() };
            let grant = pace.grant(steady);
            assert!(grant.bytes as u64 <= (rate / 1000).max(2 * MSS), "{mbit} Mbit/s: {grant:?}");
            assert!(u64::from(grant.low) > MSS && grant.low as usize <= grant.bytes, "{grant:?}");
        }
    }

    #[test]
    fn of_many_on_a_fast_link_each_gets_its_share_once_it_is_fast() {
        let full = Seen { cwnd: 20, in_flight: 20, acked: 60 * MSS, share: 50 * MSS, ..seen() };
        let fast = Seen { delivery_rate: FAST, ..full };
        assert_eq!(Pace::default().grant(fast).bytes as u64, 50 * MSS);
        assert_eq!(Pace::default().grant(Seen { share: 0, ..fast }).bytes as u64, 15 * MSS);
        let new = Seen { cwnd: 10, in_flight: 10, share: 50 * MSS, min_rtt: NEAR - 1, ..seen() };
        assert_eq!(Pace::default().grant(new).bytes as u64, 25 * MSS);
        for far in [NEAR, 0] {
            assert_eq!(Pace::default().grant(Seen { min_rtt: far, ..new }).bytes as u64, 2 * MSS);
        }
        let half = Seen { delivery_rate: 50 * MSS * SHARED / 2, ..full };
        assert_eq!(Pace::default().grant(half).bytes as u64, 50 * MSS);
        let slow = Seen { delivery_rate: half.delivery_rate - 1, ..full };
        assert!(Pace::default().grant(slow).bytes as u64 <= 15 * MSS);
        let paced = Seen { in_flight: 10, notsent: MSS, pacing_rate: FAST, ..fast };
        assert!(Pace::default().grant(paced).bytes as u64 <= 15 * MSS);
    }

    #[test]
    fn where_room_is_told_something_is_given() {
        for (rate, share, pacing_rate, mss) in [
            (FAST, 0, 0, 65483),
            (3 * FAST, 0, 0, 65483),
            (FAST, 200_000, 0, 65483),
            (FAST / 2, 0, 0, MSS),
            (FAST, 30 * MSS, 0, MSS),
            (FAST, 0, FAST, MSS),
        ] {
            let full = Seen {
                cwnd: 10,
                in_flight: if pacing_rate > 0 { 9 } else { 10 },
                acked: 100_000_000,
                delivery_rate: rate,
                pacing_rate,
                share,
                mss,
                ..seen()
            };
            let mut pace = Pace::default();
            let low = u64::from(pace.grant(Seen { notsent: mss, ..full }).low);
            for notsent in (0..low).step_by(97).chain([low - 1]) {
                let seen = Seen { notsent, ..full };
                let briefly = pace.brief(|| Some(notsent));
                let grant = pace.grant(seen);
                assert!(grant.bytes as u64 >= mss, "{seen:?}: {grant:?}");
                assert!(briefly.is_none_or(|brief| brief.bytes as u64 >= mss), "{seen:?}: {briefly:?}");
            }
        }
    }

    #[test]
    fn after_a_whole_look_at_one_of_many_what_lies_unsent_is_enough_some_times() {
        let fast =
            Seen { cwnd: 20, in_flight: 20, acked: 60 * MSS, share: 50 * MSS, delivery_rate: FAST, ..seen() };
        let mut pace = Pace::default();
        assert_eq!(pace.brief(|| Some(0)), None);
        let whole = pace.grant(fast);
        for _ in 0..BRIEF {
            let brief = pace.brief(|| Some(10 * MSS)).unwrap();
            assert_eq!((brief.bytes as u64, brief.low), (40 * MSS, whole.low));
        }
        assert_eq!(pace.brief(|| Some(10 * MSS)), None);
        pace.grant(fast);
        assert_eq!(pace.brief(|| Some(u64::from(whole.low))), None, "there is no room");
        pace.grant(Seen { share: 0, ..fast });
        assert_eq!(pace.brief(|| Some(0)), None, "the link is not fast any more");
        let mut paced = Pace::default();
        paced.grant(Seen { in_flight: 10, notsent: MSS, pacing_rate: FAST, ..fast });
        assert_eq!(paced.brief(|| Some(0)), None, "the kernel holds back");
    }

    #[test]
    fn a_burst_at_the_speed_of_the_wire_is_not_the_link() {
        let mut pace = Pace::default();
        let burst = Seen { cwnd: 20, in_flight: 20, delivery_rate: 1_250_000_000, acked: 10 * MSS, ..seen() };
        assert!(pace.grant(burst).bytes as u64 <= 2 * MSS);
    }

    #[test]
    fn a_kernel_that_paces_gets_no_window_but_a_timer_that_comes_before_the_last_segment_goes() {
        let mut pace = Pace::default();
        let paced = Seen {
            cwnd: 100,
            in_flight: 40,
            notsent: 2 * MSS,
            pacing_rate: 1_000_000,
            delivery_rate: 900_000,
            acked: 1 << 30,
            ..seen()
        };
        let first = pace.grant(paced);
        assert_eq!((first.bytes, first.low as u64), (0, MSS + 1));
        let later = pace.grant(Seen { notsent: MSS, ..paced });
        assert_eq!((later.bytes as u64, later.again), (MSS, Some(MSS / 2 * 1_000)));
    }

    #[test]
    fn a_worker_that_comes_late_gives_the_whole_millisecond_until_it_has_come_in_time_for_a_while() {
        let mut pace = Pace::default();
        let some = Seen { in_flight: 5, delivery_rate: 12_500_000, acked: 1 << 30, waited: true, ..seen() };
        let window = 5 * MSS;
        let mut ahead = |seen: Seen| (pace.grant(seen).bytes as u64 - window) / MSS;
        assert_eq!(ahead(Seen { min_rtt: 100, ..some }), 5, "the path has enough");
        assert_eq!(ahead(Seen { min_rtt: 10_000, waited: false, ..some }), 5, "nothing was late");
        assert_eq!(ahead(Seen { min_rtt: 10_000, ..some }), 8);
        let in_time: Vec<_> = (0..CALM).map(|_| ahead(Seen { min_rtt: 100, ..some })).collect();
        assert_eq!((in_time[0], in_time[in_time.len() - 2], in_time[in_time.len() - 1]), (8, 8, 5));
    }

    #[test]
    fn a_kernel_that_paces_gets_the_whole_millisecond_and_never_more() {
        for mbit in [1, 10, 100, 1000] {
            let rate = mbit * 125_000;
            let mut pace = Pace::default();
            let late = Seen {
                cwnd: 1000,
                notsent: MSS,
                pacing_rate: rate,
                delivery_rate: rate,
                acked: 1 << 30,
                min_rtt: 10_000,
                waited: true,
                ..seen()
            };
            pace.grant(late);
            let bound = (rate / 1000).max(2 * MSS);
            for _ in 0..100 {
                let given = pace.grant(Seen { notsent: 0, ..late }).bytes as u64;
                assert!(bound - MSS < given && given <= bound, "{mbit} Mbit/s: {given} of {bound}");
            }
        }
    }

    #[test]
    fn what_is_given_is_whole_segments() {
        let mut pace = Pace::default();
        let some = Seen { in_flight: 10, delivery_rate: 12_500_000, acked: 1 << 30, ..seen() };
        assert_eq!(pace.grant(Seen { notsent: 100, ..some }).bytes as u64, 4 * MSS);
        assert_eq!(pace.grant(Seen { notsent: 2 * MSS, ..some }).bytes as u64, 3 * MSS);
    }

    #[test]
    fn a_kernel_that_looks_for_the_rate_gets_more_until_it_has_found_it() {
        let mut pace = Pace::default();
        let starting = Seen {
            cwnd: 100,
            in_flight: 40,
            notsent: MSS,
            pacing_rate: 2_890_000,
            delivery_rate: 1_000_000,
            acked: 1_000_000,
            ..seen()
        };
        assert_eq!(pace.grant(starting).bytes as u64, 49 * MSS);
        assert_eq!(pace.grant(Seen { pacing_rate: 1_250_000, ..starting }).bytes as u64, MSS);
        assert_eq!(pace.grant(starting).bytes as u64, MSS, "once found");
        let late = Seen { acked: 1 << 30, ..starting };
        assert_eq!(Pace::default().grant(late).bytes as u64, MSS, "or when it has had its time");
    }

    #[test]
    fn a_first_burst_does_not_hide_that_a_kernel_still_looks_for_the_rate() {
        let mut pace = Pace::default();
        let burst = Seen { in_flight: 10, delivery_rate: 100_000_000, pacing_rate: 289_000_000, ..seen() };
        pace.grant(burst);
        let (delivery_rate, pacing_rate) = (1_200_000, 3_470_000);
        let starting = Seen { cwnd: 100, in_flight: 40, notsent: MSS, acked: 1_000_000, ..burst };
        let starting = Seen { delivery_rate, pacing_rate, ..starting };
        assert_eq!(pace.grant(starting).bytes as u64, 49 * MSS);
    }

    #[test]
    fn a_peer_that_reads_nothing_is_not_asked_for_ever() {
        let mut pace = Pace::default();
        let closed = Seen {
            cwnd: 100,
            in_flight: 40,
            notsent: 3 * MSS,
            pacing_rate: 1_000_000,
            delivery_rate: 900_000,
            ..seen()
        };
        let waits: Vec<_> = (0..=PATIENCE).map_while(|_| pace.grant(closed).again).collect();
        assert_eq!((waits.len(), waits[0], waits[6]), (PATIENCE as usize, waits[3], 8 * waits[3]));
        assert_eq!(pace.grant(closed).again, None);
        assert!(pace.grant(Seen { notsent: 2 * MSS, ..closed }).again.is_some());
    }

    #[test]
    fn a_rate_that_this_rule_has_limited_raises_and_never_lowers_at_once() {
        let mut pace = Pace::default();
        let full = Seen { cwnd: 9, in_flight: 9, acked: 1 << 30, ..seen() };
        pace.grant(Seen { delivery_rate: 64_000_000, ..full });
        pace.grant(Seen { delivery_rate: 1_000_000, app_limited: true, ..full });
        assert_eq!(pace.rate(), 63_000_000);
        pace.grant(Seen { delivery_rate: 1_000_000, ..full });
        pace.grant(Seen { delivery_rate: 1_000_000, ..full });
        assert!(pace.rate() < 16_000_000);
        let fast = Seen { delivery_rate: 99_000_000, app_limited: true, ..full };
        let before = pace.rate();
        pace.grant(fast);
        assert_eq!(pace.rate(), before, "nothing new was acknowledged");
        pace.grant(Seen { acked: fast.acked + 1, ..fast });
        assert_eq!(pace.rate(), before + before / RISE + 1);
        for more in 2..20 {
            pace.grant(Seen { acked: fast.acked + more, ..fast });
        }
        assert_eq!(pace.rate(), 99_000_000);
    }
}
