//! Where each call on a stolen socket goes, and why: docs/transparency.md is made from these rows, and getsockopt, setsockopt
//! and ioctl look their answer up in them (they stand in `rows`). The first row that fits decides.
//!
//! Each row names its tests (in tests/shim); a test fails when one does not exist, or when the document is out of date
//! (`MODNET_WRITE_DOCS=1 cargo test -p modnet-shim` writes it).

use libc::{c_int, c_ulong};

use crate::rows::ROWS;

/// Where a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code)] // Some only describe.
pub enum Goes {
    /// To the real TCP socket, by its hidden duplicate.
    Real,
    /// To the intermediate socket that the application holds.
    Intermediate,
    /// To the real one, and where that succeeds to the intermediate one as well (ioctl: the other way round).
    Both,
    /// The real socket's number plus the intermediate's.
    Sum,
    /// The intermediate's, else the real one's.
    Either,
    /// Nowhere: the shim answers what the application last set.
    Remembered(u32),
    /// Nowhere: fails with this errno.
    Declined(c_int),
    /// The hidden duplicate follows the descriptor.
    Follows,
    /// See the reason.
    Special,
}

/// What a row decides.
pub enum Keys {
    /// getsockopt and setsockopt.
    Option(c_int, &'static [c_int]),
    /// setsockopt alone.
    Set(c_int, &'static [c_int]),
    /// getsockopt alone.
    Get(c_int, &'static [c_int]),
    /// ioctl requests.
    Ioctl(&'static [c_ulong]),
    /// A family of ioctl requests, by their second byte.
    IoctlFamily(c_ulong),
    /// Functions of their own, with hooks of their own or none.
    Calls,
}

/// One row.
#[allow(dead_code)] // The words are for the document.
pub struct Row {
    /// The calls, as the document names them.
    pub calls: &'static str,
    /// The same, as the dispatch looks them up.
    pub keys: Keys,
    /// The decision.
    pub goes: Goes,
    /// The reason.
    pub why: &'static str,
    /// The tests that compare it with native behaviour.
    pub tests: &'static [&'static str],
}

/// Kept here as well as in `fds`, so that the table can be tested by itself; checked in `options`.
pub const NODELAY: u32 = 2;
/// As above.
pub const CORK: u32 = 4;

/// Where an option goes.
pub fn option(set: bool, level: c_int, name: c_int) -> Goes {
    let fits = |l: c_int, names: &[c_int]| l == level && (names.is_empty() || names.contains(&name));
    let row = ROWS.iter().find(|row| match row.keys {
        Keys::Option(l, names) => fits(l, names),
        Keys::Set(l, names) => set && fits(l, names),
        Keys::Get(l, names) => !set && fits(l, names),
        _ => false,
    });
    row.map_or(Goes::Real, |row| row.goes)
}

/// Where an ioctl goes; what nobody names is not the network's and stays.
pub fn ioctl(request: c_ulong) -> Goes {
    let row = ROWS.iter().find(|row| match row.keys {
        Keys::Ioctl(requests) => requests.contains(&request),
        Keys::IoctlFamily(family) => request >> 8 & 0xff == family,
        _ => false,
    });
    row.map_or(Goes::Intermediate, |row| row.goes)
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
