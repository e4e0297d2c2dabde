//! The client's half: which pairs it has, and what becomes of each.
//!
//! A slot is in one of four places: unused, idle (with its near socket), pending (let go by the client, not yet given back
//! by the module), or leased: a [`Lease`], which one flow holds and which is consumed by [`Book::close`] or
//! [`Book::ordinary`]. Whoever takes a slot out of a set has it alone, so all calls are safe from any thread and
//! from signal handlers, and nobody ever waits.
//!
//! ```text
//! take ─▶ Taken (near: an idle pair; none: a slot, for which the caller makes a pair) ─▶ NEW or BEGIN is sent
//!   sent:  the lease lives with the flow ─▶ close(lease, near)   the flow has ended, everything was written
//!                                        └▶ ordinary(lease)      half-close, reset, duplicate: near is the caller's to close
//!   not:   undo(taken)
//! ```
//! It must not decide what a flow is, or make a system call.

use crate::atomic::{fence, AtomicBool, AtomicI32, AtomicUsize, Ordering};
use crate::bell;
use crate::inline;
use crate::set::Set;
use crate::shared::{Shared, SLOTS};
use crate::word::{self, Stage};

/// Pending slots that each take looks at: enough to keep up with one flow each, cheap when none is done.
const HARVEST: usize = 4;

/// What the client must be able to do with descriptors, by whatever calls it makes.
pub trait System {
    /// Closes.
    fn close(&self, fd: i32);
    /// Whether bytes lie unread in it (FIONREAD); true where that cannot be told.
    fn holds_bytes(&self, fd: i32) -> bool;
    /// Whether bytes that were written have not been read yet (SIOCOUTQ); false where that cannot be told: then it rings. Asked
    /// only about pairs whose bytes nobody counts.
    fn is_unread(&self, fd: i32) -> bool;
    /// Whether the other end is closed.
    fn is_hung_up(&self, fd: i32) -> bool;
    /// Writes to the eventfd.
    fn ring(&self);
    /// Counts.
    fn count(&self, fate: Fate);
}

/// What a client that sees every byte of its near sockets has counted of one pair, since it was made; it wraps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bytes written to near.
    pub written: u32,
    /// Bytes read from near.
    pub read: u32,
}

/// Why a pair cannot be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The module had shown the network's end on it, or held its bytes.
    Dirty,
    /// Bytes lay unread in it.
    Unread,
    /// Half-closed, reset or duplicated on the client's side.
    Ordinary,
    /// A thread of the client was still writing to its area when its flow was closed.
    Busy,
    /// The connection had gone when its flow was closed.
    Ended,
    /// The module has closed it.
    Killed,
    /// It was not needed for long.
    Trimmed,
}

/// The right to one slot. Whoever has it closes it, or makes it ordinary.
#[derive(Debug)]
#[must_use = "a slot that nobody closes is lost"]
pub struct Lease(usize);

impl Lease {
    /// The slot, for the message.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // below SLOTS
    pub fn slot(&self) -> u32 {
        self.0 as u32
    }

    /// To be kept as a number.
    #[must_use]
    pub fn into_slot(self) -> u32 {
        self.slot()
    }

    /// Back from the number that [`Lease::into_slot`] gave; None for one that it cannot have given.
    pub fn from_slot(slot: u32) -> Option<Self> {
        usize::try_from(slot).ok().filter(|slot| *slot < SLOTS).map(Self)
    }
}

/// What a new flow gets.
#[derive(Debug)]
#[must_use = "a slot that nobody closes is lost"]
pub struct Taken {
    /// Its slot.
    pub lease: Lease,
    /// An idle pair's near socket, for a BEGIN. None: the caller makes a pair, for a NEW.
    pub near: Option<i32>,
}

/// A client's pairs on one connection. All zeroes is an empty book.
#[derive(Debug)]
pub struct Book {
    used: Set,
    idle: Set,
    pending: Set,
    /// Near sockets of slots that are idle or pending, plus 1; 0: none. Written only by who has the slot.
    near: [AtomicI32; SLOTS],
    /// Where the next harvest looks first.
    hand: AtomicUsize,
    /// Idle pairs, and their smallest number since the last trim.
    spare: AtomicUsize,
    least: AtomicUsize,
    /// Near sockets in `near`.
    kept: AtomicUsize,
    ended: AtomicBool,
}

impl Book {
    /// An empty one.
    #[cfg(not(all(test, loom)))]
    #[must_use]
    pub const fn new() -> Self {
        Self {
            used: Set::new(),
            idle: Set::new(),
            pending: Set::new(),
            near: [const { AtomicI32::new(0) }; SLOTS],
            hand: AtomicUsize::new(0),
            spare: AtomicUsize::new(0),
            least: AtomicUsize::new(0),
            kept: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        }
    }

