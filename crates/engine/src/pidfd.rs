//! Waiting for processes to end: pidfds in one epoll set, and an eventfd to be woken by.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Marks the eventfd among the pids.
const WAKE: u64 = u64::MAX;
const BATCH: usize = 64;

/// A descriptor that becomes readable when the process ends.
pub fn open(pid: u32) -> io::Result<OwnedFd> {
    let pid = libc::pid_t::try_from(pid).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?;
    // SAFETY: a plain system call; the result is checked.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    own(i32::try_from(fd).unwrap_or(-1))
}

/// The epoll set.
pub struct Poller {
    epoll: OwnedFd,
    wake: OwnedFd,
}

impl Poller {
    /// An empty set.
    pub fn new() -> io::Result<Self> {
        // SAFETY: plain system calls; the results are checked.
        let (epoll, wake) = unsafe {
            (
                own(libc::epoll_create1(libc::EPOLL_CLOEXEC))?,
                own(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))?,
            )
        };
        let poller = Self { epoll, wake };
        poller.register(poller.wake.as_raw_fd(), WAKE)?;
        Ok(poller)
    }

    /// Watches a pidfd; closing it ends that.
    pub fn add(&self, fd: RawFd, pid: u32) -> io::Result<()> {
        self.register(fd, u64::from(pid))
    }

    fn register(&self, fd: RawFd, mark: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: mark };
        // SAFETY: `event` is a whole epoll_event.
        let result =
            unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Makes `wait` return.
    pub fn wake(&self) {
        let one = 1u64;
        // SAFETY: eight bytes from a u64. It fails only where the count is full, and then `wait` returns anyway.
        unsafe { libc::write(self.wake.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    /// The processes that have ended; empty after a wake, a signal or the timeout.
    pub fn wait(&self, timeout: Option<Duration>) -> Vec<u32> {
        // Rounded up, so that a deadline has passed when this returns.
        let timeout = timeout.map_or(-1, |t| i32::try_from(t.as_millis() + 1).unwrap_or(i32::MAX));
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; BATCH];
        // SAFETY: the kernel writes at most BATCH events into an array of BATCH.
        let count =
            unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), BATCH as i32, timeout) };
        let mut gone = Vec::new();
        for event in events.iter().take(usize::try_from(count).unwrap_or(0)) {
            match event.u64 {
                WAKE => self.drain(),
                pid => gone.extend(u32::try_from(pid)),
            }
        }
        gone
    }

    fn drain(&self) {
        let mut count = 0u64;
        // SAFETY: eight bytes into a u64; the eventfd is non-blocking, and an empty one is as good.
        unsafe { libc::read(self.wake.as_raw_fd(), (&raw mut count).cast(), 8) };
    }
}

fn own(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
