//! RLIMIT_NOFILE: as the application is to see it, and as hidden duplicates need it.
//!
//! Hidden duplicates have numbers above the application's soft limit. It is raised for the moment of making one only
//! (two calls, 0.3 µs): raised for good, every open would hand out numbers that the application thinks it cannot have.
//! The real hard limit must not come below them. What the application set or is to see is remembered and shown; so that a
//! program which it becomes by exec sees it too, a low hard limit of its own is set as one that lies above them: [`CODE`] more.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::answer::Answer;
use crate::process::{self, Memory};
use crate::record;
use crate::sys::{self, Errno};

/// The application's soft limit, and the real hard one, as last seen.
static SOFT: AtomicU64 = AtomicU64::new(0);
static HARD: AtomicU64 = AtomicU64::new(0);
/// The hard limit that is shown; 0: the real one.
static SHOWN: AtomicU64 = AtomicU64::new(0);
/// The real hard limit that stands for the shown one of `n` is `top() + CODE + n`, for `n` below `top() - CODE`. The launcher leaves
/// none in that range; an odd limit is one more than `top()`.
const CODE: u64 = 2;
/// Threads that hold the soft limit raised.
static RAISERS: AtomicU32 = AtomicU32::new(0);
/// Rounds in which another thread may lower the limit under our hands before we give up.
const TRIES: u32 = 100;

/// The constructor's part: reads the limits.
pub fn start() {
    let Some(page) = record::page() else { return };
    let Ok(mut now) = sys::limit(None) else { return };
    let top = u64::from(record::top());
    if page.shown_hard_limit != 0 && now.rlim_cur == top {
        // The process that made this one was forked while another thread had the limit raised.
        now.rlim_cur = page.shown_hard_limit;
        let _ = sys::limit(Some(&now));
    }
    SOFT.store(now.rlim_cur, Ordering::Relaxed);
    HARD.store(now.rlim_max, Ordering::Relaxed);
    let shown = if (top + CODE..2 * top).contains(&now.rlim_max) {
        now.rlim_max - top - CODE
    } else {
        page.shown_hard_limit
    };
    SHOWN.store(shown, Ordering::Relaxed);
}

/// A fork's child has no other thread that would lower what was raised at that moment. The kernel copies limits before memory,
/// so RAISERS may say nothing of it.
pub fn after_fork() {
    RAISERS.store(0, Ordering::Release);
    if sys::limit(None).is_ok_and(|now| {
        now.rlim_cur == u64::from(record::top()) && now.rlim_cur != SOFT.load(Ordering::Relaxed)
    }) {
        lower();
    }
}

/// Whether the application's own descriptors could have hidden duplicates' numbers.
pub fn may_collide() -> bool {
    SOFT.load(Ordering::Relaxed) > u64::from(record::base())
}

/// Runs `make`, which makes a descriptor with the number `to` (below `top()`) or a little more, with the soft limit out of its way.
pub fn with_room<T>(to: i32, memory: Memory, make: impl Fn() -> sys::Result<T>) -> sys::Result<T> {
    let top = u64::from(record::top());
    let soft = SOFT.load(Ordering::Relaxed);
    if soft >= top {
        return make();
    }
    if soft > to as u64 {
        // Below the limit as it is, unless that has been lowered from outside.
        if let Ok(made) = make() {
            return Ok(made);
        }
    }
    if memory == Memory::Shared {
        return alone(top, &make);
    }
    RAISERS.fetch_add(1, Ordering::AcqRel);
    let mut result = Err(Errno(libc::EMFILE));
    for _ in 0..TRIES {
        if let Err(error) = raise(top) {
            result = Err(error);
            break;
        }
        result = make();
        // Another thread has lowered it between our two steps: fcntl says EINVAL, dup3 EBADF.
        if !matches!(result, Err(Errno(libc::EBADF | libc::EINVAL))) {
            break;
        }
    }
    if RAISERS.fetch_sub(1, Ordering::AcqRel) == 1 {
        lower();
    }
    result
}