    /// An empty one.
    #[cfg(all(test, loom))]
    #[must_use]
    pub fn new() -> Self {
        Self {
            used: Set::new(),
            idle: Set::new(),
            pending: Set::new(),
            near: core::array::from_fn(|_| AtomicI32::new(0)),
            hand: AtomicUsize::new(0),
            spare: AtomicUsize::new(0),
            least: AtomicUsize::new(0),
            kept: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        }
    }

    /// A slot for a new flow; None: all are used, or the book has ended.
    pub fn take(&self, shared: &impl Shared, system: &impl System) -> Option<Taken> {
        if self.ended.load(Ordering::Relaxed) {
            return None;
        }
        self.harvest(shared, system, HARVEST);
        while let Some(slot) = self.idle.remove_any(0) {
            let near = self.leave(slot);
            let spare = self.spare.fetch_sub(1, Ordering::Relaxed) - 1;
            self.least.fetch_min(spare, Ordering::Relaxed);
            if word::again(shared.word(slot)) {
                inline::unlock(shared, slot);
                return Some(Taken { lease: Lease(slot), near });
            }
            self.discard(near, Fate::Killed, system);
            self.pending.insert(slot);
        }
        let slot = self.used.insert_any()?;
        // Before the module can have the pair.
        shared.taken(slot).store(0, Ordering::Relaxed);
        inline::free(shared, slot);
        inline::unlock(shared, slot);
        word::begin(shared.word(slot));
        Some(Taken { lease: Lease(slot), near: None })
    }

    /// The message was not sent: as if nothing had been taken. (A pair that was made for it is the caller's.)
    pub fn undo(&self, shared: &impl Shared, taken: Taken, system: &impl System) {
        let slot = taken.lease.0;
        match taken.near {
            Some(near) => {
                word::undo(shared.word(slot));
                self.make_idle(slot, near);
                self.check_end(system);
            }
            None if inline::lock(shared, slot) => {
                self.used.remove(slot);
            }
            None => {
                // A thread still writes to a flow that had the slot before.
                word::free(shared.word(slot));
                self.pending.insert(slot);
            }
        }
    }

    /// The BEGIN of an idle pair was not sent, and its near socket, which stands at a number of the application's, is the caller's to
    /// close after this: the module takes such a pair back.
    pub fn unsent(&self, shared: &impl Shared, lease: Lease) {
        let slot = lease.0;
        word::undo(shared.word(slot));
        self.pending.insert(slot);
    }

    /// The flow is over on this side, in order; `near` belongs to the book from here on. Everything was written before.
    /// `tally`: what was counted, by a client that can; it costs no call then.
    pub fn close(
        &self,
        shared: &impl Shared,
        lease: Lease,
        near: i32,
        tally: Option<Tally>,
        system: &impl System,
    ) {
        let slot = lease.0;
        let fate = if self.ended.load(Ordering::Relaxed) {
            Some(Fate::Ended)
        } else {
            // A thread that still writes may do so to this flow only.
            (!inline::lock(shared, slot)).then_some(Fate::Busy)
        };
        if let Some(fate) = fate {
            self.end_with_near(shared, lease, fate, system);
            system.close(near);
            return;
        }
        if let Some(tally) = tally {
            shared.heard(slot).store(tally.read, Ordering::Relaxed);
            shared.sent(slot).store(tally.written, Ordering::Relaxed);
        }
        if word::close(shared.word(slot), tally.is_some()) {
            let is_unread = inline::is_full(shared, slot)
                || match tally {
                    Some(tally) => shared.taken(slot).load(Ordering::Relaxed) != tally.written,
                    None => system.is_unread(near),
                };
            // What is unread brings the module by without a bell.
            if !is_unread && bell::ring(shared, slot) {
                system.ring();
            }
            self.keep(slot, near);
        } else {
            self.discard(Some(near), Fate::Dirty, system);
        }
        self.pending.insert(slot);
        self.check_end(system);
    }

    /// The flow ends with its near socket, which is the caller's, now or some time later.
    pub fn ordinary(&self, shared: &impl Shared, lease: Lease, system: &impl System) {
        self.end_with_near(shared, lease, Fate::Ordinary, system);
    }

    fn end_with_near(&self, shared: &impl Shared, lease: Lease, fate: Fate, system: &impl System) {
        let slot = lease.0;
        word::ordinary(shared.word(slot));
        system.count(fate);
        self.pending.insert(slot);
    }

    /// Looks at up to `most` pending slots: what the module has given back becomes idle or unused.
    pub fn harvest(&self, shared: &impl Shared, system: &impl System, most: usize) {
        if self.look(shared, system, most) {
            self.check_end(system);
        }
    }

