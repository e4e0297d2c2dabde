//! Errors of the network: a read that finds the end, and a write that finds nobody, ask the real socket whether it was one.
//!
//! The module has usually met the error and left it there (`modnet_abi::fault`); else the kernel still has it. As natively an
//! error is told once: by a read, a write, or SO_ERROR. Costs a comparison until then.

use core::ffi::c_int;

use modnet_abi::fault;

use crate::answer::{errno, fail};
use crate::sys::{self, Errno};
use crate::{fds, inline};

/// What a read gave, or the error that it hides; `room` tells whether anything could have been read.
#[inline]
pub fn told(fd: c_int, got: isize, room: impl FnOnce() -> bool) -> isize {
    if got == 0 && fds::flags(fd) & fds::STOLEN != 0 && room() {
        return ended(fd);
    }
    got
}

/// What a write gave, in bytes, which are counted; or the error that stands behind EPIPE.
#[inline]
pub fn wrote(fd: c_int, sent: isize) -> isize {
    inline::wrote(fd, sent);
    wrote_some(fd, sent)
}

/// The same, the bytes having been counted.
#[inline]
pub fn wrote_some(fd: c_int, sent: isize) -> isize {
    if sent < 0 && fds::flags(fd) & fds::STOLEN != 0 {
        return failed(fd, sent);
    }
    sent
}

#[cold]
fn failed(fd: c_int, sent: isize) -> isize {
    if errno() != libc::EPIPE {
        return sent;
    }
    match fds::stolen(fd).map_or(0, take) {
        0 => sent,
        error => fail(Errno(error)),
    }
}

#[cold]
fn ended(fd: c_int) -> isize {
    let Some(hidden) = fds::stolen(fd) else { return 0 };
    match take(hidden) {
        0 => 0,
        // The peer had sent its end in order: a read is told no more than that, a write and SO_ERROR are.
        libc::EPIPE => {
            leave(hidden, fault::seconds(libc::EPIPE));
            0
        }
        error => fail(Errno(error)),
    }
}

/// The error of the real socket, 0 if there is none; it is told no second time.
pub fn take(hidden: c_int) -> c_int {
    if let Ok(error @ 1..) = sys::option(hidden, libc::SOL_SOCKET, libc::SO_ERROR) {
        return error;
    }
    let timeout = sys::option_of::<libc::timeval>(hidden, libc::SOL_SOCKET, libc::SO_SNDTIMEO);
    let left = timeout.ok().and_then(|(timeout, _)| fault::errno(timeout.tv_sec));
    if left.is_some() {
        leave(hidden, 0);
    }
    left.unwrap_or(0)
}

fn leave(hidden: c_int, seconds: i64) {
    let timeout = libc::timeval { tv_sec: seconds, tv_usec: 0 };
    let _ = sys::set_option_of(hidden, libc::SOL_SOCKET, libc::SO_SNDTIMEO, &timeout);
}
