//! A socket that the application yields to modules itself (`modnet_yield`): from then on it has an intermediate one under that
//! number, as if it had been stolen at accept.
//!
//! `libmodnet.so` and the extension look this function up by its name; where it is missing no call needs the real socket.
//! A socket that was stolen already keeps its hidden duplicate: new modules come between the application and its first.
//! Rules: asked first whether it can be, then told to do it, when the modules have the flow. It must not send anything itself.

use libc::c_int;
use modnet_abi::counter::Counter;

use crate::process::{self, Memory};
use crate::{fds, hidden, listener, pool, record, sys};

/// `near` below 0: whether the socket at `fd` can be replaced; else puts `near`, which is taken, in its place. 0 or an errno;
/// ENOSYS: no chain was ever applied to this process, or this is a vfork's child.
#[no_mangle]
pub extern "C" fn modnet_shim_yielded(fd: c_int, near: c_int) -> c_int {
    let answer = if near < 0 { prepare(fd) } else { replace(fd, near) };
    answer.map_or_else(|error| error, |()| 0)
}

fn prepare(fd: c_int) -> Result<(), c_int> {
    process::notice_fork();
    if record::page().is_none() || process::shares_memory() {
        return Err(libc::ENOSYS);
    }
    if fds::stolen(fd).is_none() {
        return if hidden::fits(fd) { Ok(()) } else { Err(libc::EMFILE) };
    }
    // Its module is to hear of the end by the socket, which others will have.
    pool::unpool(fd, Counter::PairsYielded);
    Ok(())
}

fn replace(fd: c_int, near: c_int) -> Result<(), c_int> {
    let is = |command, bit: c_int| sys::fcntl(fd, command, 0).is_ok_and(|flags| flags as c_int & bit != 0);
    let cloexec = is(libc::F_GETFD, libc::FD_CLOEXEC);
    sys::set_nonblocking(near, is(libc::F_GETFL, libc::O_NONBLOCK));
    listener::hand_down(fd, near);
    let mut flags = fds::STOLEN;
    if fds::stolen(fd).is_some() {
        flags = fds::flags(fd);
        let _ = fds::leave_set(fd);
    } else {
        hidden::place(fd, fds::hidden_number(fd), cloexec, Memory::Own).map_err(|error| error.0)?;
        let nodelay = sys::option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY);
        flags |= if nodelay.is_ok_and(|on| on != 0) { fds::NODELAY } else { 0 };
        // The engine writes whole batches.
        let _ = sys::set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1);
    }
    let cookie = fds::cookie(near).unwrap_or(0);
    // The number is open, so dup3 has nothing to fail from.
    let _ = sys::dup3(near, fd, cloexec);
    sys::close(near);
    fds::set(fd, flags, cookie);
    record::count(Counter::Yielded, 1);
    Ok(())
}
