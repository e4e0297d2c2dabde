//! close, dup, dup2, dup3, fcntl, fclose: the hidden duplicate follows its descriptor.
//!
//! The hidden duplicate is closed first, so that the module's is the last one and the application never pays for the
//! end of a TCP connection; and while the descriptor still has its number nobody else can be given it.

use libc::c_int;

use crate::answer::Answer;
use crate::sys::{self, Errno};
use crate::{fds, hidden, process, record};

/// close, by any name.
pub fn close(fd: c_int, native: impl FnOnce() -> c_int) -> c_int {
    process::notice_fork();
    if fds::flags(fd) != 0 {
        drop_hidden(fd);
    } else if is_ours(fd) {
        return close_ours(fd);
    }
    native()
}

/// The part of close that comes before it.
pub fn drop_hidden(fd: c_int) {
    let flags = if process::shares_memory() { fds::flags(fd) } else { fds::take(fd) };
    if flags & fds::STOLEN != 0 {
        sys::close(fds::hidden_number(fd));
    }
}

/// Whether a number is one that the application can only have from a list of its open descriptors.
fn is_ours(fd: c_int) -> bool {
    let base = record::base();
    let fd = fd as u32;
    base != 0
        && fd >= base
        && (fd < base + fds::high() || (record::first_connection()..record::top()).contains(&fd))
}

/// A loop over /proc/self/fd closes numbers that it found there. The hidden duplicate of a descriptor that stays open has to
/// stay; of one that the loop has closed already it has gone too, which must not look like a mistake of the loop's.
fn close_ours(fd: c_int) -> c_int {
    let original = (fd as u32 - record::base()) as c_int;
    let known = fds::flags(original) & fds::STOLEN != 0;
    // In a vfork's child the duplicate may be newer than what its parent's memory knows.
    let stays = known || (process::shares_memory() && sys::fcntl(original, libc::F_GETFD, 0).is_ok());
    if !stays {
        sys::close(fd);
    }
    0
}

/// dup: `native` makes the duplicate.
pub fn dup(fd: c_int, cloexec: bool, native: impl FnOnce() -> c_int) -> c_int {
    process::notice_fork();
    let stolen = fds::stolen(fd).is_some();
    let new = native();
    if new >= 0 {
        replaced(new);
        if stolen {
            hidden::follow(fd, new, cloexec);
        } else if fds::is_listener(fd) && !process::shares_memory() {
            fds::set(new, fds::flags(fd), fds::recorded_cookie(fd));
        }
    }
    new
}

/// dup2 and dup3: the same, onto a given number.
pub fn dup_onto(fd: c_int, onto: c_int, cloexec: bool, native: impl FnOnce() -> c_int) -> c_int {
    if fd == onto {
        return native();
    }
    dup(fd, cloexec, native)
}

/// Whatever was known about a number is no longer true.
fn replaced(fd: c_int) {
    if fds::flags(fd) != 0 {
        drop_hidden(fd);
    }
}

/// What fcntl is to do: the descriptor's flags are its hidden duplicate's as well, status flags stay where the waiting is.
pub fn fcntl(fd: c_int, command: c_int, argument: usize, native: impl FnOnce() -> c_int) -> c_int {
    match command {
        libc::F_DUPFD => dup(fd, false, native),
        libc::F_DUPFD_CLOEXEC => dup(fd, true, native),
        libc::F_SETFD => {
            let result = native();
            if result >= 0 {
                mark(fd, argument);
            }
            result
        }
        _ => native(),
    }
}

/// Sets the hidden duplicate's close-on-exec flag like the descriptor's own.
pub fn mark(fd: c_int, flags: usize) {
    if let Some(hidden) = fds::stolen(fd) {
        let _ = sys::fcntl(hidden, libc::F_SETFD, flags);
    }
}

/// fclose closes where no hook sees it.
///
/// # Safety
/// `file` is an open stream, as fclose itself demands.
pub unsafe fn before_fclose(file: *mut libc::FILE) {
    if record::page().is_none() || file.is_null() {
        return;
    }
    // SAFETY: the caller's. fileno takes no lock and leaves the stream alone; it sets errno for a stream without a
    // descriptor, which fclose may overwrite as it likes.
    let fd = unsafe { libc::fileno(file) };
    if fd >= 0 && fds::flags(fd) != 0 {
        drop_hidden(fd);
    }
}

/// A call on a stolen socket that is the real one's: `call` gets the real socket's number.
pub fn on_real(fd: c_int, call: impl FnOnce(usize) -> Result<usize, Errno>) -> Answer {
    match fds::stolen(fd) {
        None => Answer::Native,
        Some(hidden) => call(hidden as usize).into(),
    }
}
