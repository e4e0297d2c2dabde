//! What a thread is told that has asked for a socket's slot: by the programs, in memory, instead of one more system call.
//!
//! An answer lies at the core on which the program ran, and the thread may be on another one by the time it looks. So it is taken only
//! if it is this thread's and of this question: the programs count each thread's questions, and the count goes up by one. Which
//! thread this is, and how often it has asked, is learned from an answer whose socket was known otherwise (the kernel's number of
//! a thread is not the one that a container sees).
//!
//! Rules: what is not certain is no answer; then the map is asked. It must not make a system call of its own (getpid was a tenth of what it
//! takes to choose a socket): that this is a child, which has its parent's memory and not its membership, is seen by a page that the kernel
//! clears in children.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::OnceLock;

use crate::chosen::Chosen;

/// `struct answer` in `bpf/work.h`.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Answer {
    thread: AtomicU64,
    cookie: AtomicU64,
    slot: AtomicU32,
    count: AtomicU32,
    unused: [u64; 5],
}

/// A thread that is known to the programs of one `enable`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Of which [`crate::access::Access`].
    access: u64,
    process: u64,
    thread: u64,
    /// Its latest question.
    count: u32,
}

thread_local! {
    static MEMBER: Cell<Member> = const { Cell::new(Member { access: 0, process: 0, thread: 0, count: 0 }) };
}

/// This thread, where it is known to the programs of that number.
#[must_use]
pub fn member(access: u64) -> Option<Member> {
    let member = MEMBER.get();
    (member.access == access && Some(member.process) == process()).then_some(member)
}

/// The answer to the question that `member` has just asked.
#[must_use]
pub fn answer(answers: &[Answer], member: Member) -> Option<Chosen> {
    let found = answers.get(core()?)?;
    let next = Member { count: member.count.wrapping_add(1), ..member };
    let chosen = read(found, next.thread, next.count)?;
    MEMBER.set(next);
    Some(chosen)
}

/// The question was answered otherwise: learns from it what is to be expected next.
pub fn learn(answers: &[Answer], access: u64, chosen: Chosen) {
    let found = process().zip(core().and_then(|core| answers.get(core))).and_then(|(process, found)| {
        let (thread, count) = (found.thread.load(Ordering::Acquire), found.count.load(Ordering::Relaxed));
        let is_it = thread != 0 && read(found, thread, count) == Some(chosen);
        is_it.then_some(Member { access, process, thread, count })
    });
    // The thread was moved in between: it stays unknown, and is heard by the map of wishes once more.
    MEMBER.set(found.unwrap_or_default());
}

fn read(answer: &Answer, thread: u64, count: u32) -> Option<Chosen> {
    let is_ours = || answer.thread.load(Ordering::Acquire) == thread;
    let before = is_ours();
    let chosen =
        Chosen { slot: answer.slot.load(Ordering::Relaxed), cookie: answer.cookie.load(Ordering::Relaxed) };
    let counted = answer.count.load(Ordering::Relaxed);
    std::sync::atomic::fence(Ordering::Acquire);
    (before && counted == count && is_ours()).then_some(chosen)
}

/// A number that this process has and none that it was forked from; None where the kernel clears no page (before Linux 4.14).
#[must_use]
pub fn process() -> Option<u64> {
    static NUMBERS: AtomicU64 = AtomicU64::new(1);
    static PAGE: OnceLock<Option<&AtomicU64>> = OnceLock::new();
    let page = (*PAGE.get_or_init(cleared_in_children))?;
    let before = page.load(Ordering::Relaxed);
    if before != 0 {
        return Some(before);
    }
    let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
    match page.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => Some(number),
        Err(another) => Some(another),
    }
}

/// A word of a page of its own.
fn cleared_in_children() -> Option<&'static AtomicU64> {
    const BYTES: usize = 4096;
    let (rights, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at an address of the kernel's choice.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), BYTES, rights, kind, -1, 0) };
    if page == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: our own mapping.
    if unsafe { libc::madvise(page, BYTES, libc::MADV_WIPEONFORK) } != 0 {
        // SAFETY: as above; nothing borrows it.
        unsafe { libc::munmap(page, BYTES) };
        return None;
    }
    // SAFETY: aligned, as large, zeroes, and mapped for good.
    Some(unsafe { &*page.cast::<AtomicU64>() })
}

fn core() -> Option<usize> {
    // SAFETY: takes no pointer.
    usize::try_from(unsafe { libc::sched_getcpu() }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer_of(thread: u64, count: u32, slot: u32) -> Answer {
        let answer = Answer::default();
        answer.thread.store(thread, Ordering::Relaxed);
        answer.count.store(count, Ordering::Relaxed);
        answer.slot.store(slot, Ordering::Relaxed);
        answer.cookie.store(99, Ordering::Relaxed);
        answer
    }

    /// On every core the same.
    fn everywhere(thread: u64, count: u32, slot: u32) -> Vec<Answer> {
        (0..1024).map(|_| answer_of(thread, count, slot)).collect()
    }

    #[test]
    fn an_answer_is_this_thread_s_and_of_its_latest_question() {
        let chosen = Chosen { slot: 5, cookie: 99 };
        learn(&everywhere(7, 3, 5), 1, chosen);
        let us = member(1).unwrap();
        assert_eq!((us.thread, us.count, member(2)), (7, 3, None));
        assert_eq!(answer(&everywhere(7, 3, 5), us), None, "an old one");
        assert_eq!(answer(&everywhere(8, 4, 5), us), None, "another thread's");
        assert_eq!(answer(&everywhere(7, 4, 6), us), Some(Chosen { slot: 6, ..chosen }));
        assert_eq!(member(1).unwrap().count, 4);
    }

    #[test]
    fn a_child_is_not_a_member() {
        learn(&everywhere(7, 3, 5), 1, Chosen { slot: 5, cookie: 99 });
        assert!(member(1).is_some());
        // SAFETY: the child makes no call but its end.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let is_member = member(1).is_some();
            // SAFETY: ends this process, whose other threads stayed with its parent.
            unsafe { libc::_exit(i32::from(is_member)) };
        }
        let mut status = -1;
        // SAFETY: `status` lives through the call.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!((status, member(1).is_some()), (0, true));
    }

    #[test]
    fn what_does_not_fit_teaches_nothing() {
        learn(&everywhere(7, 3, 5), 1, Chosen { slot: 6, cookie: 99 });
        assert_eq!(member(1), None);
        learn(&everywhere(0, 3, 5), 1, Chosen { slot: 5, cookie: 99 });
        assert_eq!(member(1), None);
    }
}
