//! close_range and closefrom: a program that closes a range of descriptors closes their hidden duplicates with them,
//! and no others.
//!
//! O(highest stolen descriptor), fine while that is small; a program calls these once, before it execs.

use crate::answer::Answer;
use crate::sys;
use crate::{fds, process, record};

/// From `<linux/close_range.h>`: set close-on-exec instead of closing.
const CLOEXEC: u32 = 4;

/// Closes (or marks) `first..=last`. Native where nothing of ours exists or the kernel lacks the call.
pub fn close_range(first: u32, last: u32, flags: u32) -> Answer {
    if record::page().is_none() || first > last {
        return Answer::Native;
    }
    let forget = flags & CLOEXEC == 0 && !process::shares_memory();
    let mut from = first;
    for fd in 0..fds::high() {
        if fds::flags(fd as i32) & fds::STOLEN == 0 {
            continue;
        }
        let hidden = record::base() + fd;
        let own = (first..=last).contains(&fd);
        let covered = (first..=last).contains(&hidden);
        if own && !covered {
            let _ = sys::close_range(hidden, hidden, flags);
        }
        if !own && covered {
            // The hidden duplicate of a descriptor that stays open: numbers ascend, so the pieces do.
            if from < hidden {
                if let Err(error) = sys::close_range(from, hidden - 1, flags) {
                    return Answer::Failed(error);
                }
            }
            from = hidden + 1;
        }
    }
    if forget {
        for fd in first..fds::high().min(last.saturating_add(1)) {
            fds::take(fd as i32);
        }
    }
    if from > last {
        return Answer::Done(0);
    }
    sys::close_range(from, last, flags).into()
}

/// closefrom, which cannot fail.
pub fn closefrom(first: i32) -> Answer {
    match close_range(first.max(0) as u32, u32::MAX, 0) {
        // A kernel without close_range: libc walks /proc, and what we know becomes stale, which is found out later.
        Answer::Failed(_) => Answer::Native,
        answer => answer,
    }
}
