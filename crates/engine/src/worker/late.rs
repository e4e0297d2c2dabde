//! Flows whose outbound bytes may be taken back, as a worker has them.
//!
//! What the kernel is given of an outlet, and when, is `modnet_revoke::release`. Here: how bytes get into the outlet, or past it.
//!
//! | what lies in the pair | and | follows |
//! | --- | --- | --- |
//! | less than [`FIRST`] | | is read into the outlet |
//! | more | the outlet is empty | what the kernel should have is spliced past it; the rest stays in the pair, *postponed* |
//! | | the outlet is not, or the kernel should have nothing | postponed: read when there is room |
//! | | so for [`BACKLOG`], in a worker that moves less than [`FAST`]; or nothing has gone for [`STALL`] | is read into the outlet, as much as fits |
//!
//! What lies in the pair is unsent and can be taken back as well, since the outlet is lent the pair. So bytes are copied where they
//! wait for a link, and the worker has the time. (Always reading them: 0.64 of the throughput that flows have of which nothing
//! is kept. Never: an application would find room for no more than a pair's buffer. By the flow's own rate: many that share a fast
//! link are slow, each.)
//!
//! Rules: bytes pass under the outlet's mutex, both calls, so that a lock finds none on their way; what the destination does not take of
//! them waits in the outlet. The pair is lent only while bytes go as they are (no hook, no limit, nothing carried before them).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use modnet_revoke::queue::outlet::{Outlet, Source};
use modnet_revoke::queue::pace::SHARED;
use modnet_revoke::queue::segments::LEAST;
use modnet_revoke::release::{self, Release};

use super::conn::{Flow, Pair};
use super::pipe::{Pipe, Pipes, FIRST};
use super::Shared;
use crate::flow::Way;
use crate::poll::Waker;
use crate::sock::{self, Outcome};
use crate::stats::Stats;

/// Nanoseconds after which a backlog is the link's: longer than what one turn of a busy worker, or a client's, takes.
const BACKLOG: u64 = 20_000_000;
/// Nanoseconds without a byte that has gone after which a peer takes none: with hundreds of busy flows a turn takes tens of milliseconds.
const STALL: u64 = 200_000_000;
/// Bytes a second of all flows from which on a copy costs what can be measured: 1 Gbit/s, of which two copies take some 3 % of a core.
const FAST: u64 = 125_000_000;
/// Bytes a second of all flows from which on it is no one's link that is the bound, but this machine: 5 Gbit/s.
const FASTEST: u64 = 625_000_000;
/// Most that one flow may have of what all share there ([`SHARED`]): half of a response of 1 MB, which the kernel would else be asked about in pieces.
const SHARE: u64 = 512 * 1024;
/// Bytes that pass to a pair at once: what it does not take is copied.
const TO_A_PAIR: usize = 64 * 1024;

/// What a flow has whose outbound bytes may be taken back.
#[derive(Debug)]
pub struct Late {
    /// From the outlet to the kernel.
    pub release: Release,
    outlet: Arc<Outlet>,
    /// The outlet may read from the pair.
    lent: bool,
    /// No call on its sockets waits.
    nonblocking: bool,
    /// Since when more has been there than could go.
    backlog: Option<u64>,
    /// When bytes have gone last.
    moved: u64,
    /// Bytes that the pair has at least.
    known: usize,
    /// Bytes that others have read out of the pair, which has not been told.
    untold: usize,
    /// Reading is postponed to this time at most.
    pub until: Option<u64>,
}

/// What all flows of a worker move whose outbound bytes may be taken back.
#[derive(Debug, Default)]
pub struct Traffic {
    since: u64,
    bytes: u64,
    rate: u64,
}

impl Traffic {
    /// So many have gone.
    fn add(&mut self, count: usize, now: u64) {
        self.bytes += count as u64;
        let elapsed = now.saturating_sub(self.since);
        if elapsed >= BACKLOG {
            self.rate = self.bytes.saturating_mul(1_000_000_000) / elapsed;
            (self.since, self.bytes) = (now, 0);
        }
    }

