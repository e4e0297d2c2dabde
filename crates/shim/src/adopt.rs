//! After exec: descriptors that came through it have their hidden duplicates, but this program's memory knows nothing.
//!
//! One walk over /proc/self/fd, by the constructor, only where a record applies.

use core::cell::UnsafeCell;

use libc::c_int;
use modnet_abi::counter::Counter;

use crate::{fds, limits, record, sys};

/// Room for some 170 names at a time.
struct Buffer(UnsafeCell<[u64; 512]>);
// SAFETY: used by the constructor only, which runs once.
unsafe impl Sync for Buffer {}
static BUFFER: Buffer = Buffer(UnsafeCell::new([0; 512]));

/// Where the length of a `linux_dirent64` and its name stand.
const LENGTH_AT: usize = 16;
const NAME_AT: usize = 19;

/// Finds what is left of stolen sockets.
pub fn adopt() {
    let Ok(directory) = sys::open(c"/proc/self/fd".as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY) else {
        return;
    };
    // SAFETY: the constructor's alone.
    let buffer = unsafe { &mut *BUFFER.0.get() };
    let (at, size) = (buffer.as_mut_ptr() as usize, size_of_val(buffer));
    // SAFETY: the kernel writes at most size bytes.
    let fill = || unsafe { sys::call(libc::SYS_getdents64, [directory as usize, at, size, 0, 0, 0]) };
    while let Ok(count @ 1..) = fill() {
        // SAFETY: the kernel has just filled count bytes of it.
        let bytes = unsafe { core::slice::from_raw_parts(at as *const u8, count) };
        let mut rest = bytes;
        while rest.len() > NAME_AT {
            let length = usize::from(u16::from_ne_bytes([rest[LENGTH_AT], rest[LENGTH_AT + 1]]));
            if length <= NAME_AT || length > rest.len() {
                break;
            }
            if let Some(fd) = number(&rest[NAME_AT..length]) {
                look_at(fd);
            }
            rest = &rest[length..];
        }
    }
    sys::close(directory);
}

fn number(name: &[u8]) -> Option<u32> {
    let mut value: u32 = 0;
    for c in name.iter().take_while(|c| **c != 0) {
        let digit = c.checked_sub(b'0').filter(|d| *d < 10)?;
        value = value.checked_mul(10)?.checked_add(u32::from(digit))?;
    }
    Some(value)
}

fn look_at(fd: u32) {
    let base = record::base();
    if !(base..record::top()).contains(&fd) {
        return;
    }
    let original = (fd - base) as c_int;
    let hidden = fd as c_int;
    let is_tcp = sys::option(hidden, libc::SOL_SOCKET, libc::SO_PROTOCOL) == Ok(libc::IPPROTO_TCP);
    let is_pair = sys::option(original, libc::SOL_SOCKET, libc::SO_DOMAIN) == Ok(libc::AF_UNIX)
        && sys::option(original, libc::SOL_SOCKET, libc::SO_TYPE) == Ok(libc::SOCK_STREAM);
    if is_tcp && is_pair && (original as u32) < fds::FDS {
        if let Some(cookie) = fds::cookie(original) {
            fds::set(original, fds::STOLEN, cookie);
            record::count(Counter::Adopted, 1);
            return;
        }
    }
    // Left over: its descriptor was closed on the way here. Numbers that the application could have are its own.
    if !limits::may_collide() {
        sys::close(hidden);
    }
}
