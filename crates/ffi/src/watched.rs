//! Which descriptors are watched for EPOLL_YANK and EPOLL_YANK_REQ, by whom.
//!
//! Rule: an entry is the data of a bell in some epoll set. One whose set or descriptor was closed is never told again, and goes
//! when the same numbers are watched anew.

use std::ffi::c_int;
use std::sync::{Mutex, MutexGuard, PoisonError};

use libc::epoll_event;
use modnet_engine::calls::{requests, revoke};
use modnet_engine::error::{Error, Result};

use crate::epoll::MANNER;

/// `EPOLL_YANK` and `EPOLL_YANK_REQ` of `include/modnet.h`: bits that the kernel does not use.
const YANK: u32 = 1 << 25;
const YANK_REQ: u32 = 1 << 26;
const BELL: u32 = libc::EPOLLWRNORM as u32;

static ENTRIES: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

struct Entry {
    epfd: c_int,
    fd: c_int,
    kind: u32,
    bell: c_int,
    data: u64,
    used: bool,
}

/// Takes the yanks' bits out of `event`, and sees to them.
pub fn control(epfd: c_int, op: c_int, fd: c_int, event: &mut Option<epoll_event>) -> Result<()> {
    let (wanted, data) = event.map_or((0, 0), |event| (event.events & (YANK | YANK_REQ), event.u64));
    let manner = event.map_or(0, |event| event.events & MANNER);
    if let Some(event) = event {
        event.events &= !(YANK | YANK_REQ);
    }
    for kind in [YANK, YANK_REQ] {
        watch(epfd, op, (fd, kind), (wanted & kind != 0).then_some((data, manner)))?;
    }
    Ok(())
}

/// Tells what a bell means.
pub fn tell(event: &mut epoll_event) {
    let index = usize::try_from(event.u64).unwrap_or(usize::MAX);
    if let Some(entry) = entries().get(index) {
        event.events = entry.kind;
        event.u64 = entry.data;
    }
}

fn watch(epfd: c_int, op: c_int, what: (c_int, u32), wanted: Option<(u64, u32)>) -> Result<()> {
    let (fd, kind) = what;
    let mut entries = entries();
    let old = entries.iter().position(|e| e.used && (e.epfd, e.fd, e.kind) == (epfd, fd, kind));
    let Some((data, manner)) = wanted else {
        if let Some(entry) = old.and_then(|index| entries.get_mut(index)) {
            entry.used = false;
            // SAFETY: no event is passed. It may have gone with its set.
            unsafe { libc::epoll_ctl(epfd, libc::EPOLL_CTL_DEL, entry.bell, std::ptr::null_mut()) };
            if kind == YANK_REQ && op == libc::EPOLL_CTL_DEL {
                requests::forget(fd);
            }
        }
        return Ok(());
    };
    let bell = if kind == YANK { revoke::ready(fd)? } else { requests::listen(fd)? };
    let index = old.or_else(|| entries.iter().position(|e| !e.used)).unwrap_or(entries.len());
    let entry = Entry { epfd, fd, kind, bell, data, used: true };
    let mut event = epoll_event { events: BELL | manner, u64: index as u64 };
    // SAFETY: `event` lives through the calls.
    let added = unsafe {
        libc::epoll_ctl(epfd, libc::EPOLL_CTL_ADD, bell, &raw mut event) == 0
            || libc::epoll_ctl(epfd, libc::EPOLL_CTL_MOD, bell, &raw mut event) == 0
    };
    if !added {
        return Err(Error::last("cannot watch for yanks"));
    }
    if index == entries.len() {
        entries.push(entry);
    } else {
        entries[index] = entry;
    }
    Ok(())
}

fn entries() -> MutexGuard<'static, Vec<Entry>> {
    // Nothing that can panic runs under it.
    ENTRIES.lock().unwrap_or_else(PoisonError::into_inner)
}
