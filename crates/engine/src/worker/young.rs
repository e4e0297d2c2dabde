//! Flows of a burst, which the poller does not know yet: most of them are over before it would have told anything.
//!
//! To watch a socket, to be told of it and to forget it costs 2 µs, and where many connections come at once a short one ends with
//! what its application writes. So the network's side of a flow that begins in a burst is read at once, and watched a little later, if
//! the flow still lives. Nothing is lost by that: whoever begins to watch is told what is ready by then.
//!
//! | the flow | is watched |
//! | --- | --- |
//! | came alone, or its right is no TCP socket | from its begin |
//! | came in a burst, and its client had sent nothing yet | from then on |
//! | came in a burst, and its first bytes were read | after [`WAITS`] waits, of [`LONGEST`] each at most |
//! | waits for room at its right | from then on |
//! | was yielded, and has another right | from then on |

use std::collections::VecDeque;
use std::os::fd::AsRawFd;
use std::time::Duration;

use super::{Worker, KIND_BITS, RIGHT};
use crate::flow::{Ready, Side, Way};

/// So many begins at once are a burst: with fewer there is time.
pub const BURST: usize = 3;
/// Waits that a flow is not watched in.
const WAITS: u32 = 2;
/// No longer wait while there is one: a second part of its request must not be late by more.
const LONGEST: Duration = Duration::from_millis(1);

/// Flows that are to be watched soon, oldest first.
#[derive(Default)]
pub struct Young {
    flows: VecDeque<(u64, u32)>,
    waits: u32,
}

impl Young {
    /// The longest that the next wait may be; None: as long as it likes.
    pub fn longest(&self) -> Option<Duration> {
        (!self.flows.is_empty()).then_some(LONGEST)
    }

    fn add(&mut self, flow: u64) {
        self.flows.push_back((flow, self.waits));
    }

    fn grown(&mut self) -> Option<u64> {
        let (flow, since) = *self.flows.front()?;
        if self.waits.wrapping_sub(since) < WAITS {
            return None;
        }
        self.flows.pop_front();
        Some(flow)
    }
}

impl Worker {
    /// A flow that nobody watches has begun, and what it has was read.
    pub(super) fn keep_young(&mut self, key: u64) {
        let Some(flow) = self.flows.get_mut(key).filter(|flow| flow.young) else { return };
        if flow.machine.bytes()[Way::Inbound as usize] > 0 {
            self.young.add(key);
        } else {
            self.watch(key);
        }
    }

    /// Its right is read once, before anybody has told of it.
    pub(super) fn look_at_young(&mut self, key: u64) -> bool {
        let Some(flow) = self.flows.get_mut(key).filter(|flow| flow.young) else { return false };
        flow.machine.ready(Side::Right, Ready { readable: true, ..Ready::default() });
        true
    }

    /// Before a wait: those that have lived so long are watched.
    pub(super) fn watch_grown(&mut self) {
        while let Some(key) = self.young.grown() {
            self.watch(key);
        }
        self.young.waits = self.young.waits.wrapping_add(1);
    }

    fn watch(&mut self, key: u64) {
        let Some(flow) = self.flows.get_mut(key).filter(|flow| flow.young) else { return };
        flow.young = false;
        let (right, token) = (flow.right.as_raw_fd(), key << KIND_BITS | RIGHT);
        if self.poller.add(right, token, flow.room).is_err() {
            self.cannot_watch(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_is_young_for_so_many_waits_and_they_are_short() {
        let mut young = Young::default();
        assert_eq!((young.longest(), young.grown()), (None, None));
        young.add(7);
        for _ in 0..WAITS {
            assert_eq!((young.longest(), young.grown()), (Some(LONGEST), None));
            young.waits += 1;
        }
        young.add(8);
        assert_eq!((young.grown(), young.grown()), (Some(7), None));
        assert_eq!(young.longest(), Some(LONGEST));
    }
}