    /// Whether anything was pending.
    fn look(&self, shared: &impl Shared, system: &impl System, most: usize) -> bool {
        let mut first = None;
        for _ in 0..most {
            let Some(slot) = self.pending.remove_any(self.hand.load(Ordering::Relaxed)) else { break };
            if first == Some(slot) {
                // All were looked at.
                self.pending.insert(slot);
                break;
            }
            first = first.or(Some(slot));
            self.hand.store((slot + 1) % SLOTS, Ordering::Relaxed);
            match (word::stage(shared.word(slot)), self.leave(slot)) {
                (Stage::Free, near) => {
                    self.discard(near, Fate::Killed, system);
                    // A thread that still writes may do so to its flow only.
                    if inline::lock(shared, slot) {
                        self.used.remove(slot);
                    } else {
                        self.pending.insert(slot);
                    }
                }
                (Stage::Done, Some(near)) if system.holds_bytes(near) => {
                    self.discard(Some(near), Fate::Unread, system);
                    self.pending.insert(slot);
                }
                (Stage::Done, Some(near)) => self.make_idle(slot, near),
                (Stage::Busy | Stage::Done, near) => {
                    if let Some(near) = near {
                        self.keep(slot, near);
                    }
                    self.pending.insert(slot);
                }
            }
        }
        first.is_some()
    }

    /// Closes the idle pairs that were not needed since the last trim (`all`: every one), and what hangs. How many
    /// descriptors are still kept: 0 means that there is nothing to come back for.
    pub fn trim(&self, shared: &impl Shared, system: &impl System, all: bool) -> usize {
        self.harvest(shared, system, SLOTS);
        let spare = self.spare.load(Ordering::Relaxed);
        let surplus = if all { spare } else { self.least.load(Ordering::Relaxed).min(spare) };
        for _ in 0..surplus {
            let Some(slot) = self.idle.remove_any(0) else { break };
            self.spare.fetch_sub(1, Ordering::Relaxed);
            self.discard(self.leave(slot), Fate::Trimmed, system);
            self.pending.insert(slot);
        }
        let spare = self.spare.load(Ordering::Relaxed);
        self.least.store(spare, Ordering::Relaxed);
        spare + self.sweep(system)
    }

    /// Closes pending near sockets whose other end is gone: the module was killed. How many others there are.
    fn sweep(&self, system: &impl System) -> usize {
        let mut kept = 0;
        for slot in 0..SLOTS {
            if self.near[slot].load(Ordering::Relaxed) == 0 || !self.pending.remove(slot) {
                continue;
            }
            match self.leave(slot) {
                Some(near) if system.is_hung_up(near) => self.discard(Some(near), Fate::Killed, system),
                Some(near) => {
                    self.keep(slot, near);
                    kept += 1;
                }
                None => {}
            }
            self.pending.insert(slot);
        }
        self.check_end(system);
        kept
    }

    /// The connection is gone, or this is a forked child: nothing is used again, everything that is kept is closed. Flows
    /// that hold a lease end the ordinary way.
    pub fn end(&self, system: &impl System) {
        self.ended.store(true, Ordering::Relaxed);
        self.check_end(system);
    }

    /// An empty book again, for another connection. Nobody else may use it meanwhile, and it must have ended, so
    /// that nothing is kept.
    pub fn renew(&self) {
        for set in [&self.used, &self.idle, &self.pending] {
            set.clear();
        }
        for counter in [&self.hand, &self.spare, &self.least] {
            counter.store(0, Ordering::Relaxed);
        }
        self.ended.store(false, Ordering::Release);
    }

    /// Near sockets that are kept: idle, or closed and not given back.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    /// After each step that puts a socket into a set: the end may have come between.
    fn check_end(&self, system: &impl System) {
        // Either this look sees the end, or the end's look at the sets sees what was put there.
        fence(Ordering::SeqCst);
        if !self.ended.load(Ordering::Relaxed) {
            return;
        }
        for set in [&self.idle, &self.pending] {
            while let Some(slot) = set.remove_any(0) {
                if let Some(near) = self.leave(slot) {
                    system.close(near);
                }
            }
        }
    }

    /// Notes the near socket of a slot that is in the caller's hand.
    fn keep(&self, slot: usize, near: i32) {
        self.near[slot].store(near + 1, Ordering::Relaxed);
        self.kept.fetch_add(1, Ordering::Relaxed);
    }

    fn make_idle(&self, slot: usize, near: i32) {
        self.keep(slot, near);
        self.spare.fetch_add(1, Ordering::Relaxed);
        self.idle.insert(slot);
    }

    /// The near socket of a slot that was taken out of its set.
    fn leave(&self, slot: usize) -> Option<i32> {
        match self.near[slot].swap(0, Ordering::Relaxed) {
            0 => None,
            near => {
                self.kept.fetch_sub(1, Ordering::Relaxed);
                Some(near - 1)
            }
        }
    }

    fn discard(&self, near: Option<i32>, fate: Fate, system: &impl System) {
        if let Some(near) = near {
            system.close(near);
            system.count(fate);
        }
    }
}

impl Default for Book {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
#[path = "book_tests.rs"]
mod tests;
