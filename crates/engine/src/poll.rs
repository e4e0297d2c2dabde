//! epoll, edge-triggered, with tokens. Nobody else makes these calls for flows.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::flow::Ready;

/// Events of one wait: a burst of accepts and their flows; more only come one call later.
const BATCH: usize = 512;
/// Waits from here on are counted in milliseconds: they are for clocks of people.
const COARSE: Duration = Duration::from_millis(20);

/// A poller and the events that it last gave.
pub struct Poller {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
    /// Whether the kernel takes a wait's limit in milliseconds only (before Linux 5.11).
    coarse: bool,
}

/// One event.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// As given to [`Poller::add`].
    pub token: u64,
    /// What was seen.
    pub ready: Ready,
}

impl Poller {
    /// A new one.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no memory is passed; the descriptor is ours.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: as above.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd, events: vec![libc::epoll_event { events: 0, u64: 0 }; BATCH], coarse: false })
    }

    /// Watches a flow's socket for input and ends, and for room where `room` says so; edge-triggered.
    ///
    /// # Errors
    /// ENOSPC, ENOMEM.
    pub fn add(&self, fd: RawFd, token: u64, room: bool) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, edge(room))
    }

    /// Watches for room only, edge-triggered; see [`Poller::change_room`].
    ///
    /// # Errors
    /// As [`Poller::add`].
    pub fn add_room(&self, fd: RawFd, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, edge_of_room(false))
    }

    /// Of what only room is of interest: whether it is told now.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn change_room(&self, fd: RawFd, token: u64, room: bool) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, edge_of_room(room))
    }

    /// Changes whether room is told; what is ready now is told again.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn change(&self, fd: RawFd, token: u64, room: bool) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, edge(room))
    }

    /// Watches for input, level-triggered: listening sockets and steal queues.
    ///
    /// # Errors
    /// As [`Poller::add`].
    pub fn add_level(&self, fd: RawFd, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, libc::EPOLLIN as u32)
    }

    /// What [`Poller::add_level`] watches is left alone for a while, or watched again. The kernel needs nothing for that.
    pub fn change_level(&self, fd: RawFd, token: u64, watched: bool) {
        let _ = self.control(libc::EPOLL_CTL_MOD, fd, token, if watched { libc::EPOLLIN as u32 } else { 0 });
    }

    /// No longer watches; closing is enough where nobody else holds the socket.
    pub fn remove(&self, fd: RawFd) {
        let _ = self.control(libc::EPOLL_CTL_DEL, fd, 0, 0);
    }

    /// Waits for events, at most so long (None: for ever). A signal is no event.
    ///
    /// # Errors
    /// Only for a fault of ours.
    pub fn wait(&mut self, limit: Option<Duration>) -> io::Result<usize> {
        loop {
            let is_fine = !self.coarse && limit.is_some_and(|limit| limit < COARSE);
            let count = if is_fine { self.wait_finely(limit) } else { self.wait_coarsely(limit) };
            return match usize::try_from(count) {
                Ok(count) => Ok(count),
                Err(_) => match io::Error::last_os_error() {
                    e if e.kind() == io::ErrorKind::Interrupted => Ok(0),
                    e if is_fine && matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                        // EPERM is what filters of system calls say of those that they do not know.
                        self.coarse = true;
                        continue;
                    }
                    e => Err(e),
                },
            };
        }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // BATCH
    fn wait_coarsely(&mut self, limit: Option<Duration>) -> i32 {
        let timeout = limit.map_or(-1, |limit| {
            // Rounded up: a timer must not be looked at before its time.
            i32::try_from(limit.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
        });
        // SAFETY: `events` has room for so many.
        unsafe {
            libc::epoll_wait(self.fd.as_raw_fd(), self.events.as_mut_ptr(), self.events.len() as i32, timeout)
        }
    }

    /// By the call itself: glibc has it since 2.35 only.
    #[allow(clippy::cast_possible_truncation)] // a count of events
    fn wait_finely(&mut self, limit: Option<Duration>) -> i32 {
        let limit = limit.unwrap_or(COARSE);
        // SAFETY: zeroes are a valid timespec.
        let mut timeout: libc::timespec = unsafe { std::mem::zeroed() };
        timeout.tv_nsec = limit.subsec_nanos().into();
        let no_mask = std::ptr::null::<libc::sigset_t>();
        // SAFETY: `events` has room for so many; the timespec lives through the call; no mask is passed.
        let result = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.fd.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.len(),
                &raw const timeout,
                no_mask,
                0usize,
            )
        };
        result as i32
    }

    /// One of the events of the last [`Poller::wait`].
    #[must_use]
    pub fn event(&self, index: usize) -> Event {
        let event = self.events[index];
        let bits = event.events;
        let has = |flags: i32| bits & flags as u32 != 0;
        Event {
            token: event.u64,
            ready: Ready {
                readable: has(libc::EPOLLIN | libc::EPOLLERR),
                writable: has(libc::EPOLLOUT),
                half: has(libc::EPOLLRDHUP),
                hang_up: has(libc::EPOLLHUP),
                failed: has(libc::EPOLLERR),
                urgent: has(libc::EPOLLPRI),
            },
        }
    }

    fn control(&self, op: i32, fd: RawFd, token: u64, events: u32) -> io::Result<()> {
        let mut event = libc::epoll_event { events, u64: token };
        // SAFETY: `event` lives through the call.
        if unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), op, fd, &raw mut event) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

