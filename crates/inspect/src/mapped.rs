//! A state that the kernel writes, as it is read: one field, or all of them as they stood together.

use std::sync::atomic::{fence, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread;

use modnet_abi::sockstate::{SockState, WORDS};

use crate::access::{Access, Words};

/// Looks at a state that is being written, before the reader lets others run; a writing takes some 50 ns.
const SPINS: u32 = 200;
/// How often it then does that, before it gives up: the writer may have been interrupted.
const YIELDS: u32 = 100;

/// Where the cookie stands.
const COOKIE_WORD: usize = 1;

/// Where the TCP state stands, beside the source.
const STATE_WORD: usize = 3;
/// The one state in which the kernel tells of packets before they are processed (the tracepoint tcp_probe).
const ESTABLISHED: u32 = 1;

/// One socket's slot.
pub struct Mapped {
    access: Arc<Access>,
    slot: u32,
    cookie: u64,
}

impl Mapped {
    /// None where there is no such slot, or another socket's state is in it.
    #[must_use]
    pub fn new(access: Arc<Access>, slot: u32, cookie: u64) -> Option<Self> {
        let mapped = Self { access, slot, cookie };
        mapped.is_ours().then_some(mapped)
    }

    /// The words, which change while one looks.
    #[must_use]
    pub fn words(&self) -> &Words {
        // The slot was checked when this was made.
        self.access.state(self.slot).unwrap_or(&EMPTY)
    }

    /// Which slot.
    #[must_use]
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// Whether the kernel still writes this socket's state here.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.access.is_live() && self.is_ours()
    }

    /// Whether the connection is in the state in which the kernel tells of each packet.
    #[must_use]
    pub fn is_established(&self) -> bool {
        state_of_connection(self.words()[STATE_WORD].load(Ordering::Relaxed)) == ESTABLISHED
    }

    fn is_ours(&self) -> bool {
        self.words()[COOKIE_WORD].load(Ordering::Relaxed) == self.cookie
    }

    /// What was written last, in whatever state the connection is; None where the slot is another socket's by now.
    #[must_use]
    pub fn last(&self) -> Option<SockState> {
        let words = consistent(self.words())?;
        (words[COOKIE_WORD] == self.cookie).then(|| state_of(&words))
    }

    /// All fields as they stood at one moment; None where nobody writes them any more, or a writing does not end.
    #[must_use]
    pub fn read(&self) -> Option<SockState> {
        if !self.access.is_live() {
            return None;
        }
        let words = consistent(self.words())?;
        let is_told =
            words[COOKIE_WORD] == self.cookie && state_of_connection(words[STATE_WORD]) == ESTABLISHED;
        is_told.then(|| state_of(&words))
    }
}

static EMPTY: Words = [const { AtomicU64::new(0) }; WORDS];

/// Copies the words between two looks at an even, unchanged sequence.
#[must_use]
pub fn consistent(words: &Words) -> Option<[u64; WORDS]> {
    for round in 0..SPINS + YIELDS {
        let first = words[0].load(Ordering::Acquire);
        if sequence(first) & 1 == 0 {
            let mut copy = [first; WORDS];
            for (to, from) in copy.iter_mut().zip(words).skip(1) {
                *to = from.load(Ordering::Relaxed);
            }
            fence(Ordering::Acquire);
            if words[0].load(Ordering::Relaxed) == first {
                return Some(copy);
            }
        }
        if round < SPINS {
            std::hint::spin_loop();
        } else {
            thread::yield_now();
        }
    }
    None
}

/// The first half of the first word; the other half, the version, stays as it is.
fn sequence(first: u64) -> u32 {
    let [a, b, c, d, ..] = first.to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}

/// The second half of word 3.
fn state_of_connection(word: u64) -> u32 {
    let [.., a, b, c, d] = word.to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}

const _: () = assert!(std::mem::offset_of!(SockState, state) == 8 * STATE_WORD + 4);

/// The same bytes as a struct.
#[must_use]
pub fn state_of(words: &[u64; WORDS]) -> SockState {
    // SAFETY: as large, and every pattern of bits is a value.
    unsafe { std::mem::transmute_copy(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_is_being_written_is_not_read() {
        let words: Words = std::array::from_fn(|index| AtomicU64::new(index as u64 + 2));
        assert_eq!(consistent(&words).map(|w| w[31]), Some(33));
        words[0].store(3, Ordering::Relaxed);
        assert_eq!(consistent(&words), None);
    }
}
