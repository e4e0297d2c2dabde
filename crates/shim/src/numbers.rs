//! The numbers of the shim's own descriptors: the last ones below `top()`, in the order that `modnet_abi::record::Reserved` gives.
//!
//! Rule: which of them stand for idle pairs is kept here, not asked of the kernel, since the application may close a number
//! behind our back: then a call on it fails, and nobody gets another one's.

use core::ops::Range;

use modnet_abi::record::Reserved;
use modnet_pool::set::Set;

use crate::process::Memory;
use crate::{hidden, record, sys};

/// Idle pairs' numbers that are in use, counted from the first.
static IDLE: Set = Set::new();

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
        return Some(number);
    }
    IDLE.remove(place);
    None
}

/// Closes what [`keep`] has made.
pub fn drop_kept(number: i32) {
    sys::close(number);
    IDLE.remove((number - first_idle()) as usize);
}

/// Closes all of that, in a fork's child, which has no other thread.
pub fn drop_all_kept() {
    while let Some(place) = IDLE.remove_any(0) {
        sys::close(first_idle() + place as i32);
    }
}

/// Whether an idle pair stands at a number.
pub fn is_kept(number: u32) -> bool {
    let place = number.wrapping_sub(first_idle() as u32) as usize;
    place < reserved().idle as usize && IDLE.contains(place)
}
