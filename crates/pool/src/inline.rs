//! Small writes of the client that no socket carries: they lie in shared memory, the module takes them there.
//!
//! What is in a slot's area, [`Shared::area`] tells:
//!
//! | word | next | by whom, when |
//! | --- | --- | --- |
//! | `0` | `n` | client ([`Room::publish`]): so many bytes are there; it rings ([`crate::bell`]) |
//! | | `TAKING` | module ([`shut`]): nothing is to come here for now |
//! | `n` | `n + m` | client ([`Room::publish`]): more, if nothing was written to the socket since |
//! | | `TAKING n` | module ([`take`]) |
//! | | `TAKING` | module ([`shut_for_good`]): they are its own, and nothing is to come here until the flow is over |
//! | `TAKING` | `0` | module ([`free`]): all were copied; or the flow is over |
//!
//! Bytes lie in the area or in the socket; which come first, two numbers tell. The client stamps what it puts into an empty area
//! with the number of socket bytes before it, and does so only when every one of those was read: the kernel says that
//! nothing is unread (SIOCOUTQ), the module is not in the middle of a read ([`Shared::reading`] is even), and it has read (`taken`) as many as
//! the client has written. So a stamp is where one read of the module ends and another begins. The module looks at the area before each
//! read, and after it ([`goes_before`]): what was published meanwhile with the stamp of the read's beginning, or less, goes before
//! the bytes read, with that of its end behind them.
//!
//! A client need not know of every write to its socket: the kernel's answer tells of those that are on their way, and of the others that `taken` is
//! more than it has counted. Its threads need no lock: who does not get the area ([`Shared::filling`]) writes to the socket, and two writes at
//! one time have no order. Whatever it was doing when it dies, what it has published stands there.

use modnet_abi::pool::{AREA_BYTES, FILLING, LENGTH, LOCKED, TAKING};

use crate::atomic::{fence, Ordering};
use crate::shared::{Shared, AREAS};

// --- client ------------------------------------------------------------------------------------------------

/// The right to put bytes into an area, behind those that are there.
#[derive(Debug)]
#[must_use = "an area that nobody gives back is used no more"]
pub struct Room {
    slot: usize,
    length: u32,
}

/// Why a write goes to the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum No {
    /// The pair has no area, or it is in use, or the flow is ending.
    Busy,
    /// Something on the socket has not been read yet.
    Unread,
    /// The module has read what the client has not counted: not every write is told.
    Untold,
}

/// Begins to put up to `most` bytes into a slot's area. `written`: bytes that the client has written to the socket since the pair was made, as far as it knows;
/// `is_unread`: the kernel's answer, whether any of them lie there.
///
/// # Errors
/// Why the socket is to be used.
pub fn begin(
    shared: &impl Shared,
    slot: usize,
    most: usize,
    written: u32,
    is_unread: impl FnOnce() -> bool,
) -> Result<Room, No> {
    if slot >= AREAS
        || shared.word(slot).load(Ordering::Relaxed) != 0
        || shared.area(slot).load(Ordering::Relaxed) as usize + most > AREA_BYTES
        || shared.filling(slot).compare_exchange(0, FILLING, Ordering::Acquire, Ordering::Relaxed).is_err()
    {
        return Err(No::Busy);
    }
    let room = Room { slot, length: shared.area(slot).load(Ordering::Acquire) };
    match room.check(shared, most, written, is_unread) {
        Ok(()) => Ok(room),
        Err(no) => {
            room.cancel(shared);
            Err(no)
        }
    }
}

impl Room {
    fn check(
        &self,
        shared: &impl Shared,
        most: usize,
        written: u32,
        is_unread: impl FnOnce() -> bool,
    ) -> Result<(), No> {
        let (slot, stamp) = (self.slot, shared.stamp(self.slot));
        if self.length as usize + most > AREA_BYTES {
            return Err(No::Busy);
        }
        if self.length != 0 && stamp.load(Ordering::Relaxed) != written || is_unread() {
            return Err(No::Unread);
        }
        // What the kernel says to have been read was read before this.
        fence(Ordering::SeqCst);
        if shared.reading(slot).load(Ordering::Acquire) & 1 != 0 {
            return Err(No::Unread);
        }
        match shared.taken(slot).load(Ordering::Relaxed).wrapping_sub(written) {
            0 => {
                stamp.store(written, Ordering::Relaxed);
                Ok(())
            }
            more if more <= u32::MAX / 2 => Err(No::Untold),
            _ => Err(No::Unread),
        }
    }

    /// Behind how many bytes of the area the next one goes.
    #[must_use]
    pub fn at(&self) -> usize {
        self.length as usize
    }

