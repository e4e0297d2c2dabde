//! Shared memory for tests: the same words, of this process' own.

use crate::atomic::{AtomicU32, AtomicU64};
use crate::shared::{Shared, SLOTS, WORDS};

/// A slot's words.
#[derive(Default)]
pub struct Slot {
    pub word: AtomicU32,
    pub taken: AtomicU32,
    pub heard: AtomicU32,
    pub sent: AtomicU32,
    area: AtomicU32,
    stamp: AtomicU32,
    filling: AtomicU32,
    reading: AtomicU32,
}

/// A page's.
pub struct Memory {
    pub bell: AtomicU32,
    pub closed: Vec<AtomicU64>,
    pub slots: Vec<Slot>,
}

impl Default for Memory {
    fn default() -> Self {
        let closed = (0..WORDS).map(|_| AtomicU64::default()).collect();
        let slots = (0..SLOTS).map(|_| Slot::default()).collect();
        Self { bell: AtomicU32::default(), closed, slots }
    }
}

/// What has such memory is [`Shared`].
pub trait HasMemory {
    fn memory(&self) -> &Memory;
}

impl HasMemory for Memory {
    fn memory(&self) -> &Memory {
        self
    }
}

impl<T: HasMemory> Shared for T {
    fn bell(&self) -> &AtomicU32 {
        &self.memory().bell
    }
    fn closed(&self, place: usize) -> &AtomicU64 {
        &self.memory().closed[place]
    }
    fn word(&self, slot: usize) -> &AtomicU32 {
        &self.memory().slots[slot].word
    }
    fn taken(&self, slot: usize) -> &AtomicU32 {
        &self.memory().slots[slot].taken
    }
    fn heard(&self, slot: usize) -> &AtomicU32 {
        &self.memory().slots[slot].heard
    }
    fn sent(&self, slot: usize) -> &AtomicU32 {
        &self.memory().slots[slot].sent
    }
    fn area(&self, slot: usize) -> &AtomicU32 {
        &self.memory().slots[slot].area
    }
    fn stamp(&self, slot: usize) -> &AtomicU32 {
        &self.memory().slots[slot].stamp
    }
    fn filling(&self, slot: usize) -> &AtomicU32 {
        &self.memory().slots[slot].filling
    }
    fn reading(&self, slot: usize) -> &AtomicU32 {
        &self.memory().slots[slot].reading
    }
}
