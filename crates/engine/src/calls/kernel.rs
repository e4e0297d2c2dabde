//! The kernel yank for a plain TCP socket of the caller's own: see `modnet_revoke::kernel`.
//!
//! One yanker for each thread, which keeps its memory and its guards until the thread ends.

use std::cell::RefCell;
use std::os::fd::BorrowedFd;

use modnet_revoke::kernel::yank::{Operation, Settings, Yanker};

use crate::error::{Error, Result};

thread_local! {
    static YANKER: RefCell<Option<Yanker>> = const { RefCell::new(None) };
}

/// Takes or copies the last bytes that the kernel has not sent.
///
/// # Errors
/// EPERM: without CAP_NET_ADMIN; EAGAIN, EOPNOTSUPP: a state that cannot be rebuilt; EIO: the connection is dead.
pub fn yank(socket: BorrowedFd<'_>, most: usize, peek: bool) -> Result<Vec<u8>> {
    YANKER.with_borrow_mut(|slot| {
        let yanker = match slot {
            Some(yanker) => yanker,
            None => slot.insert(
                Yanker::new(Settings::default())
                    .map_err(|e| Error::system("cannot prepare a kernel yank", &e))?,
            ),
        };
        let operation = if peek { Operation::Peek } else { Operation::Yank };
        let taken = yanker.yank(socket, most, operation);
        taken
            .map(|taken| taken.bytes.to_vec())
            .map_err(|failure| Error::new(failure.errno(), failure.to_string()))
    })
}
