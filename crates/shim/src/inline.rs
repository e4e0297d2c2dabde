//! Small writes by shared memory: the shim's half of `modnet_pool::inline`.
//!
//! A write that fits into its pair's area, behind everything that was written before, is copied there, and its module told by the
//! bell, which one write to an eventfd rings for all until the module has looked. A small `sendfile` is read from the file straight
//! into it. What cannot be made certain goes through the socket, as every other write.
//!
//! What a pointer points to is asked for first, since the call that would say EFAULT is not made. Rules: published before the call returns, so there is nothing to flush and nothing to lose. Whoever uses the memory holds its
//! connection. Every hooked write is counted ([`wrote`]); a write that no hook sees is found out by the kernel's answer or by the module's count, and
//! its connection writes by the socket from then on. (So does one whose threads write at one time, if one of them has not been counted yet
//! when the other asks.)

use core::sync::atomic::Ordering;

use libc::{c_int, iovec};
use modnet_abi::counter::Counter;
use modnet_abi::pool::AREA_BYTES;
use modnet_abi::record::NO_INLINE;
use modnet_pool::inline::{self, No};
use modnet_pool::{bell, System as _, AREAS};

use crate::pool::{self, Calls};
use crate::{connection, fds, record, sys};

/// Flags of send that mean nothing here: it does not wait, nothing raises a signal, and the pair has no cork.
const PLAIN: c_int = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT | libc::MSG_MORE;
/// Parts of a write that are looked at: a header has a few.
const MOST_PARTS: usize = 16;

/// Whether the writes of `fd` may go that way. May be stale.
#[inline]
fn is_possible(fd: c_int) -> bool {
    let seat = fds::seat(fd);
    seat != 0
        && fds::flags(fd) & (fds::STOLEN | fds::UNTOLD) == fds::STOLEN
        && pool::place(seat).is_some_and(|(_, slot)| slot < AREAS)
        && record::page().is_some_and(|page| page.flags.load(Ordering::Relaxed) & NO_INLINE == 0)
}

/// A call that writes `len` bytes. None: it has to be made.
#[inline]
pub fn write(fd: c_int, data: *const u8, len: usize, flags: c_int) -> Option<isize> {
    if !is_possible(fd) || flags & !PLAIN != 0 {
        return None;
    }
    put(fd, len, |to| {
        // Natively the kernel says EFAULT, and so it does when the call is made.
        if !sys::can_read(data, len) {
            return None;
        }
        // SAFETY: it can be read; `to` has room.
        unsafe { core::ptr::copy_nonoverlapping(data, to, len) };
        Some(len)
    })
}

/// A call that writes parts. None: it has to be made.
#[inline]
pub fn write_parts(fd: c_int, parts: *const iovec, count: usize, flags: c_int) -> Option<isize> {
    if !is_possible(fd) || flags & !PLAIN != 0 || !(1..=MOST_PARTS).contains(&count) {
        return None;
    }
    if !sys::can_read(parts.cast(), count * size_of::<iovec>()) {
        return None;
    }
    // A copy, which no other thread changes.
    let mut copy = [iovec { iov_base: core::ptr::null_mut(), iov_len: 0 }; MOST_PARTS];
    // SAFETY: it can be read, wherever it begins.
    unsafe {
        let size = count * size_of::<iovec>();
        core::ptr::copy_nonoverlapping(parts.cast::<u8>(), copy.as_mut_ptr().cast::<u8>(), size);
    }
    let parts = &copy[..count];
    let len = parts.iter().fold(0usize, |sum, part| sum.saturating_add(part.iov_len));
    put(fd, len, |mut to| {
        for part in parts {
            let data = part.iov_base.cast_const().cast::<u8>();
            if !sys::can_read(data, part.iov_len) {
                return None;
            }
            // SAFETY: it can be read; `to` has room for all.
            unsafe {
                core::ptr::copy_nonoverlapping(data, to, part.iov_len);
                to = to.add(part.iov_len);
            }
        }
        Some(len)
    })
}

