//! Something that an epoll set can be told of, by a bit that says what it is.
//!
//! A pipe of one page holds one message: with it in, there is no room; without, there is (EPOLLWRNORM). Nobody who watches sockets for
//! input asks for that bit alone, so an event that has it is a bell's. Rejected: an eventfd, whose bits are anybody's.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The least that a pipe holds.
const PAGE: i32 = 4096;

/// A bell.
#[derive(Debug)]
pub struct Bell {
    reading: OwnedFd,
    writing: OwnedFd,
}

impl Bell {
    /// One that is silent.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub fn new() -> io::Result<Self> {
        let mut fds = [-1; 2];
        // SAFETY: the kernel writes two descriptors, which are ours when the call succeeds.
        let [reading, writing] = unsafe {
            if libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) < 0 {
                return Err(io::Error::last_os_error());
            }
            fds.map(|fd| OwnedFd::from_raw_fd(fd))
        };
        // SAFETY: no memory is passed.
        if unsafe { libc::fcntl(writing.as_raw_fd(), libc::F_SETPIPE_SZ, PAGE) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let bell = Self { reading, writing };
        bell.silence();
        Ok(bell)
    }

    /// For the epoll set.
    #[must_use]
    pub fn number(&self) -> RawFd {
        self.writing.as_raw_fd()
    }

    /// Rings until it is silenced.
    pub fn ring(&self) {
        let mut page = [0u8; PAGE as usize];
        // SAFETY: as many bytes may be written. EAGAIN: it rings already.
        unsafe { libc::read(self.reading.as_raw_fd(), page.as_mut_ptr().cast(), page.len()) };
    }

    /// Is silent until it rings.
    pub fn silence(&self) {
        let page = [0u8; PAGE as usize];
        // SAFETY: as many bytes are readable. EAGAIN: it is silent already.
        unsafe { libc::write(self.writing.as_raw_fd(), page.as_ptr().cast(), page.len()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rings(bell: &Bell) -> bool {
        let mut poll = libc::pollfd { fd: bell.number(), events: libc::POLLWRNORM, revents: 0 };
        // SAFETY: one whole pollfd; the call does not wait.
        unsafe { libc::poll(&raw mut poll, 1, 0) == 1 && poll.revents & libc::POLLWRNORM != 0 }
    }

    #[test]
    fn it_rings_until_it_is_silenced_however_often_it_was_rung() {
        let bell = Bell::new().unwrap();
        assert!(!rings(&bell));
        bell.ring();
        bell.ring();
        assert!(rings(&bell));
        bell.silence();
        bell.silence();
        assert!(!rings(&bell));
        bell.ring();
        assert!(rings(&bell));
    }
}
