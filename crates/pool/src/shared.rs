//! What of the shared memory the protocol needs; tests stand in for it with less.

use crate::atomic::{AtomicU32, AtomicU64};

/// Slots of one page.
#[cfg(not(all(test, loom)))]
pub const SLOTS: usize = modnet_abi::pool::SLOTS;
/// Slots of one page: as few as show everything.
#[cfg(all(test, loom))]
pub const SLOTS: usize = 2;

/// Slots that have an area.
#[cfg(not(all(test, loom)))]
pub const AREAS: usize = modnet_abi::pool::AREAS;
/// Slots that have an area.
#[cfg(all(test, loom))]
pub const AREAS: usize = 1;

/// Words that hold one bit for each slot.
pub const WORDS: usize = SLOTS.div_ceil(modnet_abi::pool::SLOTS_PER_WORD);

/// The memory that client and module share. Slots and places are below [`SLOTS`] and [`WORDS`].
pub trait Shared {
    /// Not 0: the module has been told to look.
    fn bell(&self) -> &AtomicU32;
    /// Closed slots, one bit each.
    fn closed(&self, place: usize) -> &AtomicU64;
    /// A slot's word.
    fn word(&self, slot: usize) -> &AtomicU32;
    /// How many bytes the module has read of a slot's pair.
    fn taken(&self, slot: usize) -> &AtomicU32;
    /// How many bytes the client has read of it.
    fn heard(&self, slot: usize) -> &AtomicU32;
    /// How many bytes the client has written to it.
    fn sent(&self, slot: usize) -> &AtomicU32;
    /// What is in a slot's area.
    fn area(&self, slot: usize) -> &AtomicU32;
    /// How many bytes of its socket come before that.
    fn stamp(&self, slot: usize) -> &AtomicU32;
    /// Whether a thread of the client is writing to the area, or none may.
    fn filling(&self, slot: usize) -> &AtomicU32;
    /// Odd while the module reads from its socket.
    fn reading(&self, slot: usize) -> &AtomicU32;
}

#[cfg(not(all(test, loom)))]
impl Shared for modnet_abi::pool::PoolPage {
    fn bell(&self) -> &AtomicU32 {
        &self.bell.0
    }
    fn closed(&self, place: usize) -> &AtomicU64 {
        &self.closed[place]
    }
    fn word(&self, slot: usize) -> &AtomicU32 {
        &self.slots[slot].word
    }
    fn taken(&self, slot: usize) -> &AtomicU32 {
        &self.slots[slot].taken
    }
    fn heard(&self, slot: usize) -> &AtomicU32 {
        &self.slots[slot].heard
    }
    fn sent(&self, slot: usize) -> &AtomicU32 {
        &self.slots[slot].sent
    }
    fn area(&self, slot: usize) -> &AtomicU32 {
        &self.slots[slot].area
    }
    fn stamp(&self, slot: usize) -> &AtomicU32 {
        &self.slots[slot].stamp
    }
    fn filling(&self, slot: usize) -> &AtomicU32 {
        &self.slots[slot].filling
    }
    fn reading(&self, slot: usize) -> &AtomicU32 {
        &self.slots[slot].reading
    }
}