impl AsRawFd for Poller {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

fn edge(room: bool) -> u32 {
    let room = if room { libc::EPOLLOUT } else { 0 };
    (libc::EPOLLIN | libc::EPOLLPRI | libc::EPOLLRDHUP | libc::EPOLLET | room) as u32
}

/// Waits until there is something to read, or an end; false: not in time.
///
/// # Errors
/// EINTR: a signal has come.
pub fn wait_readable(fd: BorrowedFd<'_>, limit: Option<Duration>) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // Rounded up, as above.
    let limit = limit.map_or(-1, |l| i32::try_from(l.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX));
    // SAFETY: one whole pollfd.
    match unsafe { libc::poll(&raw mut poll, 1, limit) } {
        -1 => Err(io::Error::last_os_error()),
        count => Ok(count > 0),
    }
}

fn edge_of_room(room: bool) -> u32 {
    (libc::EPOLLET | if room { libc::EPOLLOUT } else { 0 }) as u32
}

/// An eventfd by which other threads wake the one that waits.
#[derive(Debug)]
pub struct Waker(OwnedFd);

impl Waker {
    /// A new one.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no memory is passed; the descriptor is ours when the call succeeds.
        unsafe {
            let fd = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Self(OwnedFd::from_raw_fd(fd)))
        }
    }

    /// Wakes.
    pub fn ring(&self) {
        // SAFETY: eight bytes are read from a u64. EAGAIN means that it rings already.
        unsafe { libc::write(self.0.as_raw_fd(), (&raw const ONE).cast(), 8) };
    }

    /// Was heard.
    pub fn clear(&self) {
        let mut count = 0u64;
        // SAFETY: eight bytes are written to a u64. EAGAIN means that it does not ring.
        unsafe { libc::read(self.0.as_raw_fd(), (&raw mut count).cast(), 8) };
    }
}

static ONE: u64 = 1;

impl AsRawFd for Waker {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// Forced: what the kernel of the day has is not what all have.
    #[test]
    fn a_wait_lasts_at_least_its_time_whether_or_not_the_kernel_counts_less_than_a_millisecond() {
        for coarse in [false, true] {
            let mut poller = Poller { coarse, ..Poller::new().unwrap() };
            for limit in [300, 2_000, 21_000].map(Duration::from_micros) {
                let started = Instant::now();
                assert_eq!(poller.wait(Some(limit)).unwrap(), 0);
                assert!(started.elapsed() >= limit, "{limit:?}");
            }
        }
    }

    #[test]
    fn what_rings_is_told_by_either_wait() {
        for coarse in [false, true] {
            let mut poller = Poller { coarse, ..Poller::new().unwrap() };
            let waker = Waker::new().unwrap();
            poller.add_level(waker.as_raw_fd(), 7).unwrap();
            waker.ring();
            for limit in [Some(Duration::from_micros(300)), Some(Duration::from_secs(9)), None] {
                assert_eq!(poller.wait(limit).unwrap(), 1);
                assert_eq!((poller.event(0).token, poller.event(0).ready.readable), (7, true));
            }
        }
    }
}