fn raise(top: u64) -> sys::Result<()> {
    let hard = HARD.load(Ordering::Relaxed);
    let old = match sys::limit(Some(&libc::rlimit64 { rlim_cur: top, rlim_max: hard })) {
        Ok(old) => old,
        Err(_) => {
            // Somebody else has lowered the hard limit meanwhile (prlimit from outside).
            let now = sys::limit(None)?;
            HARD.store(now.rlim_max, Ordering::Relaxed);
            sys::limit(Some(&libc::rlimit64 { rlim_cur: top, rlim_max: now.rlim_max }))?
        }
    };
    if old.rlim_cur != top {
        SOFT.store(old.rlim_cur, Ordering::Relaxed);
    }
    Ok(())
}

fn lower() {
    let (soft, hard) = (SOFT.load(Ordering::Relaxed), HARD.load(Ordering::Relaxed));
    let _ = sys::limit(Some(&libc::rlimit64 { rlim_cur: soft, rlim_max: hard }));
}

/// In a vfork's child: its limits are its own, its memory is not.
fn alone<T>(top: u64, make: &impl Fn() -> sys::Result<T>) -> sys::Result<T> {
    let now = sys::limit(None)?;
    sys::limit(Some(&libc::rlimit64 { rlim_cur: top, rlim_max: now.rlim_max }))?;
    let result = make();
    let _ = sys::limit(Some(&now));
    result
}

/// Sets (if given) and answers (if asked) the limits as the application is to see them.
pub fn exchange(new: Option<&libc::rlimit64>, old: Option<&mut libc::rlimit64>) -> Answer {
    if record::page().is_none() {
        return Answer::Native;
    }
    process::notice_fork();
    let real = match sys::limit(None) {
        Ok(real) => real,
        Err(error) => return Answer::Failed(error),
    };
    let seen = shown(real);
    if let Some(new) = new {
        if let Err(error) = set(new, real, seen) {
            return Answer::Failed(error);
        }
    }
    if let Some(old) = old {
        *old = seen;
    }
    Answer::Done(0)
}

fn shown(mut real: libc::rlimit64) -> libc::rlimit64 {
    if real.rlim_cur == u64::from(record::top()) {
        // Raised by another thread just now; or the application's own wish, which SOFT says then.
        real.rlim_cur = SOFT.load(Ordering::Relaxed);
    }
    let shown = SHOWN.load(Ordering::Relaxed);
    if shown != 0 {
        real.rlim_max = real.rlim_max.min(shown);
    }
    real
}

fn set(new: &libc::rlimit64, real: libc::rlimit64, seen: libc::rlimit64) -> Result<(), Errno> {
    if new.rlim_cur > new.rlim_max {
        return Err(Errno(libc::EINVAL));
    }
    // SAFETY: no pointer.
    let privileged = unsafe { sys::call(libc::SYS_geteuid, [0; 6]) } == Ok(0);
    if new.rlim_max > seen.rlim_max && !privileged {
        return Err(Errno(libc::EPERM));
    }
    let try_with = |hard| sys::limit(Some(&libc::rlimit64 { rlim_cur: new.rlim_cur, rlim_max: hard }));
    let top = u64::from(record::top());
    let lasting = match new.rlim_max {
        same if same == seen.rlim_max => None,
        low if low < top - CODE => Some(top + CODE + low),
        high if high >= 2 * top => Some(high),
        _ => None,
    };
    let hard = match lasting.filter(|hard| try_with(*hard).is_ok()) {
        Some(hard) => hard,
        None => {
            // There is no room for such a code (an ordinary user's small limit): remembered in this program alone.
            let hard = new.rlim_max.max(real.rlim_max);
            try_with(hard)?;
            hard
        }
    };
    if !process::shares_memory() {
        SOFT.store(new.rlim_cur, Ordering::Relaxed);
        HARD.store(hard, Ordering::Relaxed);
        SHOWN.store(if new.rlim_max == hard { 0 } else { new.rlim_max }, Ordering::Relaxed);
    }
    Ok(())
}
