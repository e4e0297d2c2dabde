//! accept: the real socket goes to the chain, the application gets an intermediate one under the same number.
//!
//! Calls beside accept4 itself, on a pair that had flows before: prlimit, dup3, prlimit (the hidden duplicate; no prlimit where the
//! application's own limit is high enough), two ioctls and an fcntl (nothing is left in it, and it is as a new one), sendmsg, dup3,
//! close. On a new pair: socketpair and getsockopt instead of the ioctls, and one close more. Everything that can fail comes
//! before the message, so that nothing has to be taken back, unless the message waits for those of a burst (`burst`).

use modnet_abi::counter::Counter;

use crate::answer::{errno, fail};
use crate::process::{self, Memory};
use crate::queue::{How, Sent};
use crate::sys::{self, Errno};
use crate::{burst, connection, fds, forks, hidden, listener, pool, queue, record};

/// What accept does. `native` accepts with the flags it is given, and says whether it could obey SOCK_NONBLOCK.
pub fn accept(fd: i32, flags: i32, native: impl FnOnce(i32) -> i32, obeys: bool) -> i32 {
    if !record::active() {
        if fds::flags(fd) & fds::LISTENER != 0 {
            listener::release(fd);
            if let Some(state) = process::presumed() {
                connection::end_all(&state.cells);
            }
        }
        return forget_stale(native(flags));
    }
    let from = listener::known(fd);
    if from & fds::LISTENER == 0 {
        return forget_stale(native(flags));
    }
    burst::before_accept(fd);
    let real = native(flags | libc::SOCK_NONBLOCK);
    if real < 0 {
        return none_came(real);
    }
    if !obeys {
        sys::set_nonblocking(real, true);
    }
    match steal(real, from, flags) {
        Ok(()) => {
            record::count(Counter::Stolen, 1);
            real
        }
        Err(reason) => {
            record::count(reason, 1);
            bypass(real, from, flags)
        }
    }
}

/// Hands out the real socket as the application would have got it, or refuses it under the policy fail closed.
fn bypass(real: i32, from: u32, flags: i32) -> i32 {
    if record::fail_closed() {
        record::count(Counter::Refused, 1);
        reset(real);
        return fail(Errno(libc::ECONNABORTED)) as i32;
    }
    listener::restore(real, from);
    sys::set_nonblocking(real, flags & libc::SOCK_NONBLOCK != 0);
    real
}

/// accept has failed: where the system has no descriptor left, ours go.
fn none_came(result: i32) -> i32 {
    if matches!(errno(), libc::EMFILE | libc::ENFILE) {
        pool::relieve();
    }
    result
}

fn reset(real: i32) {
    let now = libc::linger { l_onoff: 1, l_linger: 0 };
    let _ = sys::set_option_of(real, libc::SOL_SOCKET, libc::SO_LINGER, &now);
    sys::close(real);
}

/// A number that comes back from accept cannot be one that we know: it was closed where no hook saw it.
fn forget_stale(fd: i32) -> i32 {
    if fds::flags(fd) != 0 {
        fds::sweep(fd);
    }
    fd
}

/// Steals `real`, or says which counter tells why not.
fn steal(real: i32, from: u32, flags: i32) -> Result<(), Counter> {
    if from & fds::LATE != 0 {
        // It may have been connected before its listener had TCP_NODELAY to hand down.
        let _ = sys::set_option(real, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1);
    }
    forget_stale(real);
    if !hidden::fits(real) {
        return Err(Counter::FdRange);
    }
    let state = process::presumed().ok_or(Counter::SystemError)?;
    let cloexec = flags & libc::SOCK_CLOEXEC != 0;
    if let Err(error) = hidden::place(real, fds::hidden_number(real), cloexec, Memory::Own) {
        return Err(if error.0 == libc::ENOMEM { Counter::SystemError } else { Counter::FdRange });
    }
    let epoch = forks::epoch();
    let allowed = pool::allowed(from);
    if let Err(Some(reason)) = allowed {
        record::count(reason, 1);
    }
    let how = match allowed {
        Err(_) => How::Fresh,
        Ok(()) if flags & libc::SOCK_NONBLOCK != 0 => How::Later,
        Ok(()) => How::Pooled,
    };
    let sent = queue::deliver(state, real, how, |pair| {
        pair.prepare(flags & libc::SOCK_NONBLOCK != 0);
        if from & fds::INHERIT != 0 {
            listener::hand_down(real, pair.app());
        }
        pair.cookie()
    });
    let Sent { pair, cookie, waits } = match sent {
        Ok(sent) => sent,
        Err(reason) => {
            sys::close(fds::hidden_number(real));
            return Err(reason);
        }
    };
    let slot = pair.slot();
    let seat = pair.take_place(real, cloexec);
    fds::set_seated(real, fds::STOLEN | from & (fds::NODELAY | fds::CORK), cookie, seat);
    if let Some(held) = waits {
        burst::wait(held, real, slot);
    }
    if forks::epoch() != epoch {
        // A child may have been made since the pair was taken.
        pool::unpool(real, Counter::PairsForked);
    }
    Ok(())
}
