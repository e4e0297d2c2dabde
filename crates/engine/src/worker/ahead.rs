//! What a hook will look at, on its way from memory while the kernel reads.
//!
//! Where many connections take turns, the state of each has to come from memory: the first look at it took a tenth of what a
//! module of messages spends outside the kernel. Must not: look at it, which would wait for it.

use std::any::Any;

/// A line of the processor's cache.
const LINE: usize = 64;
/// Lines of a state that are fetched at most.
const MOST: usize = 8;

/// Begins to fetch a flow's state.
pub fn fetch(state: &(dyn Any + Send)) {
    let at = std::ptr::from_ref(state).cast::<i8>();
    for line in 0..size_of_val(state).div_ceil(LINE).min(MOST) {
        prefetch(at.wrapping_add(line * LINE));
    }
}

#[cfg(target_arch = "x86_64")]
fn prefetch(at: *const i8) {
    use std::arch::x86_64::{_mm_prefetch, _MM_HINT_T0};
    // SAFETY: a hint; no address is wrong.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at) };
}

#[cfg(not(target_arch = "x86_64"))]
fn prefetch(_at: *const i8) {}
