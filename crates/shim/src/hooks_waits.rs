//! The exported functions that sleep: whatever waits for a module is sent first, and idle pairs are tended.
//!
//! Not here are calls that sleep and are no event loop's (waitpid, flock, a read from a pipe): what a burst has waiting then waits as long,
//! as the bytes of a connection do that nobody reads.

use libc::{
    c_int, c_uint, epoll_event, fd_set, nfds_t, pollfd, sigset_t, size_t, timespec, timeval, useconds_t,
};

use crate::answer::fail;
use crate::hooks::{hooks, native};
use crate::sys::Errno;
use crate::{burst, pool, real};

hooks! {
    fn epoll_wait(set: c_int, events: *mut epoll_event, count: c_int, timeout: c_int) -> c_int {
        burst::look(set, timeout, events, |timeout| native!(EPOLL_WAIT(set, events, count, timeout)))
    }

    fn epoll_pwait(
        set: c_int, events: *mut epoll_event, count: c_int, timeout: c_int, mask: *const sigset_t
    ) -> c_int {
        burst::look(set, timeout, events, |timeout| native!(EPOLL_PWAIT(set, events, count, timeout, mask)))
    }

    fn epoll_pwait2(
        set: c_int, events: *mut epoll_event, count: c_int, timeout: *const timespec, mask: *const sigset_t
    ) -> c_int {
        burst::flush();
        native!(EPOLL_PWAIT2(set, events, count, timeout, mask))
    }

    fn poll(polled: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int {
        burst::flush();
        pool::sleeping(timeout, |timeout| native!(POLL(polled, count, timeout)))
    }

    fn __poll_chk(polled: *mut pollfd, count: nfds_t, timeout: c_int, room: size_t) -> c_int {
        burst::flush();
        pool::sleeping(timeout, |timeout| native!(POLL_CHK(polled, count, timeout, room)))
    }

    fn ppoll(polled: *mut pollfd, count: nfds_t, timeout: *const timespec, mask: *const sigset_t) -> c_int {
        burst::flush();
        native!(PPOLL(polled, count, timeout, mask))
    }

    fn __ppoll_chk(
        polled: *mut pollfd, count: nfds_t, timeout: *const timespec, mask: *const sigset_t, room: size_t
    ) -> c_int {
        burst::flush();
        native!(PPOLL_CHK(polled, count, timeout, mask, room))
    }

    fn select(
        count: c_int, readable: *mut fd_set, writable: *mut fd_set, special: *mut fd_set, timeout: *mut timeval
    ) -> c_int {
        burst::flush();
        native!(SELECT(count, readable, writable, special, timeout))
    }

    fn pselect(
        count: c_int, readable: *mut fd_set, writable: *mut fd_set, special: *mut fd_set, timeout: *const timespec,
        mask: *const sigset_t
    ) -> c_int {
        burst::flush();
        native!(PSELECT(count, readable, writable, special, timeout, mask))
    }

    fn nanosleep(time: *const timespec, rest: *mut timespec) -> c_int {
        burst::flush();
        native!(NANOSLEEP(time, rest))
    }

    fn clock_nanosleep(clock: c_int, flags: c_int, time: *const timespec, rest: *mut timespec) -> c_int {
        burst::flush();
        // It gives the error itself.
        match real::CLOCK_NANOSLEEP.get() {
            // SAFETY: the application's own arguments.
            Some(function) => unsafe { function(clock, flags, time, rest) },
            None => libc::ENOSYS,
        }
    }

    fn usleep(time: useconds_t) -> c_int {
        burst::flush();
        native!(USLEEP(time))
    }

    fn sleep(seconds: c_uint) -> c_uint {
        burst::flush();
        match real::SLEEP.get() {
            // SAFETY: an integer.
            Some(function) => unsafe { function(seconds) },
            None => seconds,
        }
    }
}