    fn is_fast(&self) -> bool {
        self.rate >= FAST
    }

    /// What one of so many flows may have beyond recall where all together are as fast as the machine; else 0.
    pub fn share(&self, flows: usize, now: u64) -> u64 {
        let is_current = now.saturating_sub(self.since) < 2 * BACKLOG;
        match self.rate >= FASTEST && is_current {
            true => (self.rate / SHARED / (flows as u64).max(1)).min(SHARE),
            false => 0,
        }
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        self.outlet.recall();
    }
}

impl Late {
    /// Of a flow that has this outlet.
    pub fn new(outlet: Arc<Outlet>) -> Self {
        let (release, backlog, until) = (Release::default(), None, None);
        Self {
            release,
            outlet,
            lent: false,
            nonblocking: false,
            backlog,
            moved: 0,
            known: 0,
            untold: 0,
            until,
        }
    }

    /// The outlet may read from here, or may not any more.
    fn lend(&mut self, left: Option<&OwnedFd>) {
        if self.lent != left.is_some() {
            self.lent = left.is_some();
            match left {
                Some(left) => self.outlet.lend(source(left)),
                None => self.outlet.recall(),
            }
        }
    }

    /// Whether what cannot go is to be read.
    fn is_greedy(&self, traffic: &Traffic, now: u64) -> bool {
        self.backlog.is_some_and(|since| now >= self.deadline(since, traffic))
    }

    fn postpone(&mut self, traffic: &Traffic, now: u64) {
        let since = *self.backlog.get_or_insert(now);
        self.until = Some(self.deadline(since, traffic).max(now));
    }

    fn deadline(&self, since: u64, traffic: &Traffic) -> u64 {
        if traffic.is_fast() {
            since.max(self.moved) + STALL
        } else {
            since + BACKLOG
        }
    }

    /// So many bytes have gone.
    pub fn moved(&mut self, count: usize, traffic: &mut Traffic, now: u64) {
        traffic.add(count, now);
        if count > 0 {
            self.moved = now;
        }
    }
}

/// What of a worker moving bytes takes.
pub struct Means<'a> {
    /// Its pipes.
    pub pipes: &'a mut Pipes,
    /// Room for one read.
    pub scratch: &'a mut [u8],
    /// See there.
    pub traffic: &'a mut Traffic,
    /// How many flows it has.
    pub flows: usize,
    /// Nanoseconds on its clock.
    pub now: u64,
}

/// What has passed by an outlet.
enum Passed {
    /// So many were read, and so many of them have gone; the others wait.
    Bytes { count: usize, gone: usize },
    /// Reading has found this.
    Read(Outcome),
    /// So many were read, and sending has found this: they are lost, with the connection.
    Sent { count: usize, outcome: Outcome },
}

/// Appends what the pair has, at most `most` bytes, or lets it pass, or leaves it. What reading has found and how much was
/// asked for, if that is to be told to the machine; its bytes are in the outlet then.
pub fn append(
    flow: &mut Flow,
    pair: &mut Pair,
    most: usize,
    means: &mut Means<'_>,
) -> Option<(Outcome, usize)> {
    let Means { scratch, traffic, now, .. } = means;
    let way = Way::Outbound;
    let outlet = Arc::clone(&flow.late.as_ref()?.outlet);
    flow.tell_fetched(pair);
    let asked = most.min(scratch.len());
    if let Some(count) = flow.read_held(way, &mut scratch[..asked]) {
        // They are not the socket's: how much it has is not known yet.
        outlet.push(&scratch[..count]);
        flow.machine.kept(way, count, count);
        return None;
    }
    flow.lend(pair);
    let late = flow.late.as_mut()?;
    if late.known < FIRST {
        late.known = unread(pair.left.as_raw_fd());
    }
    let is_empty = outlet.is_empty();
    if late.known < FIRST {
        if is_empty {
            late.backlog = None;
        }
    } else if !late.is_greedy(traffic, *now) {
        if !is_empty {
            late.postpone(traffic, *now);
            flow.machine.postpone(way);
            return None;
        }
        if let Some(pipe) = means.pipes.take() {
            let (pipe, found) = pass(flow, pair, &outlet, pipe, most, means);
            pipe.into_iter().for_each(|pipe| means.pipes.give(pipe));
            return found.map(|outcome| (outcome, most));
        }
    }
    // More than there is: less is the last.
    let asked = most.min(late.known + LEAST);
    late.known = 0;
    Some(outlet.fill(asked, |room| match sock::receive(&pair.left, room) {
        Outcome::Bytes(count) => (count, (Outcome::Bytes(count), room.len())),
        other => (0, (other, room.len())),
    }))
}

