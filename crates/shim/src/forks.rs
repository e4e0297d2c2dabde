//! fork and its like: a child inherits every descriptor, so that pairs in use then end with their sockets.
//!
//! Before the call all flows are unpooled, and flows that other threads accept until it is over get fresh pairs. A flow that was
//! just being accepted is told by [`epoch`]. What libc forks by itself where no hook sees it (wordexp, for one) execs soon.
//!
//! vfork cannot be wrapped: its child returns first, on the same stack. So the hook does its part and jumps to libc's. The
//! parent's thread sleeps until the child has gone on, so its next close or accept tells that this vfork is over.

use core::sync::atomic::{fence, AtomicI32, AtomicU32, Ordering};

use modnet_abi::counter::Counter;

use crate::{burst, pool, process, record, sys};

/// vforks of different threads at one time; with more, pairs stay fresh.
const VFORKS: usize = 8;

static EPOCH: AtomicU32 = AtomicU32::new(0);
/// Calls under way.
static UNDER_WAY: AtomicU32 = AtomicU32::new(0);
/// Threads whose vfork may be under way.
static VFORKING: [AtomicI32; VFORKS] = [const { AtomicI32::new(0) }; VFORKS];

/// Changes with every fork. To be asked before a pair is taken and after its record was written.
pub fn epoch() -> u32 {
    fence(Ordering::SeqCst);
    EPOCH.load(Ordering::SeqCst)
}

/// Whether a pair that is taken now may be inherited.
pub fn are_under_way() -> bool {
    settle();
    UNDER_WAY.load(Ordering::Acquire) != 0
}

/// Whether a child may live in this memory: begun, and not known to be over. It is counted before such a child is made.
#[inline]
pub fn is_any_under_way() -> bool {
    UNDER_WAY.load(Ordering::Relaxed) != 0
}

/// Runs `call`, which may make a child that has its own copies of our descriptors.
pub fn around<T>(call: impl FnOnce() -> T) -> T {
    let Some(me) = begin() else { return call() };
    let result = call();
    // The child has nothing under way, see `forget`.
    if sys::getpid() == me {
        is_over();
    } else {
        process::notice_fork();
    }
    result
}

/// Runs `call`, which may make a child that goes on in this memory when the call is over: nobody tells when it ends, so that pairs
/// are fresh from now on.
pub fn beside<T>(call: impl FnOnce() -> T) -> T {
    begin();
    call()
}

fn is_over() {
    let _ = UNDER_WAY.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |some| some.checked_sub(1));
}

/// None: there is nothing to inherit, or this is a vfork's child.
fn begin() -> Option<u32> {
    if record::page().is_none() || process::shares_memory() {
        return None;
    }
    burst::end();
    UNDER_WAY.fetch_add(1, Ordering::AcqRel);
    EPOCH.fetch_add(1, Ordering::SeqCst);
    fence(Ordering::SeqCst);
    pool::unpool_all(Counter::PairsForked);
    Some(sys::getpid())
}

/// vfork's part before it.
pub fn vfork_begins() {
    settle();
    if begin().is_none() {
        return;
    }
    let me = sys::gettid();
    let free = |one: &AtomicI32| one.compare_exchange(0, me, Ordering::AcqRel, Ordering::Relaxed).is_ok();
    // Without a place it stays under way: fresh pairs from now on, and counted.
    let _ = VFORKING.iter().any(free);
}

/// Whether this thread has come back from a vfork. Costs a comparison where none is under way.
#[inline]
pub fn settle() {
    if is_any_under_way() {
        settle_now();
    }
}

#[cold]
fn settle_now() {
    // In the child the kernel's number of the thread is another one.
    let me = sys::gettid();
    for one in &VFORKING {
        if one.load(Ordering::Relaxed) == me
            && one.compare_exchange(me, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        {
            is_over();
        }
    }
}

/// In a fork's child: whatever was under way was its parent's.
pub fn forget() {
    UNDER_WAY.store(0, Ordering::Release);
    for one in &VFORKING {
        one.store(0, Ordering::Relaxed);
    }
}
