//! The atomics: the processor's, or those of the tests that go through every interleaving.

#[cfg(not(all(test, loom)))]
pub use core::sync::atomic::{fence, AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering};
#[cfg(all(test, loom))]
pub use loom::sync::atomic::{fence, AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering};
