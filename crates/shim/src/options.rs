//! getsockopt and setsockopt, as `table` decides.

use core::mem::size_of;

use libc::{c_int, c_void, socklen_t};
use modnet_abi::counter::Counter;

use crate::answer::Answer;
use crate::sys::{self, Errno};
use crate::table::{self, Goes};
use crate::{fault, fds, listener, passed, pool, record};

const _: () = assert!(table::NODELAY == fds::NODELAY && table::CORK == fds::CORK);

/// What setsockopt does.
///
/// # Safety
/// `value` and `len` are the application's own, as setsockopt demands.
pub unsafe fn set(fd: c_int, level: c_int, name: c_int, value: *const c_void, len: socklen_t) -> Answer {
    let flags = fds::flags(fd);
    if flags & (fds::STOLEN | fds::LISTENER) == 0 {
        return Answer::Native;
    }
    let on = |at: c_int| {
        let a = [at as usize, level as usize, name as usize, value as usize, len as usize, 0];
        // SAFETY: the caller's; the kernel checks the pointer.
        unsafe { sys::call(libc::SYS_setsockopt, a) }
    };
    if (level, name) == (libc::IPPROTO_TCP, libc::TCP_CORK) && fds::seat(fd) != 0 {
        // Twice for each response of a server that uses it, so that the table is not looked up (0.1 µs), and nobody is asked (0.4 µs)
        // whether the record is stale: a socket that came to its number unseen is not corked then.
        // SAFETY: the caller's.
        return unsafe { remember(fd, fds::CORK, value, len) };
    }
    let goes = table::option(true, level, name);
    // Of a pair that is closed by word the module knows that its close is no reset.
    let lingers = (level, name) == (libc::SOL_SOCKET, libc::SO_LINGER);
    let stays = lingers || matches!(goes, Goes::Intermediate | Goes::Both);
    let Some(hidden) = fds::stolen(fd) else {
        return match goes {
            _ if !fds::is_listener(fd) => Answer::Native,
            // What is accepted from now on inherits it.
            _ if stays => {
                let result = on(fd);
                listener::changed(fd);
                result.into()
            }
            // SAFETY: the caller's.
            Goes::Remembered(bit) => unsafe { remember(fd, bit, value, len) },
            Goes::Declined(error) => decline(error),
            _ => Answer::Native,
        };
    };
    if stays {
        pool::unpool(fd, Counter::PairsOptions);
    }
    match goes {
        Goes::Intermediate => Answer::Native,
        Goes::Both => match on(hidden) {
            Ok(_) => {
                let _ = on(fd);
                Answer::Done(0)
            }
            failed => failed.into(),
        },
        // SAFETY: the caller's.
        Goes::Remembered(bit) => unsafe { remember(fd, bit, value, len) },
        Goes::Declined(error) => decline(error),
        _ => on(hidden).into(),
    }
}

fn decline(error: c_int) -> Answer {
    record::count(Counter::Declined, 1);
    Answer::Failed(Errno(error))
}

/// What getsockopt does.
///
/// # Safety
/// `value` and `len` are the application's own, as getsockopt demands.
pub unsafe fn get(fd: c_int, level: c_int, name: c_int, value: *mut c_void, len: *mut socklen_t) -> Answer {
    let flags = fds::flags(fd);
    if flags & (fds::STOLEN | fds::LISTENER) == 0 {
        // SAFETY: the caller's.
        return unsafe { get_of_others(fd, level, name, value, len) };
    }
    let goes = table::option(false, level, name);
    let Some(hidden) = fds::stolen(fd) else {
        return match goes {
            // SAFETY: the caller's.
            Goes::Remembered(bit) if fds::is_listener(fd) => unsafe { answer(flags & bit != 0, value, len) },
            _ => Answer::Native,
        };
    };
    match goes {
        Goes::Intermediate => Answer::Native,
        // SAFETY: the caller's.
        Goes::Remembered(bit) => unsafe { answer(flags & bit != 0, value, len) },
        Goes::Declined(error) => decline(error),
        Goes::Either => {
            let own = sys::option(fd, level, name).unwrap_or(0);
            let error = if own == 0 { fault::take(hidden) } else { own };
            // SAFETY: the caller's.
            unsafe { answer_number(error, value, len) }
        }
        _ => {
            let a = [hidden as usize, level as usize, name as usize, value as usize, len as usize, 0];
            // SAFETY: the caller's; the kernel checks the pointers.
            unsafe { sys::call(libc::SYS_getsockopt, a) }.into()
        }
    }
}

/// A socket that was passed here says that it is TCP's.
///
/// # Safety
/// As [`get`].
unsafe fn get_of_others(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    len: *mut socklen_t,
) -> Answer {
    if level != libc::SOL_SOCKET || !matches!(name, libc::SO_DOMAIN | libc::SO_PROTOCOL) {
        return Answer::Native;
    }
    let Ok(kernels) = sys::option(fd, level, name) else { return Answer::Native };
    // SAFETY: the caller's.
    unsafe { answer_number(passed::kind(fd, name, kernels), value, len) }
}

/// Keeps a yes or no that the kernel is not told.
///
/// # Safety
/// As [`set`].
unsafe fn remember(fd: c_int, bit: u32, value: *const c_void, len: socklen_t) -> Answer {
    if (len as usize) < size_of::<c_int>() || len as c_int <= 0 {
        return Answer::Failed(Errno(libc::EINVAL));
    }
    if value.is_null() {
        return Answer::Failed(Errno(libc::EFAULT));
    }
    // SAFETY: the caller's: an integer stands there, perhaps not aligned.
    let on = unsafe { value.cast::<c_int>().read_unaligned() } != 0;
    fds::change(fd, if on { bit } else { 0 }, if on { 0 } else { bit });
    Answer::Done(0)
}

/// # Safety
/// As [`get`].
unsafe fn answer(on: bool, value: *mut c_void, len: *mut socklen_t) -> Answer {
    // SAFETY: the caller's.
    unsafe { answer_number(c_int::from(on), value, len) }
}

/// Writes an integer as the kernel does: as many of its bytes as there is room for.
///
/// # Safety
/// As [`get`].
unsafe fn answer_number(number: c_int, value: *mut c_void, len: *mut socklen_t) -> Answer {
    if len.is_null() {
        return Answer::Failed(Errno(libc::EFAULT));
    }
    // SAFETY: the caller's: len is the room at value.
    unsafe {
        let room = *len;
        if (room as c_int) < 0 {
            return Answer::Failed(Errno(libc::EINVAL));
        }
        let bytes = number.to_ne_bytes();
        let count = bytes.len().min(room as usize);
        if value.is_null() && count != 0 {
            return Answer::Failed(Errno(libc::EFAULT));
        }
        core::ptr::copy_nonoverlapping(bytes.as_ptr(), value.cast::<u8>(), count);
        *len = count as socklen_t;
    }
    Answer::Done(0)
}
