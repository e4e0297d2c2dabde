//! What is known about each descriptor: one static array, indexed by number, atomics only.
//!
//! A record may be stale, because libc closes where no hook sees it (posix_spawn's file actions, freopen).
//! Who acts on a record asks [`stolen`], which compares the socket's cookie: numbers come back, cookies never.
//!
//! A stolen socket whose pair may carry another flow has a *seat* ([`modnet_pool::Lease`] and connection, as a number);
//! whoever takes it out of the record has it alone.

use core::sync::atomic::{fence, AtomicU32, AtomicU64, Ordering};

use modnet_abi::counter::Counter;

use crate::{burst, pool, process, record, sys};

/// Descriptors from here on are not stolen: the array is 1.5 MB of zero pages, of which only those in use exist.
pub const FDS: u32 = 65536;

/// An intermediate socket; its hidden duplicate is open.
pub const STOLEN: u32 = 1;
/// The application set TCP_NODELAY (on it, or on the listener it came from).
pub const NODELAY: u32 = 2;
/// The application set TCP_CORK.
pub const CORK: u32 = 4;
/// Known to be a TCP socket that listens.
pub const LISTENER: u32 = 8;
/// Known to be something else that accepts.
pub const FOREIGN: u32 = 16;
/// A listener with options that the intermediate sockets have to inherit.
pub const INHERIT: u32 = 32;
/// A listener first met at its accept: connections were made before it was prepared.
pub const LATE: u32 = 64;
/// A stolen socket to which something was written that no hook has seen: see `inline`.
pub const UNTOLD: u32 = 128;

struct Slot {
    /// SO_COOKIE of the intermediate socket, or of the listener.
    cookie: AtomicU64,
    flags: AtomicU32,
    /// See `pool`; 0: none, the pair ends with its descriptor; [`LEAVING`].
    seat: AtomicU32,
    /// The epoll set that it is in, plus 1; 0: none; [`SEVERAL`].
    watcher: AtomicU32,
    /// Calls on it that threads are inside of. Not reset: whoever is inside comes out.
    inside: AtomicU32,
}

const _: () = assert!(size_of::<Slot>() == 24);

/// The seat was taken by who closes the descriptor, which is open still.
const LEAVING: u32 = u32::MAX;
/// In more epoll sets than one: which, is not known.
const SEVERAL: u32 = u32::MAX;

static SLOTS: [Slot; FDS as usize] = [const {
    Slot {
        cookie: AtomicU64::new(0),
        flags: AtomicU32::new(0),
        seat: AtomicU32::new(0),
        watcher: AtomicU32::new(0),
        inside: AtomicU32::new(0),
    }
}; FDS as usize];

/// One past the highest number that ever had a record: whoever goes through all stops there.
static HIGH: AtomicU32 = AtomicU32::new(0);

fn slot(fd: i32) -> Option<&'static Slot> {
    // A negative number becomes a large one.
    SLOTS.get(fd as u32 as usize)
}

/// The flags, 0 if nothing is known. May be stale.
#[inline]
pub fn flags(fd: i32) -> u32 {
    slot(fd).map_or(0, |slot| slot.flags.load(Ordering::Acquire))
}

/// Forgets a descriptor and gives what was known.
pub fn take(fd: i32) -> u32 {
    slot(fd).map_or(0, |slot| slot.flags.swap(0, Ordering::AcqRel))
}

/// Writes a record. Numbers out of range are left unknown.
pub fn set(fd: i32, flags: u32, cookie: u64) {
    set_seated(fd, flags, cookie, 0);
}

/// The same, with a seat.
pub fn set_seated(fd: i32, flags: u32, cookie: u64, seat: u32) {
    if let Some(slot) = slot(fd) {
        if HIGH.load(Ordering::Relaxed) <= fd as u32 {
            HIGH.fetch_max(fd as u32 + 1, Ordering::Relaxed);
        }
        slot.cookie.store(cookie, Ordering::Relaxed);
        slot.watcher.store(0, Ordering::Relaxed);
        slot.seat.store(seat, Ordering::Relaxed);
        slot.flags.store(flags, Ordering::Release);
    }
}

/// The seat, 0 if there is none.
#[inline]
pub fn seat(fd: i32) -> u32 {
    slot(fd).map_or(0, |slot| slot.seat.load(Ordering::Relaxed))
}

/// Takes the seat out; whoever gets one has it alone.
pub fn take_seat(fd: i32) -> u32 {
    exchange_seat(fd, 0)
}

/// The same, of a descriptor that is about to be closed: a call that begins before that has happened is known to be inside. Then
/// [`left`].
pub fn leave_seat(fd: i32) -> u32 {
    exchange_seat(fd, LEAVING)
}

/// After it was closed. (The number may be somebody else's by now.)
pub fn left(fd: i32) {
    if let Some(slot) = slot(fd) {
        let _ = slot.seat.compare_exchange(LEAVING, 0, Ordering::AcqRel, Ordering::Relaxed);
    }
}

