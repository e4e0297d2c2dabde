//! The kernel yank for a plain TCP socket of the caller's own: see `modnet_revoke::kernel::own`, whose yanker Python's calls use too.

use std::os::fd::BorrowedFd;

use modnet_revoke::kernel::own;
use modnet_revoke::kernel::yank::Operation;

use crate::error::{Error, Result};

/// Takes or copies the last bytes that the kernel has not sent.
///
/// # Errors
/// EPERM: without CAP_NET_ADMIN; EAGAIN, EOPNOTSUPP: a state that cannot be rebuilt; EIO: the connection is dead.
pub fn yank(socket: BorrowedFd<'_>, most: usize, peek: bool) -> Result<Vec<u8>> {
    let operation = if peek { Operation::Peek } else { Operation::Yank };
    own::yank(socket, most, operation, true, |taken| taken.bytes.to_vec())
        .map_err(|failure| Error::new(failure.errno(), failure.to_string()))
}
