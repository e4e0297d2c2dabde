//! This process' yankers, one for each thread: what `modnet_yank` of a plain TCP socket, in C and in Python, comes to.
//!
//! They keep a journal ([`super::journal::place`]), and look after sockets that killed ones have left: at the first yank
//! of the process also those that nobody has any more, and before each yank where a journal waits.
//!
//! Rules: a yanker's memory and guards are kept until its thread ends. What a child has inherited it never uses: the memory is
//! shared, and the bytes of two processes would mix.

use std::cell::RefCell;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Once;

use super::failure::Failure;
use super::journal;
use super::rescue::Outcome;
use super::yank::{Operation, Settings, Taken, Yanker};

thread_local! {
    static YANKER: RefCell<Option<(u32, Yanker)>> = const { RefCell::new(None) };
}

static LOOKED: Once = Once::new();

/// This thread's yanker.
///
/// # Errors
/// There is no memory for one.
pub fn with<T>(act: impl FnOnce(&mut Yanker) -> T) -> Result<T, Failure> {
    YANKER.with_borrow_mut(|slot| {
        let us = std::process::id();
        if slot.as_ref().is_some_and(|(owner, _)| *owner != us) {
            // The parent's. Its end would take down what the parent uses.
            std::mem::forget(slot.take());
        }
        let (_, yanker) = match slot {
            Some(own) => own,
            None => slot.insert((us, new().map_err(|error| Failure::System("get memory", error))?)),
        };
        Ok(act(yanker))
    })
}

/// Takes or copies the last bytes that the kernel has not sent, as [`Yanker::yank`]; `take` is given them.
///
/// # Errors
/// As [`Yanker::yank`].
pub fn yank<T>(
    fd: BorrowedFd<'_>,
    most: usize,
    operation: Operation,
    keep_window: bool,
    take: impl Fn(Taken<'_>) -> T,
) -> Result<T, Failure> {
    with(|yanker| {
        LOOKED.call_once(|| drop(look_after(yanker)));
        if yanker.settings.journal.as_deref().is_some_and(journal::waits) {
            look_after(yanker);
        }
        // Said each time: it may be another for each call.
        yanker.settings.keep_window = keep_window;
        match yanker.yank(fd, most, operation).map(&take) {
            Err(Failure::System(_, error)) if is_full(&error) && yanker.settings.journal.is_some() => {
                // The file system for journals is small; memory is not.
                *yanker = Yanker::new(Settings::default()).map_err(|e| Failure::System("get memory", e))?;
                yanker.settings.keep_window = keep_window;
            }
            done => return done,
        }
        yanker.yank(fd, most, operation).map(take)
    })?
}

/// Brings back what killed yankers of this user have left.
///
/// # Errors
/// There are no journals; why.
pub fn rescue() -> Result<Vec<Outcome>, String> {
    let place = journal::place()?;
    with(|yanker| yanker.rescue_all(&place)).map_err(|failure| failure.to_string())
}

fn new() -> io::Result<Yanker> {
    let journal = journal::place().ok();
    let with_journal = Yanker::new(Settings { journal: journal.clone(), ..Settings::default() });
    match with_journal {
        Err(error) if journal.is_some() && is_full(&error) => Yanker::new(Settings::default()),
        made => made,
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT))
}

fn look_after(yanker: &mut Yanker) -> Vec<Outcome> {
    journal::place().map_or_else(|_| Vec::new(), |place| yanker.rescue_all(&place))
}

#[cfg(test)]
#[path = "own_tests.rs"]
mod tests;
