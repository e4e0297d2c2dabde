//! getpeername, getsockname, bind, connect and listen: the real socket's.

use libc::{c_int, c_long};

use crate::answer::Answer;
use crate::{descriptors, fds, listener, record, sys};

/// A call whose arguments are (fd, pointer or number, pointer or number), on the real socket.
///
/// # Safety
/// The arguments are the application's own; the kernel checks pointers.
pub unsafe fn on_real(number: c_long, fd: c_int, b: usize, c: usize) -> Answer {
    // SAFETY: the caller's.
    descriptors::on_real(fd, |hidden| unsafe { sys::call(number, [hidden, b, c, 0, 0, 0]) })
}

/// After listen has succeeded on a socket of the application's own.
pub fn listening(fd: c_int) {
    if fds::is_listener(fd) {
        // Once more, for another backlog.
        return;
    }
    fds::take(fd);
    if record::active() {
        listener::look(fd, 0);
    }
}
