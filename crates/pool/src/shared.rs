//! What of the shared memory the protocol needs; tests stand in for it with less.

use crate::atomic::{AtomicU32, AtomicU64};

/// Slots of one page.
#[cfg(not(all(test, loom)))]
pub const SLOTS: usize = modnet_abi::pool::SLOTS;
/// Slots of one page: as few as show everything.
#[cfg(all(test, loom))]
pub const SLOTS: usize = 2;

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
}
