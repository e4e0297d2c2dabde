//! Whose memory is this?
//!
//! A page that the kernel wipes in a fork's child (MADV_WIPEONFORK) holds the owner's pid: zero means that a fork
//! has made a new process, which takes over with connections of its own. A vfork's child shares the page, so the pid in it is another's: it
//! may arrange its own descriptors but must not write what the parent will read. No pthread_atfork: it allocates, and
//! misses raw clones.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use modnet_abi::record::RESERVED_FDS;

use crate::{limits, record, sys};

/// Forgotten by a fork.
pub struct State {
    owner: AtomicU32,
    /// What is connected at each of the reserved numbers; see `queue`.
    pub connections: [AtomicU64; RESERVED_FDS as usize],
    /// Taken by the thread that is changing the connection at that number.
    pub claims: [AtomicU32; RESERVED_FDS as usize],
}

const PAGE: usize = 4096;
const _: () = assert!(size_of::<State>() <= PAGE);

static STATE: AtomicPtr<State> = AtomicPtr::new(null_mut());
/// Which of the reserved numbers have connections; outlives a fork, so that the child can close its parent's.
static CONNECTED: AtomicU64 = AtomicU64::new(0);
const _: () = assert!(RESERVED_FDS as usize <= 64);

/// Makes the page. None where the kernel is too old (before 4.14).
pub fn start() -> Option<()> {
    let page = sys::map(-1, 0, PAGE, libc::PROT_READ | libc::PROT_WRITE).ok()?;
    // SAFETY: our own page.
    unsafe {
        sys::call(libc::SYS_madvise, [page as usize, PAGE, libc::MADV_WIPEONFORK as usize, 0, 0, 0]).ok()?;
    }
    STATE.store(page.cast(), Ordering::Release);
    Some(())
}

/// The state, if this process may write what the shim remembers. None in a vfork's child and without a record.
pub fn own() -> Option<&'static State> {
    // SAFETY: null or our page, never unmapped; all-zero is a valid State.
    let state = unsafe { STATE.load(Ordering::Acquire).as_ref() }?;
    let me = sys::getpid();
    let owner = state.owner.load(Ordering::Acquire);
    if owner == me {
        return Some(state);
    }
    if owner == 0 && state.owner.compare_exchange(0, me, Ordering::AcqRel, Ordering::Acquire).is_ok() {
        forget_parent();
        return Some(state);
    }
    // Another thread of this process was first, or this is a vfork's child.
    (state.owner.load(Ordering::Acquire) == me).then_some(state)
}

/// The same without asking for the pid (0.3 µs): for accept, which no vfork's child calls in its short life. A fork's child
/// is told apart all the same.
pub fn presumed() -> Option<&'static State> {
    // SAFETY: as in `own`.
    let state = unsafe { STATE.load(Ordering::Acquire).as_ref() }?;
    if state.owner.load(Ordering::Acquire) != 0 {
        return Some(state);
    }
    own()
}

/// Whether this is a vfork's child, which lives in its parent's memory.
pub fn shares_memory() -> bool {
    memory() == Memory::Shared
}

/// Whose memory this process writes to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// Its own.
    Own,
    /// Its parent's.
    Shared,
}

/// Asks.
pub fn memory() -> Memory {
    if own().is_some() {
        Memory::Own
    } else {
        Memory::Shared
    }
}

/// Remembers that a connection stands at `first_connection() + index`.
pub fn note_connection(index: u32) {
    CONNECTED.fetch_or(1 << index, Ordering::AcqRel);
}

fn forget_parent() {
    let mut left = CONNECTED.swap(0, Ordering::AcqRel);
    while left != 0 {
        let index = left.trailing_zeros();
        sys::close((record::first_connection() + index) as i32);
        left &= left - 1;
    }
    limits::after_fork();
}
