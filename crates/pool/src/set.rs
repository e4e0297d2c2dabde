//! Sets of slots. Who takes a slot out has it alone: threads, and code that a signal has interrupted, need no lock.

use modnet_abi::pool::SLOTS_PER_WORD;

use crate::atomic::{AtomicU64, Ordering};
use crate::shared::{SLOTS, WORDS};

/// A set of slots; empty where memory is zero.
#[derive(Debug)]
pub struct Set([AtomicU64; WORDS]);

impl Set {
    /// The empty one.
    #[cfg(not(all(test, loom)))]
    #[must_use]
    pub const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; WORDS])
    }

    /// The empty one.
    #[cfg(all(test, loom))]
    #[must_use]
    pub fn new() -> Self {
        Self(core::array::from_fn(|_| AtomicU64::new(0)))
    }

    /// Puts a slot in. False: it was there.
    pub fn insert(&self, slot: usize) -> bool {
        let bit = 1 << (slot % SLOTS_PER_WORD);
        self.0[slot / SLOTS_PER_WORD].fetch_or(bit, Ordering::AcqRel) & bit == 0
    }

    /// Takes a slot out. False: it was not there, or somebody else has it now.
    pub fn remove(&self, slot: usize) -> bool {
        let bit = 1 << (slot % SLOTS_PER_WORD);
        self.0[slot / SLOTS_PER_WORD].fetch_and(!bit, Ordering::AcqRel) & bit != 0
    }

    /// Whether a slot is there.
    pub fn contains(&self, slot: usize) -> bool {
        self.0[slot / SLOTS_PER_WORD].load(Ordering::Relaxed) & 1 << (slot % SLOTS_PER_WORD) != 0
    }

    /// Takes all out.
    pub fn clear(&self) {
        for word in &self.0 {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// Takes some slot out, the first from `start` on, then from the beginning. O(words).
    pub fn remove_any(&self, start: usize) -> Option<usize> {
        let first = start % SLOTS / SLOTS_PER_WORD;
        for step in 0..=WORDS {
            let place = (first + step) % WORDS;
            let mut bits = self.0[place].load(Ordering::Relaxed);
            if step == 0 {
                bits &= u64::MAX << (start % SLOTS_PER_WORD);
            }
            while bits != 0 {
                let slot = place * SLOTS_PER_WORD + bits.trailing_zeros() as usize;
                if self.remove(slot) {
                    return Some(slot);
                }
                bits &= bits - 1;
            }
        }
        None
    }

    /// Puts the first slot in that is not there. O(words).
    pub fn insert_any(&self) -> Option<usize> {
        for (place, word) in self.0.iter().enumerate() {
            let mut missing = !word.load(Ordering::Relaxed);
            while missing != 0 {
                let slot = place * SLOTS_PER_WORD + missing.trailing_zeros() as usize;
                if slot >= SLOTS {
                    return None;
                }
                if self.insert(slot) {
                    return Some(slot);
                }
                missing &= missing - 1;
            }
        }
        None
    }
}

impl Default for Set {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_once_from_the_start_on_and_around() {
        let set = Set::new();
        for slot in [0, 63, 64, SLOTS - 1] {
            assert!(set.insert(slot) && !set.insert(slot));
        }
        assert_eq!(set.remove_any(64), Some(64));
        assert_eq!(set.remove_any(64), Some(SLOTS - 1));
        assert_eq!(set.remove_any(64), Some(0));
        assert!(set.contains(63) && set.remove(63) && !set.contains(63) && !set.remove(63));
        assert_eq!(set.remove_any(5), None);
        // The word that it starts in is looked at whole, at last.
        set.insert(3);
        assert_eq!(set.remove_any(5), Some(3));
    }

    #[test]
    fn the_lowest_that_is_missing_goes_in_until_all_are() {
        let set = Set::new();
        set.insert(1);
        assert_eq!((set.insert_any(), set.insert_any()), (Some(0), Some(2)));
        assert_eq!((3..SLOTS).map(|_| set.insert_any().unwrap()).last(), Some(SLOTS - 1));
        assert_eq!(set.insert_any(), None);
    }
}