/// Splices what the kernel should have. The pipe, if it is empty; what reading has found other than bytes.
fn pass(
    flow: &mut Flow,
    pair: &mut Pair,
    outlet: &Outlet,
    pipe: Pipe,
    most: usize,
    means: &mut Means<'_>,
) -> (Option<Pipe>, Option<Outcome>) {
    let way = Way::Outbound;
    let Means { traffic, flows, now, .. } = means;
    let Some(late) = &mut flow.late else { return (Some(pipe), None) };
    if !late.nonblocking {
        // A splice waits unless the descriptor says otherwise, as it does where a shim made it.
        late.nonblocking = true;
        sock::set_nonblocking(&pair.left);
        sock::set_nonblocking(&flow.right);
    }
    let is_tcp = flow.right_is_tcp;
    late.release.share = traffic.share(*flows, *now);
    let mut grant = late.release.grant(&flow.right, is_tcp);
    late.release.make_way(&flow.right, &grant);
    // On a fast link what lies there unsent fills the buffer, whatever the window.
    let room = (is_tcp && traffic.is_fast()).then(|| release::room(flow.right.as_fd())).flatten();
    let mut most = most.min(if is_tcp { room.unwrap_or(usize::MAX) } else { TO_A_PAIR });
    let mut left = grant.bytes.min(most);
    let mut found = None;
    while left > 0 {
        match outlet.pass(|| splice(&pipe, &pair.left, &flow.right, left)) {
            Some(Passed::Bytes { count, gone }) => {
                pair.took(count);
                if let Some(seat) = &mut flow.seat {
                    seat.wrote(gone);
                }
                late.moved(count, traffic, *now);
                late.known = late.known.saturating_sub(count);
                flow.machine.kept(way, count, count);
                left -= count;
                most -= count;
                if gone < count {
                    flow.machine.sent(way, false);
                    break;
                }
                // A small rest costs as much as much does, where looks are cheap.
                if left < 2 * FIRST && is_tcp && late.release.share > 0 {
                    let more = late.release.brief(&flow.right).filter(|_| most >= 2 * FIRST);
                    left = more.map_or(0, |more| more.bytes.min(most));
                    grant = more.unwrap_or(grant);
                }
            }
            Some(Passed::Read(outcome)) => {
                late.known = 0;
                found = Some(outcome);
                break;
            }
            Some(Passed::Sent { count, outcome }) => {
                pair.took(count);
                flow.machine.kept(way, count, count);
                // The pipe, which is not empty, goes.
                match outcome {
                    Outcome::Broken(errno) => flow.broken(way.destination(), false, errno),
                    _ => flow.machine.broken(way.destination(), false),
                }
                return (None, None);
            }
            // Somebody has just taken the lock, or written.
            None => return (Some(pipe), None),
        }
    }
    if found.is_none() && (is_tcp || left > 0) {
        late.release.await_room(&flow.right, is_tcp, &grant, *now);
        late.postpone(traffic, *now);
        flow.machine.postpone(way);
    }
    (Some(pipe), found)
}