fn exchange_seat(fd: i32, new: u32) -> u32 {
    let Some(slot) = slot(fd) else { return 0 };
    let is_one = |seat| (seat != 0 && seat != LEAVING).then_some(new);
    slot.seat.fetch_update(Ordering::AcqRel, Ordering::Relaxed, is_one).unwrap_or(0)
}

/// In a fork's child: the seats are its parent's.
pub fn forget_seats() {
    for slot in SLOTS.iter().take(high() as usize) {
        slot.seat.store(0, Ordering::Relaxed);
        slot.inside.store(0, Ordering::Relaxed);
    }
}

/// Before it is put into an epoll set: where that fails the record says too much, which is found out.
pub fn watch(fd: i32, set: i32) {
    if let Some(slot) = slot(fd) {
        let name = set as u32 + 1;
        let now = slot.watcher.compare_exchange(0, name, Ordering::AcqRel, Ordering::Relaxed);
        if now.is_err_and(|now| now != name) {
            slot.watcher.store(SEVERAL, Ordering::Release);
        }
    }
}

/// After it was taken out of an epoll set.
pub fn unwatch(fd: i32, set: i32) {
    if let Some(slot) = slot(fd) {
        let _ = slot.watcher.compare_exchange(set as u32 + 1, 0, Ordering::AcqRel, Ordering::Relaxed);
    }
}

/// Takes it out of its epoll set. False: it was in several, or cannot be taken out.
pub fn leave_set(fd: i32) -> bool {
    match slot(fd).map_or(0, |slot| slot.watcher.swap(0, Ordering::AcqRel)) {
        0 => true,
        SEVERAL => false,
        name => sys::epoll_delete((name - 1) as i32, fd).is_ok(),
    }
}

/// Runs a call on `fd`, which is known to be inside meanwhile if its pair may be used again. A thread that never comes out
/// (cancelled, or by longjmp) leaves pairs at this number fresh.
#[inline]
pub fn inside<T>(fd: i32, call: impl FnOnce() -> T) -> T {
    let Some(slot) = slot(fd).filter(|slot| slot.seat.load(Ordering::Relaxed) != 0) else { return call() };
    burst::touch(fd);
    slot.inside.fetch_add(1, Ordering::SeqCst);
    let result = call();
    slot.inside.fetch_sub(1, Ordering::Release);
    result
}

/// Whether a thread is inside a call on `fd`. To be asked after it was closed.
pub fn is_busy(fd: i32) -> bool {
    fence(Ordering::SeqCst);
    slot(fd).is_some_and(|slot| slot.inside.load(Ordering::Acquire) != 0)
}

/// Changes single flags.
pub fn change(fd: i32, add: u32, remove: u32) {
    if let Some(slot) = slot(fd) {
        if add != 0 {
            HIGH.fetch_max(fd as u32 + 1, Ordering::Relaxed);
            slot.flags.fetch_or(add, Ordering::AcqRel);
        }
        if remove != 0 {
            slot.flags.fetch_and(!remove, Ordering::AcqRel);
        }
    }
}

/// The cookie in the record.
pub fn recorded_cookie(fd: i32) -> u64 {
    slot(fd).map_or(0, |slot| slot.cookie.load(Ordering::Relaxed))
}

/// One past the highest number that may have a record.
pub fn high() -> u32 {
    HIGH.load(Ordering::Relaxed)
}

/// The number of the hidden duplicate, whether it is open or not.
pub fn hidden_number(fd: i32) -> i32 {
    (record::base() + fd as u32) as i32
}

/// The cookie of the socket that is open at `fd`.
pub fn cookie(fd: i32) -> Option<u64> {
    sys::option_of::<u64>(fd, libc::SOL_SOCKET, libc::SO_COOKIE).ok().map(|(cookie, _)| cookie)
}

/// Whether the record of a listener is that of the socket that is open there now.
pub fn is_listener(fd: i32) -> bool {
    flags(fd) & LISTENER != 0 && cookie(fd) == Some(recorded_cookie(fd))
}

/// The hidden duplicate's number, if `fd` is a stolen socket. Costs one getsockopt where a record says so (0.15 µs),
/// and sweeps the record where it is stale.
pub fn stolen(fd: i32) -> Option<i32> {
    if flags(fd) & STOLEN == 0 {
        return None;
    }
    if cookie(fd) == Some(recorded_cookie(fd)) {
        return Some(hidden_number(fd));
    }
    sweep(fd);
    None
}

/// Drops the record of a descriptor that was closed where no hook sees it, and its hidden duplicate.
pub fn sweep(fd: i32) {
    if process::shares_memory() {
        return;
    }
    if take(fd) & STOLEN != 0 {
        pool::unpool(fd, Counter::PairsReplaced);
        sys::close(hidden_number(fd));
        record::count(Counter::Swept, 1);
    }
}
