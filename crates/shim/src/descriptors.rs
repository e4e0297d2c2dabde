//! close, dup, dup2, dup3, fcntl, fclose: the hidden duplicate follows its descriptor.
//!
//! The hidden duplicate is closed first, so that the module's is the last one and the application never pays for the
//! end of a TCP connection; and while the descriptor still has its number nobody else can be given it.

use libc::c_int;
use modnet_abi::counter::Counter;

use crate::answer::Answer;
use crate::sys::{self, Errno};
use crate::{burst, connection, fds, forks, hidden, numbers, pool, process, record};

/// From `<linux/fcntl.h>`.
const F_SETSIG: c_int = 10;
const F_SETOWN_EX: c_int = 15;

/// close, by any name.
pub fn close(fd: c_int, native: impl FnOnce() -> c_int) -> c_int {
    process::notice_fork();
    forks::settle();
    burst::touch(fd);
    if fds::flags(fd) != 0 {
        if let Some(leaving) = drop_hidden(fd).then(|| pool::leave(fd)).flatten() {
            let result = native();
            leaving.finish(fd);
            return result;
        }
    } else if is_ours(fd) {
        return close_ours(fd);
    }
    native()
}

/// The part of close that comes before it. Whether there was one, of this process' own memory.
fn drop_hidden(fd: c_int) -> bool {
    let shared = process::shares_memory();
    let flags = if shared { fds::flags(fd) } else { fds::take(fd) };
    if flags & fds::STOLEN != 0 {
        // The module's is the last one then, and the client cannot hear of the end before the module.
        sys::close(fds::hidden_number(fd));
    }
    flags & fds::STOLEN != 0 && !shared
}

/// Another way than close takes the descriptor away: its pair goes with it.
pub fn drop_all(fd: c_int) {
    pool::unpool(fd, Counter::PairsReplaced);
    drop_hidden(fd);
}

/// Whether a number is one that the application can only have from a list of its open descriptors.
fn is_ours(fd: c_int) -> bool {
    let base = record::base();
    let fd = fd as u32;
    base != 0 && fd >= base && (fd < base + fds::high() || is_shims(fd))
}

/// Whether a connection, a bell or an idle pair stands at a number.
fn is_shims(fd: u32) -> bool {
    numbers::own().contains(&fd) && (numbers::is_kept(fd) || connection::is_own(fd))
}

/// A loop over /proc/self/fd closes numbers that it found there. The hidden duplicate of a descriptor that stays open has to
/// stay; of one that the loop has closed already it has gone too, which must not look like a mistake of the loop's.
fn close_ours(fd: c_int) -> c_int {
    if is_shims(fd as u32) {
        match process::own() {
            Some(state) => connection::end_all(&state.cells),
            None => sys::close(fd),
        }
        return 0;
    }
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
    if stolen {
        pool::unpool(fd, Counter::PairsDuplicated);
    }
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
    // Before another socket can stand there.
    pool::unpool(onto, Counter::PairsReplaced);
    dup(fd, cloexec, native)
}

/// Whatever was known about a number is no longer true.
fn replaced(fd: c_int) {
    if fds::flags(fd) != 0 {
        drop_all(fd);
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
        libc::F_SETOWN | F_SETOWN_EX | F_SETSIG => {
            pool::unpool(fd, Counter::PairsOptions);
            native()
        }
        libc::F_SETFL if argument as c_int & libc::O_NONBLOCK == 0 => {
            // From now on a read or an accept on it may sleep.
            burst::flush();
            if argument as c_int & libc::O_ASYNC != 0 {
                pool::unpool(fd, Counter::PairsOptions);
            }
            native()
        }
        libc::F_SETFL if argument as c_int & libc::O_ASYNC != 0 => {
            pool::unpool(fd, Counter::PairsOptions);
            native()
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
        drop_all(fd);
    }
}

/// A call on a stolen socket that is the real one's: `call` gets the real socket's number.
pub fn on_real(fd: c_int, call: impl FnOnce(usize) -> Result<usize, Errno>) -> Answer {
    match fds::stolen(fd) {
        None => Answer::Native,
        Some(hidden) => call(hidden as usize).into(),
    }
}