    /// So many bytes were put there: they are written, and the bell has to be rung ([`crate::bell::ring`]).
    ///
    /// # Errors
    /// The module has taken what was there before: they are not written, and go to the socket.
    #[allow(clippy::cast_possible_truncation)] // less than an area
    pub fn publish(self, shared: &impl Shared, count: usize) -> Result<(), No> {
        let (area, longer) = (shared.area(self.slot), self.length + count as u32);
        let done = area.compare_exchange(self.length, longer, Ordering::AcqRel, Ordering::Relaxed);
        self.cancel(shared);
        done.map(drop).map_err(|_| No::Busy)
    }

    /// Nothing was put there.
    pub fn cancel(self, shared: &impl Shared) {
        unlock(shared, self.slot);
    }
}

/// Takes the area away from the client's threads, until another flow has the slot. False: one of them is in it.
#[must_use]
pub fn lock(shared: &impl Shared, slot: usize) -> bool {
    slot >= AREAS
        || shared
            .filling(slot)
            .compare_exchange(0, LOCKED, Ordering::Acquire, Ordering::Relaxed)
            .map_or_else(|now| now == LOCKED, |_| true)
}

/// They may use it.
pub fn unlock(shared: &impl Shared, slot: usize) {
    if slot < AREAS {
        shared.filling(slot).store(0, Ordering::Release);
    }
}

/// How many bytes the module has not taken yet, or is copying.
#[must_use]
pub fn length(shared: &impl Shared, slot: usize) -> usize {
    if slot >= AREAS {
        return 0;
    }
    bounded(shared.area(slot).load(Ordering::Relaxed) & LENGTH)
}

/// After [`crate::word::close`]: whether the module has something to take, and will see the close when it does.
#[must_use]
pub fn is_full(shared: &impl Shared, slot: usize) -> bool {
    slot < AREAS && (1..=LENGTH).contains(&shared.area(slot).load(Ordering::Relaxed))
}

// --- module ------------------------------------------------------------------------------------------------

/// The module begins to read from the socket.
pub fn enter(shared: &impl Shared, slot: usize) {
    let reading = shared.reading(slot);
    reading.store(reading.load(Ordering::Relaxed) | 1, Ordering::Relaxed);
    // With the client's in `begin`; the kernel takes the bytes after this.
    fence(Ordering::Release);
}

/// It has read, and has said how much (`taken`).
pub fn leave(shared: &impl Shared, slot: usize) {
    let reading = shared.reading(slot);
    reading.store((reading.load(Ordering::Relaxed) | 1).wrapping_add(1), Ordering::Release);
}

/// What a slot's area has for the module: so many bytes, which are its own until [`free`].
#[must_use]
pub fn take(shared: &impl Shared, slot: usize) -> Option<usize> {
    if slot >= AREAS {
        return None;
    }
    let area = shared.area(slot);
    let length = area.load(Ordering::Relaxed);
    if !(1..=LENGTH).contains(&length) {
        return None;
    }
    // It can only have grown.
    match area.fetch_or(TAKING, Ordering::AcqRel) & LENGTH {
        0 => {
            free(shared, slot);
            None
        }
        length => Some(bounded(length)),
    }
}

/// After a read that has found bytes, `before` having been `taken` before it: whether what is published goes before them.
#[must_use]
pub fn goes_before(shared: &impl Shared, slot: usize, before: u32) -> bool {
    slot < AREAS
        && (1..=LENGTH).contains(&shared.area(slot).load(Ordering::Acquire))
        && before.wrapping_sub(shared.stamp(slot).load(Ordering::Relaxed)) <= u32::MAX / 2
}

/// Whatever the client has written there.
fn bounded(length: u32) -> usize {
    (length as usize).min(AREA_BYTES)
}

/// Nothing is to come by the area until [`free`]. False: something is there.
#[must_use]
pub fn shut(shared: &impl Shared, slot: usize) -> bool {
    slot >= AREAS
        || match shared.area(slot).compare_exchange(0, TAKING, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(now) => now & TAKING != 0,
        }
}

/// The same, whatever is there: so many bytes, which nobody adds to any more.
#[must_use]
pub fn shut_for_good(shared: &impl Shared, slot: usize) -> usize {
    if slot >= AREAS {
        return 0;
    }
    match shared.area(slot).swap(TAKING, Ordering::AcqRel) {
        length @ 1..=LENGTH => bounded(length),
        _ => 0,
    }
}

/// The bytes were copied; or the next flow may use it.
pub fn free(shared: &impl Shared, slot: usize) {
    if slot < AREAS {
        shared.area(slot).store(0, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
#[path = "inline_tests.rs"]
mod tests;
