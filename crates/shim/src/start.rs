//! The constructor.
//!
//! It runs in every child of every script under `modnet run`: without a record it looks through the environment once and is done;
//! with one it makes some ten system calls.

use core::ffi::{c_char, c_int, CStr};

use modnet_abi::record::RECORD_ENV;

use crate::{adopt, limits, process, real, record};

#[used]
#[link_section = ".init_array"]
static CONSTRUCTOR: extern "C" fn(c_int, *const *const c_char, *const *const c_char) = constructor;

extern "C" fn constructor(_: c_int, _: *const *const c_char, environment: *const *const c_char) {
    // SAFETY: glibc passes argc, argv and envp to constructors; envp ends with NULL.
    if let Some(path) = unsafe { record_path(environment) } {
        start(path);
    }
}

/// The value of `MODNET_RECORD`.
///
/// # Safety
/// `environment` is null or an array of strings that ends with NULL and lives as long as the process.
unsafe fn record_path(environment: *const *const c_char) -> Option<&'static CStr> {
    let mut at = environment;
    // SAFETY: the caller's; the loop stops at NULL.
    while let Some(entry) = unsafe { at.as_ref() }.filter(|entry| !entry.is_null()) {
        // SAFETY: a string of the environment.
        let entry = unsafe { CStr::from_ptr(*entry) };
        let value =
            entry.to_bytes_with_nul().strip_prefix(RECORD_ENV.as_bytes()).and_then(|r| r.strip_prefix(b"="));
        if let Some(value) = value {
            return CStr::from_bytes_with_nul(value).ok();
        }
        // SAFETY: not yet at the end.
        at = unsafe { at.add(1) };
    }
    None
}

fn start(path: &CStr) {
    // Found now, since dlsym may not be called from a signal handler.
    real::resolve();
    if process::start().and_then(|()| record::map(path)).is_some() {
        limits::start();
        adopt::adopt();
    }
}
