//! How the module hears that a flow was closed with nothing left to read, or that bytes lie in its area ([`crate::inline`]): a bit, a
//! flag, and one write to the eventfd for all that comes before the module has looked.
//!
//! The module watches the eventfd edge-triggered and never reads it: each write is an event, and a descriptor of another
//! kind, which a client may have sent instead, can block nobody.

use modnet_abi::pool::SLOTS_PER_WORD;

use crate::atomic::Ordering;
use crate::shared::{Shared, WORDS};

/// Client: there is something to be seen in `slot`. True: the eventfd is to be written to.
#[must_use]
pub fn ring(shared: &impl Shared, slot: usize) -> bool {
    shared.closed(slot / SLOTS_PER_WORD).fetch_or(1 << (slot % SLOTS_PER_WORD), Ordering::AcqRel);
    shared.bell().swap(1, Ordering::AcqRel) == 0
}

/// Module: tells the slots that have rung, each once.
pub fn hear(shared: &impl Shared, mut each: impl FnMut(usize)) {
    // Before the look at the bits: whoever sets one from now on rings again.
    shared.bell().swap(0, Ordering::AcqRel);
    for place in 0..WORDS {
        let word = shared.closed(place);
        if word.load(Ordering::Relaxed) == 0 {
            continue;
        }
        let mut bits = word.swap(0, Ordering::AcqRel);
        while bits != 0 {
            each(place * SLOTS_PER_WORD + bits.trailing_zeros() as usize);
            bits &= bits - 1;
        }
    }
}