fn splice(pipe: &Pipe, from: &OwnedFd, to: &OwnedFd, most: usize) -> (Vec<u8>, Passed) {
    let count = match pipe.fill(from, most) {
        Outcome::Bytes(count) => count,
        other => return (Vec::new(), Passed::Read(other)),
    };
    match pipe.empty(to, count, false) {
        Outcome::Bytes(gone) if gone == count => (Vec::new(), Passed::Bytes { count, gone }),
        Outcome::Bytes(gone) => (pipe.read(count - gone), Passed::Bytes { count, gone }),
        Outcome::Again => (pipe.read(count), Passed::Bytes { count, gone: 0 }),
        outcome => (Vec::new(), Passed::Sent { count, outcome }),
    }
}

impl Flow {
    /// What lies in the pair can be taken back, if it goes on as it is.
    pub fn lend(&mut self, pair: &Pair) {
        let way = Way::Outbound;
        let as_it_is = self.machine.is_native(way)
            && !self.machine.is_limited()
            && !self.holds(way)
            && self.frozen.is_none();
        if let Some(late) = &mut self.late {
            late.lend(as_it_is.then_some(&pair.left));
        }
    }

    /// Nobody but the worker reads from the pair: it is about to go, or what is in it is not to be taken as it is.
    pub fn recall(&mut self) {
        if let Some(late) = &mut self.late {
            late.lend(None);
            late.known = 0;
        }
        self.count_fetched();
    }

    /// What others have read out of the pair.
    fn count_fetched(&mut self) {
        let Some(late) = &mut self.late else { return };
        let fetched = late.outlet.fetched();
        if fetched > 0 {
            late.known = 0;
            late.untold += fetched;
            self.machine.kept(Way::Outbound, fetched, fetched);
        }
    }

    /// The pair counts what others have read out of it.
    pub fn tell_fetched(&mut self, pair: &mut Pair) {
        self.count_fetched();
        if let Some(late) = &mut self.late {
            pair.took(std::mem::take(&mut late.untold));
        }
    }
}

fn source(left: &OwnedFd) -> Source {
    Source { fd: left.as_raw_fd(), unread, read }
}

fn unread(fd: RawFd) -> usize {
    // SAFETY: whoever calls has it, or was lent it: it is recalled before it is closed.
    sock::unread(unsafe { BorrowedFd::borrow_raw(fd) }).unwrap_or(0)
}

fn read(fd: RawFd, room: &mut [u8]) -> usize {
    // SAFETY: as above.
    match sock::receive(unsafe { &BorrowedFd::borrow_raw(fd) }, room) {
        Outcome::Bytes(count) => count,
        // Never: so many are there, and who reads has the outlet's mutex.
        _ => 0,
    }
}

/// Flows of a worker whose outlets others have changed.
pub struct Touched {
    keys: Mutex<Vec<u64>>,
    waker: Arc<Waker>,
    shared: Arc<Shared>,
}

impl Touched {
    /// None yet; `waker` is rung with the first.
    pub fn new(waker: Arc<Waker>, shared: Arc<Shared>) -> Self {
        Self { keys: Mutex::default(), waker, shared }
    }

    /// Takes them.
    pub fn take(&self) -> Vec<u64> {
        std::mem::take(&mut self.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An outlet that tells this worker, and where it is to be told the flow's key.
    pub fn outlet(self: &Arc<Self>) -> (Arc<Outlet>, Arc<AtomicU64>) {
        let key = Arc::new(AtomicU64::new(u64::MAX));
        let (touched, told) = (Arc::clone(self), Arc::clone(&key));
        let wake = move |taken: usize| {
            Stats::add(&touched.shared.receiver.stats.bytes_yanked, taken as u64);
            let key = told.load(Ordering::Relaxed);
            touched.keys.lock().unwrap_or_else(PoisonError::into_inner).push(key);
            touched.waker.ring();
        };
        (Arc::new(Outlet::new(Box::new(wake))), key)
    }
}
