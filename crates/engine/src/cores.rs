//! Which cores there are, and a thread's place on them.

use std::mem;

/// Cores that a shim may run on: all that the system is configured for.
#[must_use]
pub fn configured() -> Vec<u32> {
    // SAFETY: no memory is passed.
    let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) };
    (0..u32::try_from(count).unwrap_or(1).max(1)).collect()
}

/// Cores that this process may run on.
#[must_use]
pub fn usable() -> Vec<u32> {
    // SAFETY: zeroes are an empty set; the kernel fills at most its size.
    unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        if libc::sched_getaffinity(0, mem::size_of_val(&set), &raw mut set) < 0 {
            return vec![0];
        }
        #[allow(clippy::cast_possible_truncation)] // CPU_SETSIZE
        let all: Vec<u32> = (0..libc::CPU_SETSIZE as usize)
            .filter(|cpu| libc::CPU_ISSET(*cpu, &set))
            .map(|cpu| cpu as u32)
            .collect();
        if all.is_empty() {
            vec![0]
        } else {
            all
        }
    }
}

/// Keeps the calling thread on a core. A refusal (a core gone offline) leaves it where it may be.
pub fn pin(core: u32) {
    // SAFETY: the set is whole, and lives through the call.
    unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        libc::CPU_SET(core as usize, &mut set);
        libc::sched_setaffinity(0, mem::size_of_val(&set), &raw const set);
    }
}

/// SCHED_BATCH: a wake-up does not interrupt the application that shares the core, so that more is done in one turn
/// (half of the involuntary switches in the prototypes). Needs no privilege.
pub fn prefer_batches() {
    // SAFETY: the parameter is whole.
    unsafe {
        let parameter = libc::sched_param { sched_priority: 0 };
        libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameter);
    }
}
