//! The transitions of one word; the table stands in the crate's description. Each is one atomic step.

use modnet_abi::pool::{CLOSED, COUNTED, DIRTY, DONE, FREE, ORDINARY};

use crate::atomic::{fence, AtomicU32, Ordering};

// --- client ------------------------------------------------------------------------------------------------

/// A new pair takes the slot; its NEW follows.
pub fn begin(word: &AtomicU32) {
    word.store(0, Ordering::Release);
}

/// A new flow takes an idle pair; its BEGIN follows. False: the pair is gone.
#[must_use]
pub fn again(word: &AtomicU32) -> bool {
    word.compare_exchange(DONE, 0, Ordering::AcqRel, Ordering::Acquire).is_ok()
}

/// The BEGIN was not sent: the pair is idle as before.
pub fn undo(word: &AtomicU32) {
    word.store(DONE, Ordering::Release);
}

/// The client's last step of a flow, after its last write; `counted`: it has said how much it has read. False: the module
/// was first, near is to be closed.
#[must_use]
pub fn close(word: &AtomicU32, counted: bool) -> bool {
    let old = word.fetch_or(if counted { CLOSED | COUNTED } else { CLOSED }, Ordering::SeqCst);
    // With the one in `is_closed_now`: either the module sees CLOSED, or the caller sees that everything was read.
    fence(Ordering::SeqCst);
    old & (DIRTY | FREE) == 0
}

/// From here on the flow ends with its near socket.
pub fn ordinary(word: &AtomicU32) {
    word.fetch_or(ORDINARY, Ordering::AcqRel);
}

/// How far the module is with a pair that the client has let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The module still has it.
    Busy,
    /// Idle, and the client's.
    Done,
    /// Left is closed.
    Free,
}

/// Looks how far the module is.
#[must_use]
pub fn stage(word: &AtomicU32) -> Stage {
    match word.load(Ordering::Acquire) {
        word if word & FREE != 0 => Stage::Free,
        DONE => Stage::Done,
        _ => Stage::Busy,
    }
}

// --- module ------------------------------------------------------------------------------------------------

/// Whether the client has closed: then nothing can follow what is read from now on.
#[must_use]
pub fn is_closed(word: &AtomicU32) -> bool {
    word.load(Ordering::Acquire) & (CLOSED | ORDINARY) == CLOSED
}

/// Whether the client, which has closed, has said how much it has read.
#[must_use]
pub fn is_counted(word: &AtomicU32) -> bool {
    word.load(Ordering::Acquire) & COUNTED != 0
}

/// The same as [`is_closed`], after a read that found less than it asked for: see [`close`].
#[must_use]
pub fn is_closed_now(word: &AtomicU32) -> bool {
    fence(Ordering::SeqCst);
    is_closed(word)
}

/// The end has to be shown on left, or the client's to be heard from it. False: the client was first.
#[must_use]
pub fn half_close(word: &AtomicU32) -> bool {
    word.fetch_or(DIRTY, Ordering::AcqRel) & (CLOSED | ORDINARY) != CLOSED
}

/// The flow is over; the pair is the client's again.
pub fn done(word: &AtomicU32) {
    word.store(DONE, Ordering::Release);
}

/// Left is closed. DIRTY: a client that closes now finds that it was second.
pub fn free(word: &AtomicU32) {
    word.fetch_or(DIRTY | FREE, Ordering::AcqRel);
}

/// Takes an idle pair away from the client; left is closed after that. False: it is not idle, a BEGIN is on its way.
#[must_use]
pub fn withdraw(word: &AtomicU32) -> bool {
    word.compare_exchange(DONE, DIRTY | FREE, Ordering::AcqRel, Ordering::Acquire).is_ok()
}
