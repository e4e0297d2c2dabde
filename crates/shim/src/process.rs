//! Whose memory is this?
//!
//! A page that the kernel wipes in a fork's child (MADV_WIPEONFORK) says whether this process has taken over: it begins with
//! connections of its own. A vfork's child lives in its parent's memory: it may arrange its own descriptors but must not write what
//! the parent will read. It is told by the thread's number: libc's own copy is the parent's there, the kernel's is not. No
//! pthread_atfork: it allocates, and misses raw clones.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use modnet_abi::record::MAX_CONNECTIONS;

use crate::{burst, connection, fds, forks, limits, numbers, sys};

/// Cores with a connection of their own; more share.
pub const CORES: u32 = MAX_CONNECTIONS;

/// Forgotten by a fork.
pub struct State {
    taken_over: AtomicU32,
    /// The connection of each core; see `connection`.
    pub cells: [AtomicU32; CORES as usize],
    /// Taken by the thread that is changing that cell.
    pub claims: [AtomicU32; CORES as usize],
}

const PAGE: usize = 4096;
const _: () = assert!(size_of::<State>() <= PAGE);

static STATE: AtomicPtr<State> = AtomicPtr::new(null_mut());

/// Makes the page. None where the kernel is too old (before 4.14).
pub fn start() -> Option<()> {
    let page = sys::map(-1, 0, PAGE, libc::PROT_READ | libc::PROT_WRITE).ok()?;
    // SAFETY: our own page.
    unsafe {
        sys::call(libc::SYS_madvise, [page as usize, PAGE, libc::MADV_WIPEONFORK as usize, 0, 0, 0]).ok()?;
    }
    let state: *mut State = page.cast();
    // SAFETY: our own page, big enough; all-zero is a valid State.
    unsafe { &*state }.taken_over.store(1, Ordering::Relaxed);
    STATE.store(state, Ordering::Release);
    Some(())
}

/// The state, if this process may write what the shim remembers. None in a vfork's child and without a record.
pub fn own() -> Option<&'static State> {
    if is_vfork_child() {
        return None;
    }
    // SAFETY: null or our page, never unmapped; all-zero is a valid State.
    let state = unsafe { STATE.load(Ordering::Acquire).as_ref() }?;
    if state.taken_over.swap(1, Ordering::AcqRel) == 0 {
        forget_parent();
    }
    Some(state)
}

/// The same without asking the kernel (0.3 µs): for accept, which no vfork's child calls in its short life. A fork's child
/// takes over all the same.
pub fn presumed() -> Option<&'static State> {
    // SAFETY: as in `own`.
    let state = unsafe { STATE.load(Ordering::Acquire).as_ref() }?;
    if state.taken_over.load(Ordering::Acquire) != 0 {
        return Some(state);
    }
    own()
}

/// Takes over in a fork's child at its first close, dup, fcntl or look at its limits, whether or not a stolen socket is concerned.
#[inline]
pub fn notice_fork() {
    // SAFETY: as in `own`.
    let state = unsafe { STATE.load(Ordering::Acquire).as_ref() };
    if state.is_some_and(|state| state.taken_over.load(Ordering::Relaxed) == 0) {
        own();
    }
}

/// Compares the two numbers of this thread, if a fork of any kind is under way: else there is no such child, and no call. libc keeps its own current in a fork's child, and in a vfork's it cannot.
fn is_vfork_child() -> bool {
    if !forks::is_any_under_way() {
        return false;
    }
    let mut clock: libc::clockid_t = 0;
    // SAFETY: our own thread; the clock's number is written here. It holds the complement of libc's thread number, shifted by three.
    let asked = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut clock) };
    asked == 0 && !(clock >> 3) != sys::gettid()
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

fn forget_parent() {
    burst::forget();
    fds::forget_seats();
    numbers::drop_all_kept(connection::is_near);
    connection::forget_all();
    forks::forget();
    limits::after_fork();
}
