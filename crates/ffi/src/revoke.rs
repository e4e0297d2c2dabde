//! Bytes taken back: `modnet_yank` for who has written them, `modnet_yank_request` and `modnet_yankwrite` for modules.

use std::ffi::{c_int, c_void};
use std::slice;

use modnet_engine::calls::requests;
use modnet_engine::calls::revoke::{yank, Call};
use modnet_engine::error::{Error, Result};
use modnet_engine::revoke::client::Asked;

use crate::answer;

/// `MODNET_PEEK`, `MODNET_YANK_LOCK`, `MODNET_YANK_UNLOCK`, `MODNET_YANK_DONTWAIT` of `include/modnet.h`.
const PEEK: c_int = 1;
const LOCKS: [&str; 3] = ["none", "lock", "unlock"];
const DONTWAIT: c_int = 1;

/// See `include/modnet.h`.
///
/// # Safety
/// `buf` is null or has room for `len` bytes.
#[no_mangle]
pub unsafe extern "C" fn modnet_yank(
    fd: c_int,
    buf: *mut c_void,
    len: c_int,
    operation: c_int,
    lock: c_int,
    flags: c_int,
) -> c_int {
    let call = call(buf, len, operation, lock, flags);
    answer(call.and_then(|call| yank(fd, call)).map(|bytes| {
        // SAFETY: at most `len` bytes were asked for, for which there is room.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), buf.cast(), bytes.len()) };
        c_int::try_from(bytes.len()).unwrap_or(len)
    }))
}

fn call(buf: *mut c_void, len: c_int, operation: c_int, lock: c_int, flags: c_int) -> Result<Call> {
    let wrong = |what| Err(Error::new(libc::EINVAL, what));
    let Ok(length) = usize::try_from(len) else { return wrong("a negative length") };
    let Some(lock) = usize::try_from(lock).ok().and_then(|lock| LOCKS.get(lock)) else {
        return wrong("lock is none of the three");
    };
    if !(0..=PEEK).contains(&operation) || flags & !DONTWAIT != 0 {
        return wrong("an operation or a flag that there is not");
    }
    if buf.is_null() && length > 0 {
        return Err(Error::new(libc::EFAULT, "no room for bytes"));
    }
    Ok(Call { asked: Asked { length, peek: operation == PEEK, lock }, dont_wait: flags & DONTWAIT != 0 })
}

/// See `include/modnet.h`.
#[no_mangle]
pub extern "C" fn modnet_yank_request(left_fd: c_int) -> c_int {
    let asked = requests::requested(left_fd);
    answer(asked.map(|asked| c_int::try_from(asked.length - asked.given).unwrap_or(c_int::MAX)))
}

/// See `include/modnet.h`.
///
/// # Safety
/// `buf` is null or has `len` bytes.
#[no_mangle]
pub unsafe extern "C" fn modnet_yankwrite(left_fd: c_int, buf: *const c_void, len: c_int) -> c_int {
    let Ok(length) = usize::try_from(len) else {
        return answer(Err(Error::new(libc::EINVAL, "a negative length")));
    };
    if buf.is_null() && length > 0 {
        return answer(Err(Error::new(libc::EFAULT, "no bytes")));
    }
    // SAFETY: as the caller promises; of an empty slice no pointer is looked at.
    let data = if length == 0 { &[] } else { unsafe { slice::from_raw_parts(buf.cast::<u8>(), length) } };
    answer(requests::write(left_fd, data).map(|count| c_int::try_from(count).unwrap_or(len)))
}
