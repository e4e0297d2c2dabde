//! Why a yank took nothing: refused, not permitted, the system said no; or the connection is lost.
//!
//! Rule: all but [`Failure::Lost`] leave the connection as it was.

use std::fmt;
use std::io;

use super::refuse::Refusal;

/// What went wrong.
#[derive(Debug)]
pub enum Failure {
    /// The connection's state forbids it; [`Refusal`] says which.
    Refused(Refusal),
    /// A capability is missing; its name.
    Denied(&'static str),
    /// A step before the disconnect failed.
    System(&'static str, io::Error),
    /// A step after the disconnect failed: the connection is dead, and whoever reads or writes sees that.
    Lost(&'static str, io::Error),
}

impl Failure {
    /// For callers of C.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            Self::Refused(refusal) => refusal.errno(),
            Self::Denied(_) => libc::EPERM,
            Self::System(_, error) => error.raw_os_error().unwrap_or(libc::EIO),
            Self::Lost(..) => libc::EIO,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "no kernel yank: {}", refusal.reason()),
            Self::Denied(capability) => write!(
                f,
                "the kernel yank needs the capability {capability}: run as root, or give it to the program (setcap)"
            ),
            Self::System(step, error) => write!(f, "kernel yank: cannot {step}: {error}"),
            Self::Lost(step, error) => {
                write!(f, "kernel yank: the connection is lost, since it could not {step}: {error}")
            }
        }
    }
}

impl std::error::Error for Failure {}

/// Before the disconnect: EPERM names the capability that every step there needs.
pub fn untouched(step: &'static str) -> impl FnOnce(io::Error) -> Failure {
    move |error| match error.raw_os_error() {
        Some(libc::EPERM) => Failure::Denied("CAP_NET_ADMIN"),
        _ => Failure::System(step, error),
    }
}

/// After it.
pub fn lost(step: &'static str) -> impl FnOnce(io::Error) -> Failure {
    move |error| Failure::Lost(step, error)
}
