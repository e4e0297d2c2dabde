//! EPOLL_STEAL, EPOLL_YANK and EPOLL_YANK_REQ among the events of an ordinary epoll set.
//!
//! The descriptor that a mask's queues stand for is put into the caller's set for EPOLLIN and EPOLLRDNORM, with the
//! caller's data. The second bit says what the first does, and nobody else may ask for it: so an event is recognised by
//! its bits, and there is no table to keep true while sets are closed, duplicated and inherited.
//! Rejected: a table by epoll descriptor (stale after close), a mark in the data (it is all the caller's), EPOLLRDNORM
//! alone (an inner set wakes the outer one with EPOLLIN only).
//!
//! Yanks have bells (`calls::bell`), told by EPOLLWRNORM, which nobody else may ask for either. Two bits cannot tell three
//! events, so a bell's data is its number in [`watched`], which grows with what is watched and is never looked at for any other event.

use std::ffi::{c_int, c_long};

use libc::epoll_event;
use modnet_engine::calls::{self, mask::Mask};
use modnet_engine::error::{Error, Result};

use crate::answer;
use crate::watched;

/// `EPOLL_STEAL` of `include/modnet.h`: a bit that the kernel does not use.
const STEAL: u32 = 1 << 24;
/// What says how an event is told rather than when.
pub const MANNER: u32 = libc::EPOLLET as u32 | libc::EPOLLONESHOT as u32;
const NORMAL: u32 = libc::EPOLLRDNORM as u32;
const BELL: u32 = libc::EPOLLWRNORM as u32;
const INPUT: u32 = libc::EPOLLIN as u32;

/// See `include/modnet.h`.
///
/// # Safety
/// `event` is null or an event.
#[no_mangle]
pub unsafe extern "C" fn modnet_epoll_ctl(
    epfd: c_int,
    op: c_int,
    fd: c_long,
    event: *mut epoll_event,
) -> c_int {
    // The event of EPOLL_CTL_DEL means nothing, and may be anything.
    let says = op != libc::EPOLL_CTL_DEL && !event.is_null();
    // SAFETY: as the caller promises; packed, hence unaligned.
    let mut given = says.then(|| unsafe { event.read_unaligned() });
    let target = match Mask::from_descriptor(fd) {
        Some(mask) => steal(&mut given, op).and_then(|()| calls::gate(mask)),
        None => descriptor(fd, given),
    };
    let target = target.and_then(|target| {
        if fd >= 0 {
            watched::control(epfd, op, target, &mut given)?;
        }
        Ok(target)
    });
    let passed = given.as_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut);
    match target {
        // SAFETY: `passed` is null or lives through the call. errno is the kernel's.
        Ok(target) => unsafe { libc::epoll_ctl(epfd, op, target, passed) },
        Err(error) => answer(Err(error)),
    }
}

/// See `include/modnet.h`.
///
/// # Safety
/// `events` has room for `max` elements.
#[no_mangle]
pub unsafe extern "C" fn modnet_epoll_wait(
    epfd: c_int,
    events: *mut epoll_event,
    max: c_int,
    timeout: c_int,
) -> c_int {
    // SAFETY: as the caller promises. errno is the kernel's.
    let count = unsafe { libc::epoll_wait(epfd, events, max, timeout) };
    for index in 0..usize::try_from(count).unwrap_or(0) {
        // SAFETY: the kernel has written `count` events.
        let event = unsafe { &mut *events.add(index) };
        if event.events & NORMAL != 0 {
            event.events = STEAL;
        } else if event.events & BELL != 0 {
            watched::tell(event);
        }
    }
    count
}

/// Turns what the caller wants of a mask into what the kernel is told.
fn steal(event: &mut Option<epoll_event>, op: c_int) -> Result<()> {
    match event {
        Some(event) if event.events & !MANNER == STEAL => {
            event.events = INPUT | NORMAL | event.events & MANNER;
            Ok(())
        }
        _ if op == libc::EPOLL_CTL_DEL => Ok(()),
        None => Err(Error::new(libc::EFAULT, "no event")),
        Some(_) => Err(Error::new(libc::EINVAL, "a mask is watched for EPOLL_STEAL only")),
    }
}

/// Anything that is not a mask is the kernel's, unless its events could be taken for EPOLL_STEAL.
fn descriptor(fd: c_long, event: Option<epoll_event>) -> Result<c_int> {
    let events = event.map_or(0, |event| event.events);
    if events & (STEAL | NORMAL | BELL) != 0 {
        return Err(Error::new(
            libc::EINVAL,
            "EPOLL_STEAL is for a mask; say EPOLLIN for EPOLLRDNORM, EPOLLOUT for EPOLLWRNORM",
        ));
    }
    c_int::try_from(fd).map_err(|_| Error::new(libc::EBADF, "not a descriptor"))
}
