//! When flows with a limit go on: a heap of times. A flow that has ended meanwhile is found gone by its key.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Times in the worker's nanoseconds, and whose they are.
#[derive(Debug, Default)]
pub struct Timers(BinaryHeap<Reverse<(u64, u64)>>);

impl Timers {
    /// `key` is due at `at`.
    pub fn set(&mut self, at: u64, key: u64) {
        self.0.push(Reverse((at, key)));
    }

    /// The earliest time.
    pub fn next(&self) -> Option<u64> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    /// One that is due.
    pub fn due(&mut self, now: u64) -> Option<u64> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse((_, key))| key)
    }

    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_not_before_its_time() {
        let mut timers = Timers::default();
        timers.set(20, 2);
        timers.set(10, 1);
        assert_eq!((timers.next(), timers.due(9)), (Some(10), None));
        assert_eq!((timers.due(15), timers.due(15), timers.due(20)), (Some(1), None, Some(2)));
        assert!(timers.is_empty());
    }
}
