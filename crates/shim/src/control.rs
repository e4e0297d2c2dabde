//! ioctl on a stolen socket.

use libc::{c_int, c_ulong};

use crate::answer::Answer;
use crate::table::{self, Goes};
use crate::{fds, sys};

/// What ioctl does.
///
/// # Safety
/// `argument` is the application's own; the kernel checks it where it is a pointer.
pub unsafe fn ioctl(fd: c_int, request: c_ulong, argument: usize) -> Answer {
    let Some(hidden) = fds::stolen(fd) else { return Answer::Native };
    // SAFETY: the caller's.
    let on =
        |at: c_int| unsafe { sys::call(libc::SYS_ioctl, [at as usize, request as usize, argument, 0, 0, 0]) };
    match table::ioctl(request) {
        Goes::Real => on(hidden).into(),
        Goes::Both => {
            let result = on(fd);
            if result.is_ok() {
                let _ = on(hidden);
            }
            result.into()
        }
        Goes::Sum => sum(fd, on(hidden), argument),
        _ => Answer::Native,
    }
}

/// SIOCOUTQ and SIOCOUTQNSD: what has not left the real socket, and what waits before it.
fn sum(fd: c_int, real: sys::Result<usize>, argument: usize) -> Answer {
    if real.is_err() {
        return real.into();
    }
    let mut waiting: c_int = 0;
    // SAFETY: the kernel writes one integer, which lives here.
    let own = unsafe {
        sys::call(libc::SYS_ioctl, [fd as usize, libc::TIOCOUTQ as usize, &raw mut waiting as usize, 0, 0, 0])
    };
    if own.is_ok() {
        // SAFETY: the kernel has just written an integer there for us, so it is the application's and writable.
        unsafe { *(argument as *mut c_int) += waiting };
    }
    Answer::Done(0)
}
