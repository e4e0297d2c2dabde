//! Descriptors: how many messages a worker may take, when it takes none, and when it does again.
//!
//! A socket that arrives where no descriptor is left is lost, and its client with it. So a worker takes only what
//! fits; before nothing does, it closes the entrance (shims find the module full and pass without it), and what is
//! already on its way waits in the queue for flows to end. The count knows flows and clients only: where a descriptor
//! is not to be had although it says so, it is not believed until the entrance opens again.

use std::mem;
use std::time::{Duration, Instant};

use modnet_abi::steal::MAX_FDS;

use crate::error::Result;
use crate::poll::Waker;
use crate::registry::entrance::Entrance;

/// While there is no room: how often it is looked for. Other workers' flows end without a word to this one.
pub const FULL: Duration = Duration::from_millis(20);

/// A flow's descriptors: left and right.
pub const EACH: u64 = 2;
/// A client's: its connection, ours to the next module, and the bells of their pools.
const CLIENT: u64 = 4;

/// One worker's view of the process's descriptors.
pub struct Room {
    entrances: Vec<Entrance>,
    limit: u64,
    workers: u64,
    closed: bool,
    /// The registry's lock takes a descriptor: this one, where there is no other.
    reserve: Option<Waker>,
    /// A descriptor was not to be had, though the count says so: when it was last looked for.
    out: Option<Instant>,
}

impl Room {
    /// `entrances`: of the queues that the worker has; `workers`: how many share the process.
    pub fn new(entrances: Vec<Entrance>, workers: u64) -> Self {
        Self { entrances, limit: limit(), workers, closed: false, reserve: Waker::new().ok(), out: None }
    }

    /// Beside flows and clients: files that hooks open, pairs on their way to the next module.
    fn slack(&self) -> u64 {
        (self.limit / 16).clamp(64, 512)
    }

    /// How many pipes a worker may have; their descriptors are of the slack.
    pub fn pipes(&self) -> usize {
        usize::try_from(self.slack() / 8).unwrap_or(usize::MAX)
    }

    /// How many messages fit, with so many descriptors used by pairs and flows of the process, and clients of this worker.
    pub fn messages(&self, pairs: u64, clients: usize) -> usize {
        let used = pairs + self.workers * CLIENT * clients as u64 + self.slack();
        let free = self.limit.saturating_sub(used) / self.workers;
        let messages = usize::try_from(free).unwrap_or(usize::MAX) / MAX_FDS;
        // With a limit below all reason one at a time is tried.
        let messages = messages.max(usize::from(pairs == 0));
        if self.out.is_none() || messages == 0 {
            return messages;
        }
        // One at a time, where all that it may bring can be had.
        usize::from(can_have(self.limit.min(4 * MAX_FDS as u64) / 4))
    }

    /// Whether shims pass without this worker.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// A descriptor was not to be had; whether that is news.
    pub fn run_out(&mut self) -> bool {
        self.out.replace(Instant::now()).is_none()
    }

    /// Whether that is still so.
    pub fn is_out(&self) -> bool {
        self.out.is_some()
    }

    /// Whether to look for descriptors now, where there were none: not at once again.
    pub fn may_look(&mut self) -> bool {
        let due = self.out.is_none_or(|looked| looked.elapsed() >= FULL);
        if due && self.is_out() {
            self.out = Some(Instant::now());
        }
        due
    }

    /// Whether it is time to open again: when a quarter of the flows has ended, not at the first.
    pub fn is_roomy(&self, pairs: u64, clients: usize) -> bool {
        self.messages(pairs + pairs / 3, clients) > 0
    }

    /// Shims pass without this worker from now on.
    ///
    /// # Errors
    /// As [`Entrance::close`]: they go on sending, and fill the queue.
    pub fn close(&mut self) -> Result<()> {
        (self.closed, self.reserve) = (true, None);
        let closed = self.entrances.iter().try_for_each(Entrance::close);
        self.reserve = Waker::new().ok();
        closed
    }

    /// They come again.
    ///
    /// # Errors
    /// As [`Entrance::open`]; it is tried again when the next flow ends.
    pub fn open(&mut self) -> Result<()> {
        self.entrances.iter().try_for_each(Entrance::open)?;
        (self.closed, self.out) = (false, None);
        Ok(())
    }
}

/// Whether this process gets so many descriptors, of files: ENFILE counts as well. Two calls each, while there were none.
fn can_have(count: u64) -> bool {
    (0..count).map(|_| Waker::new()).collect::<std::io::Result<Vec<_>>>().is_ok()
}

/// How many descriptors this process may have.
fn limit() -> u64 {
    // SAFETY: zeroes are a valid rlimit, which the kernel fills.
    let mut limit: libc::rlimit = unsafe { mem::zeroed() };
    // SAFETY: as above.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } < 0 {
        return u64::from(u32::MAX);
    }
    limit.rlim_cur.min(u64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(limit: u64, workers: u64) -> Room {
        Room { entrances: Vec::new(), limit, workers, closed: false, reserve: None, out: None }
    }

    #[test]
    fn nothing_is_taken_that_may_not_fit() {
        let room = of(20_000, 2);
        let most = |flows| room.messages(EACH * flows, 4) * MAX_FDS * 2;
        for flows in (0..10_000).step_by(7) {
            let most = most(flows) as u64;
            assert!(most == 0 || 2 * flows + most + room.slack() <= 20_000, "{flows}");
        }
        assert!(room.messages(EACH * 9_500, 4) > 0);
        assert_eq!(room.messages(EACH * 9_750, 4), 0);
        assert_eq!(room.messages(EACH * 20_000, 4), 0);
    }

    #[test]
    fn it_opens_later_than_it_closed() {
        let room = of(1024, 1);
        let closes = (0..).find(|flows| room.messages(EACH * flows, 1) == 0).unwrap();
        let opens = (0..closes).rev().find(|flows| room.is_roomy(EACH * flows, 1)).unwrap();
        assert!(opens > 300 && closes - opens > 100, "{opens} {closes}");
    }

    #[test]
    fn where_the_count_was_wrong_one_message_is_taken_at_a_time_until_it_opens() {
        let mut room = of(4 * MAX_FDS as u64, 1);
        let most = room.messages(0, 0);
        assert!(most > 1 && room.run_out() && !room.run_out());
        assert_eq!((room.messages(0, 0), room.messages(EACH * 20_000, 0)), (1, 0));
        room.open().unwrap();
        assert!(!room.is_out());
        assert_eq!(room.messages(0, 0), most);
    }

    #[test]
    fn it_opens_at_last_however_small_the_limit() {
        for limit in [10, 100, 400, 1024] {
            assert!(of(limit, 8).is_roomy(0, 0), "{limit}");
        }
    }
}
