//! ioctl on a stolen socket.

use libc::{c_int, c_ulong};
use modnet_abi::counter::Counter;

use crate::answer::Answer;
use crate::table::{self, Goes};
use crate::{burst, fds, inline, pool, sys};

/// What leaves nothing behind in the intermediate socket, or what each new flow sets anew.
const HARMLESS: [c_ulong; 4] = [libc::FIONREAD, libc::FIONBIO, libc::FIOCLEX, libc::FIONCLEX];

/// What ioctl does.
///
/// # Safety
/// `argument` is the application's own; the kernel checks it where it is a pointer.
pub unsafe fn ioctl(fd: c_int, request: c_ulong, argument: usize) -> Answer {
    if request == libc::FIONBIO {
        // From now on a read or an accept on it may sleep.
        burst::flush();
    }
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
        _ => {
            if !HARMLESS.contains(&request) {
                pool::unpool(fd, Counter::PairsOptions);
            }
            Answer::Native
        }
    }
}

/// SIOCOUTQ and SIOCOUTQNSD: what has not left the real socket, and what waits before it.
fn sum(fd: c_int, real: sys::Result<usize>, argument: usize) -> Answer {
    if real.is_err() {
        return real.into();
    }
    if let Ok(waiting) = sys::asked(fd, libc::TIOCOUTQ) {
        // SAFETY: the kernel has just written an integer there for us, so it is the application's and writable.
        unsafe { *(argument as *mut c_int) += waiting + inline::waiting(fd) };
    }
    Answer::Done(0)
}
