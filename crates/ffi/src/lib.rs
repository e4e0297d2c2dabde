//! `libmodnet.so`: the paper's calls for C, as `include/modnet.h` declares and documents them.
//!
//! | file | holds |
//! | --- | --- |
//! | [`epoll`], [`watched`] | EPOLL_STEAL, EPOLL_YANK, EPOLL_YANK_REQ among the events of an ordinary epoll set |
//! | [`revoke`] | taking bytes back, and giving them back |
//! | [`state`] | the TCP state of a connection |
//! | here | registering, applying, taking stolen sockets, yielding them |
//!
//! Rules: each function is a few lines over `modnet_engine::calls`; what fails returns -1 and sets errno. Nothing else is
//! exported. It must not have logic of its own.

mod epoll;
mod revoke;
mod state;
mod watched;

use std::ffi::{c_char, c_int, c_long, CStr};
use std::os::fd::IntoRawFd;

use modnet_engine::calls::yielding::yield_sockets;
use modnet_engine::calls::{self, mask::Mask};
use modnet_engine::error::{Error, Result};
use modnet_engine::hooks::Place;

/// See `include/modnet.h`.
///
/// # Safety
/// `name` is null or a string that ends with a NUL.
#[no_mangle]
pub unsafe extern "C" fn modnet_register(name: *const c_char) -> c_int {
    // SAFETY: as the caller promises.
    answer(unsafe { text(name) }.and_then(calls::register).map(|()| 0))
}

/// See `include/modnet.h`.
///
/// # Safety
/// `names` is null or has `count` elements, each null or a string that ends with a NUL.
#[no_mangle]
pub unsafe extern "C" fn modnet_apply(
    target: libc::pid_t,
    names: *const *const c_char,
    count: c_int,
) -> c_int {
    // SAFETY: as the caller promises.
    let chain = unsafe { chain(names, count) };
    answer(chain.and_then(|chain| calls::apply(target, &chain)).map(|()| 0))
}

/// See `include/modnet.h`.
///
/// # Safety
/// `left` and `right` are null or have room for `max` elements.
#[no_mangle]
pub unsafe extern "C" fn modnet_getsockets(
    left: *mut c_int,
    right: *mut c_int,
    max: c_int,
    cpu_mask: c_long,
) -> c_int {
    let Ok(room @ 1..) = usize::try_from(max) else { return answer(Err(invalid())) };
    if left.is_null() || right.is_null() {
        return answer(Err(Error::new(libc::EFAULT, "no room for descriptors")));
    }
    let flows = Mask::new(cpu_mask).and_then(|mask| calls::getsockets(room, mask));
    answer(flows.map(|flows| {
        let count = flows.len();
        for (index, flow) in flows.into_iter().enumerate() {
            // SAFETY: at most `max` flows were taken, and so many elements there are.
            unsafe {
                left.add(index).write(flow.left.into_raw_fd());
                right.add(index).write(flow.right.into_raw_fd());
            }
        }
        c_int::try_from(count).unwrap_or(max)
    }))
}

/// See `include/modnet.h`.
///
/// # Safety
/// As [`modnet_apply`] for `names` and `count`; `held` is null or points to a `struct modnet_held`, whose pointers are null or have
/// so many bytes as stands beside them.
#[no_mangle]
pub unsafe extern "C" fn modnet_yield(
    left: c_int,
    right: c_int,
    names: *const *const c_char,
    count: c_int,
    operation: c_int,
    held: *const Held,
) -> c_int {
    // SAFETY: as the caller promises.
    let (chain, held) =
        unsafe { (chain(names, count), held.as_ref().map_or(Ok(Default::default()), |held| held.copy())) };
    let place = place(operation);
    answer(chain.and_then(|chain| yield_sockets(left, right, &chain, place?, held?)).map(|()| 0))
}

/// `struct modnet_held`.
#[repr(C)]
pub struct Held {
    outbound: *const u8,
    outbound_length: usize,
    inbound: *const u8,
    inbound_length: usize,
}

impl Held {
    /// # Safety
    /// As [`modnet_yield`].
    unsafe fn copy(&self) -> Result<[Vec<u8>; 2]> {
        let copy = |at: *const u8, length: usize| match (at.is_null(), isize::try_from(length)) {
            (_, Ok(0)) => Ok(Vec::new()),
            // SAFETY: so many bytes are readable, as the caller promises.
            (false, Ok(_)) => Ok(unsafe { std::slice::from_raw_parts(at, length) }.to_vec()),
            (true, Ok(_)) => Err(Error::new(libc::EFAULT, "no bytes")),
            (_, Err(_)) => Err(invalid()),
        };
        Ok([copy(self.outbound, self.outbound_length)?, copy(self.inbound, self.inbound_length)?])
    }
}

/// `MODNET_APPLY_LEFT` and so on.
fn place(operation: c_int) -> Result<Place> {
    match operation {
        1 => Ok(Place::Left),
        2 => Ok(Place::Right),
        3 => Ok(Place::Replace),
        _ => Err(Error::new(libc::EINVAL, "not an operation of modnet_yield")),
    }
}

/// The chain that an array of names means.
///
/// # Safety
/// As [`modnet_apply`].
unsafe fn chain<'a>(names: *const *const c_char, count: c_int) -> Result<Vec<&'a str>> {
    let count = usize::try_from(count).map_err(|_| invalid())?;
    if count > 0 && names.is_null() {
        return Err(Error::new(libc::EFAULT, "no array of names"));
    }
    if count > modnet_abi::record::MAX_CHAIN {
        return Err(Error::new(libc::EINVAL, "too long a chain"));
    }
    // SAFETY: the array has `count` elements, each null or a string.
    (0..count).map(|index| unsafe { text(names.add(index).read()) }).collect()
}

/// A string argument.
///
/// # Safety
/// `string` is null or ends with a NUL.
unsafe fn text<'a>(string: *const c_char) -> Result<&'a str> {
    if string.is_null() {
        return Err(Error::new(libc::EFAULT, "no name"));
    }
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(string) }.to_str().map_err(|_| Error::new(libc::EINVAL, "the name is not UTF-8"))
}

fn invalid() -> Error {
    Error::new(libc::EINVAL, "a negative or empty count")
}

/// As C has it: the value, or -1 with errno.
fn answer(result: Result<c_int>) -> c_int {
    result.unwrap_or_else(|error| {
        // SAFETY: the address is this thread's errno.
        unsafe { *libc::__errno_location() = error.errno };
        -1
    })
}
