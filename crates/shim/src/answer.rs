//! What a safe function tells its hook.

use crate::sys::Errno;

/// The three ways a hooked call can go.
pub enum Answer {
    /// As if there were no hook: the call is libc's.
    Native,
    /// Done; this is its result.
    Done(isize),
    /// Failed with this errno.
    Failed(Errno),
}

impl From<crate::sys::Result<usize>> for Answer {
    fn from(result: crate::sys::Result<usize>) -> Self {
        match result {
            Ok(value) => Self::Done(value as isize),
            Err(error) => Self::Failed(error),
        }
    }
}

/// Sets errno and gives what a failed call returns.
pub fn fail(error: Errno) -> isize {
    // SAFETY: libc's errno of this thread; always there.
    unsafe { *libc::__errno_location() = error.0 };
    -1
}

/// What libc's function has failed with.
pub fn errno() -> i32 {
    // SAFETY: libc's errno of this thread; always there.
    unsafe { *libc::__errno_location() }
}

/// Ends a hook: the answer as libc would give it, calling `native` where the call is libc's.
pub fn give<T: Word>(answer: Answer, native: impl FnOnce() -> T) -> T {
    match answer {
        Answer::Native => native(),
        Answer::Done(value) => T::from_isize(value),
        Answer::Failed(error) => T::from_isize(fail(error)),
    }
}

/// The result types of the hooked functions.
pub trait Word {
    /// Narrows; the values are descriptors, counts and -1.
    fn from_isize(value: isize) -> Self;
}

impl Word for i32 {
    fn from_isize(value: isize) -> Self {
        value as Self
    }
}

impl Word for isize {
    fn from_isize(value: isize) -> Self {
        value
    }
}

impl Word for i64 {
    fn from_isize(value: isize) -> Self {
        value as Self
    }
}
