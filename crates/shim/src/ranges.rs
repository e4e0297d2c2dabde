//! close_range and closefrom: a program that closes a range of descriptors closes their hidden duplicates with them,
//! and no others.
//!
//! O(highest stolen descriptor, or first number of the range), fine while that is small; a program calls these once, before it execs.

use crate::answer::Answer;
use crate::process::{self, Memory};
use crate::{connection, descriptors, fds, numbers, record, sys};

/// From `<linux/close_range.h>`: set close-on-exec instead of closing.
const CLOEXEC: u32 = 4;
/// Likewise: give this thread a table of descriptors of its own first.
const UNSHARE: u32 = 2;

/// Closes (or marks) `first..=last`. Native where nothing of ours exists.
pub fn close_range(first: u32, last: u32, flags: u32) -> Answer {
    if record::page().is_none() || first > last || flags & !(CLOEXEC | UNSHARE) != 0 {
        return Answer::Native;
    }
    let memory = process::memory();
    let closes = flags & CLOEXEC == 0 && memory == Memory::Own;
    if closes {
        // Before they are closed: from then on another thread may be given the numbers.
        for fd in first..fds::high().min(last.saturating_add(1)) {
            descriptors::drop_all(fd as i32);
        }
        let own = numbers::own();
        if let Some(state) = process::own().filter(|_| first < own.end && last >= own.start) {
            connection::end_all(&state.cells);
        }
    }
    in_pieces(first, last, flags, memory).into()
}

fn in_pieces(first: u32, last: u32, flags: u32, memory: Memory) -> sys::Result<usize> {
    let range = first..=last;
    let mut from = first;
    for fd in 0..fds::high().max(first.min(fds::FDS)) {
        if !has_duplicate(fd as i32, memory, fd < first) {
            continue;
        }
        let hidden = record::base() + fd;
        let (own, covered) = (range.contains(&fd), range.contains(&hidden));
        if own && !covered {
            sys::close_range(hidden, hidden, flags)?;
        }
        if !own && covered {
            // The hidden duplicate of a descriptor that stays open: numbers ascend, so the pieces do.
            if from < hidden {
                sys::close_range(from, hidden - 1, flags)?;
            }
            from = hidden + 1;
        }
    }
    if from > last {
        return Ok(0);
    }
    sys::close_range(from, last, flags)
}

/// Whether a descriptor has a hidden duplicate. A vfork's child may have given it one a moment ago (standard input, by dup2) that
/// its parent's memory knows nothing of: there the number itself is asked, where the range leaves it alone.
fn has_duplicate(fd: i32, memory: Memory, stays: bool) -> bool {
    fds::flags(fd) & fds::STOLEN != 0
        || (memory == Memory::Shared && stays && sys::fcntl(fds::hidden_number(fd), libc::F_GETFD, 0).is_ok())
}

/// closefrom, which cannot fail.
pub fn closefrom(first: i32) -> Answer {
    match close_range(first.max(0) as u32, u32::MAX, 0) {
        // A kernel without close_range: libc walks /proc, and what we know becomes stale, which is found out later.
        Answer::Failed(_) => Answer::Native,
        answer => answer,
    }
}
