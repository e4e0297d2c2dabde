//! The numbers of the shim's own descriptors: the last ones below `top()`, in the order that `modnet_abi::record::Reserved` gives.
//!
//! Rule: which of them stand for idle pairs is kept here, not asked of the kernel, since the application may close a number
//! behind our back: then a call on it fails, and nobody gets another one's.

use core::ops::Range;
use core::sync::atomic::{AtomicU32, Ordering};

use modnet_abi::record::Reserved;
use modnet_pool::set::Set;

use crate::process::Memory;
use crate::{hidden, record, sys};

/// Idle pairs' numbers that are in use, counted from the first.
static IDLE: Set = Set::new();
/// Those that ever were.
static EVER: Set = Set::new();
/// How many.
static KEPT: AtomicU32 = AtomicU32::new(0);

fn reserved() -> Reserved {
    Reserved::of(record::base())
}

/// All of them.
pub fn own() -> Range<u32> {
    record::top() - reserved().count()..record::top()
}

/// How many connections there can be.
pub fn connections() -> u32 {
    reserved().connections
}

/// Where connection `index` stands.
pub fn connection(index: usize) -> i32 {
    (own().start as usize + index) as i32
}

/// Where its bell stands.
pub fn bell(index: usize) -> i32 {
    connection(index + reserved().connections as usize)
}

fn first_idle() -> i32 {
    connection(2 * reserved().connections as usize)
}

/// Puts a duplicate of `fd` where idle pairs stand; the application cannot see that it has one descriptor more. None: no
/// number is left there.
pub fn keep(fd: i32) -> Option<i32> {
    let place = IDLE.insert_any()?;
    let number = first_idle() + place as i32;
    if place < reserved().idle as usize && hidden::place(fd, number, true, Memory::Own).is_ok() {
        KEPT.fetch_add(1, Ordering::Relaxed);
        EVER.insert(place);
        return Some(number);
    }
    IDLE.remove(place);
    None
}

/// Closes what [`keep`] has made.
pub fn drop_kept(number: i32) {
    sys::close(number);
    KEPT.fetch_sub(1, Ordering::Relaxed);
    IDLE.remove((number - first_idle()) as usize);
}

/// Closes all of that, in a fork's child, which has no other thread. The kernel copies descriptors before memory: what another
/// thread has dropped in between is open here and no longer known; `is_ours` tells it from the application's own.
pub fn drop_all_kept(is_ours: impl Fn(i32) -> bool) {
    while let Some(place) = IDLE.remove_any(0) {
        sys::close(first_idle() + place as i32);
        EVER.remove(place);
    }
    while let Some(place) = EVER.remove_any(0) {
        let number = first_idle() + place as i32;
        if is_ours(number) {
            sys::close(number);
        }
    }
    KEPT.store(0, Ordering::Relaxed);
}

/// Whether there is any.
pub fn any_kept() -> bool {
    KEPT.load(Ordering::Relaxed) != 0
}

/// Whether an idle pair stands at a number.
pub fn is_kept(number: u32) -> bool {
    let place = number.wrapping_sub(first_idle() as u32) as usize;
    place < reserved().idle as usize && IDLE.contains(place)
}
