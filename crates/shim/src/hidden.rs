//! Hidden duplicates: the real socket of descriptor `n` at the number `hidden_base + n`.
//!
//! Always that number, so that nothing has to be carried across fork and exec to find it.

use crate::process::{self, Memory};
use crate::sys::{self, Errno};
use crate::{fds, limits, numbers, record};

/// Whether a descriptor's number leaves room for a hidden duplicate.
pub fn fits(fd: i32) -> bool {
    let most = numbers::own().start - record::base();
    fd >= 0 && (fd as u32) < fds::FDS.min(most)
}

/// Puts `from` at the number `to` (above the application's own), if nothing of the application's is there.
///
/// # Errors
/// EEXIST where the application has that number itself; otherwise as dup3.
pub fn place(from: i32, to: i32, cloexec: bool, memory: Memory) -> sys::Result<()> {
    if !limits::may_collide() {
        // Nobody but us has numbers there: what stands there is stale.
        return limits::with_room(to, memory, || sys::dup3(from, to, cloexec)).map(drop);
    }
    let command = if cloexec { libc::F_DUPFD_CLOEXEC } else { libc::F_DUPFD };
    let got = limits::with_room(to, memory, || sys::fcntl(from, command, to as usize))? as i32;
    if got == to {
        return Ok(());
    }
    sys::close(got);
    Err(Errno(libc::EEXIST))
}

/// Makes `new`, a fresh duplicate of the stolen socket `old`, a stolen one as well: its own hidden duplicate, and (unless
/// this is a vfork's child) a record. Best effort: without room for it the duplicate carries data all the same.
pub fn follow(old: i32, new: i32, cloexec: bool) {
    let flags = fds::flags(old);
    let memory = process::memory();
    if !fits(new) || place(fds::hidden_number(old), fds::hidden_number(new), cloexec, memory).is_err() {
        return;
    }
    if memory == Memory::Own {
        fds::set(new, flags, fds::recorded_cookie(old));
    }
}