/// The same of a message that has neither an address nor descriptors.
#[inline]
pub fn write_message(fd: c_int, message: *const libc::msghdr, flags: c_int) -> Option<isize> {
    if !is_possible(fd) {
        return None;
    }
    if !sys::can_read(message.cast(), size_of::<libc::msghdr>()) {
        return None;
    }
    // SAFETY: it can be read, wherever it begins.
    let message = unsafe { message.read_unaligned() };
    if !message.msg_name.is_null() || message.msg_controllen != 0 {
        return None;
    }
    write_parts(fd, message.msg_iov, message.msg_iovlen, flags)
}

/// A sendfile of at most `count` bytes from a place in a file. None: it has to be made.
///
/// # Safety
/// The application's own arguments.
#[inline]
pub unsafe fn send_file(to: c_int, from: c_int, offset: *mut libc::off64_t, count: usize) -> Option<isize> {
    // Without an offset the file's own moves on, which two calls cannot do as one.
    if !is_possible(to)
        || !(1..=AREA_BYTES).contains(&count)
        || !sys::can_read(offset.cast(), size_of::<i64>())
    {
        return None;
    }
    // SAFETY: it can be read, wherever it begins.
    let place = unsafe { offset.read_unaligned() };
    // SAFETY: `put` gives room for `count` bytes.
    let read = |at: *mut u8| unsafe { sys::pread(from, at, count, place) }.ok().filter(|count| *count > 0);
    let sent = put(to, count, read)?;
    // SAFETY: the caller's.
    unsafe { offset.write_unaligned(place + sent as i64) };
    Some(sent)
}

/// Puts up to `len` bytes into the area of the pair at `fd`: so many as `fill` says. None: they go through the socket.
fn put(fd: c_int, len: usize, fill: impl FnOnce(*mut u8) -> Option<usize>) -> Option<isize> {
    if len == 0 || len > AREA_BYTES {
        return None;
    }
    let number = fds::seat(fd);
    let (index, slot) = pool::place(number).filter(|(_, slot)| *slot < AREAS)?;
    let held = connection::Held::hold(index)?;
    // While the descriptor has this seat, that connection is its own.
    let page = held.page().filter(|_| fds::seat(fd) == number)?;
    let written = held.written[slot].load(Ordering::Relaxed);
    let is_unread = || sys::asked(fd, libc::TIOCOUTQ) != Ok(0);
    let room = match inline::begin(page, slot, len, written, is_unread) {
        Ok(room) => room,
        Err(No::Untold) => {
            fds::change(fd, fds::UNTOLD, 0);
            record::count(Counter::InlineUntold, 1);
            return None;
        }
        Err(No::Busy | No::Unread) => return None,
    };
    let at = room.at();
    // Nobody else gets the slot from here on. Is it this descriptor's, and the descriptor that socket's, whoever may have closed it?
    // (Where something is there already, that was asked a moment ago.)
    let is_own = fds::seat(fd) == number && (at > 0 || fds::cookie(fd) == Some(fds::recorded_cookie(fd)));
    let filled = if is_own {
        // SAFETY: an area has so many bytes.
        fill(unsafe { page.areas[slot].bytes().add(at) })
    } else {
        None
    };
    let Some(count) = filled else {
        room.cancel(page);
        return None;
    };
    room.publish(page, count).ok()?;
    if bell::ring(page, slot) {
        Calls(index).ring();
    }
    record::count(Counter::InlineWrites, 1);
    Some(count as isize)
}

/// Bytes that lie in the area of the pair at `fd`.
pub fn waiting(fd: c_int) -> c_int {
    let Some((index, slot)) = pool::place(fds::seat(fd)) else { return 0 };
    let held = connection::Held::hold(index);
    held.as_ref().and_then(connection::Held::page).map_or(0, |page| inline::length(page, slot) as c_int)
}

/// The socket at `fd` has taken so many bytes (a failed call: none), which every hooked write has to tell.
#[inline]
pub fn wrote(fd: c_int, sent: isize) {
    let number = fds::seat(fd);
    if number == 0 || sent <= 0 {
        return;
    }
    if let Some((one, slot)) =
        pool::place(number).and_then(|(index, slot)| Some((connection::at(index)?, slot)))
    {
        if let Some(written) = one.written.get(slot) {
            written.fetch_add(sent as u32, Ordering::Relaxed);
        }
    }
}
