//! Pipes, through which the bytes of a busy way without hooks go from socket to socket without being copied.
//!
//! A first read that is filled says that more is coming: from then on the way is spliced, until a splice brings little.
//! What the destination has not taken stays in the pipe, which is the flow's until it is empty. Where no pipe can be had
//! (descriptors, the user's share of pipe memory) the bytes are read and sent as before. Behind a head that came by shared memory
//! ([`super::inline`]) the kernel is asked how much there is, and told that it follows the head. Rejected: splicing every read;
//! below some 50 KB two splices cost more than two copies.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use crate::sock::{self, Outcome};

/// Slots of a page each; a UNIX socket's default buffer fills some 50.
const BYTES: i32 = 256 * 1024;
/// Bytes of a first read.
pub const FIRST: usize = 32 * 1024;
/// A splice that brings less than this was the last for now.
pub const WORTH: usize = 32 * 1024;
/// Idle pipes that are kept for good. Those beyond are kept as long as they are in use again and again: to make one and close it
/// costs as much as a splice.
const KEPT: usize = 8;

/// A pipe, empty unless a flow has it.
#[derive(Debug)]
pub struct Pipe {
    reading: OwnedFd,
    writing: OwnedFd,
    /// All of the worker's; counted by holding it.
    _living: Arc<()>,
}

impl Pipe {
    fn new(living: &Arc<()>) -> io::Result<Self> {
        let mut fds = [0; 2];
        // SAFETY: the kernel writes two descriptors.
        if unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) } < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: they are new, and nobody else's.
        let [reading, writing] = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        let pipe = Self { reading, writing, _living: Arc::clone(living) };
        // A smaller one does as well, in more steps.
        // SAFETY: no memory is passed.
        unsafe { libc::fcntl(pipe.writing.as_raw_fd(), libc::F_SETPIPE_SZ, BYTES) };
        Ok(pipe)
    }

    /// Takes what a socket has, at most `most` bytes.
    pub fn fill(&self, from: &OwnedFd, most: usize) -> Outcome {
        match sock::splice(from, &self.writing, most, false) {
            Outcome::Bytes(0) => Outcome::End,
            other => other,
        }
    }

    /// Reads the `count` bytes that are in it, in their order.
    pub fn read(&self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let mut filled = 0;
        while filled < count {
            let room = &mut bytes[filled..];
            // SAFETY: `room` is writable for its length.
            let got = unsafe { libc::read(self.reading.as_raw_fd(), room.as_mut_ptr().cast(), room.len()) };
            match usize::try_from(got) {
                Ok(got @ 1..) => filled += got,
                Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                // Never: they are there, and nobody else reads.
                _ => break,
            }
        }
        bytes.truncate(filled);
        bytes
    }

    /// Gives a socket `count` bytes of what is in it; `more`: the end of the stream follows.
    pub fn empty(&self, to: &OwnedFd, count: usize, more: bool) -> Outcome {
        sock::splice(&self.reading, to, count, more)
    }
}

/// A worker's pipes.
#[derive(Debug)]
pub struct Pipes {
    idle: Vec<Pipe>,
    /// The fewest that were idle since the last [`Pipes::trim`].
    least: usize,
    living: Arc<()>,
    most: usize,
}

impl Pipes {
    /// At most so many at a time.
    pub fn new(most: usize) -> Self {
        Self { idle: Vec::new(), least: 0, living: Arc::default(), most }
    }

    /// An empty one, if it can be had.
    pub fn take(&mut self) -> Option<Pipe> {
        let pipe = self.idle.pop();
        self.least = self.least.min(self.idle.len());
        pipe.or_else(|| {
            // One hold is our own.
            (Arc::strong_count(&self.living) <= self.most).then(|| Pipe::new(&self.living).ok()).flatten()
        })
    }

    /// One that is empty again. One in which bytes are left that nobody wants is dropped instead.
    pub fn give(&mut self, pipe: Pipe) {
        self.idle.push(pipe);
    }

    /// Whether there are more than are kept for good.
    pub fn has_surplus(&self) -> bool {
        self.idle.len() > KEPT
    }

    /// Closes what was not needed since the last time. How many may be closed another time.
    pub fn trim(&mut self) -> usize {
        let kept = self.idle.len() - self.least;
        self.idle.truncate(kept.max(KEPT));
        self.least = self.idle.len();
        self.idle.len().saturating_sub(KEPT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn bytes_go_through_and_what_does_not_fit_stays() {
        let (mut near, left) = UnixStream::pair().unwrap();
        let (right, mut far) = UnixStream::pair().unwrap();
        let (left, right): (OwnedFd, OwnedFd) = (left.into(), right.into());
        let pipe = Pipe::new(&Arc::default()).unwrap();
        assert_eq!(pipe.fill(&left, 1000), Outcome::Again);
        near.write_all(b"some bytes").unwrap();
        assert_eq!(pipe.fill(&left, 4), Outcome::Bytes(4));
        assert_eq!(pipe.empty(&right, 4, false), Outcome::Bytes(4));
        assert_eq!(pipe.fill(&left, 1000), Outcome::Bytes(6));
        drop(near);
        assert_eq!(pipe.empty(&right, 6, true), Outcome::Bytes(6));
        assert_eq!(pipe.fill(&left, 1000), Outcome::End);
        drop(right);
        let mut all = String::new();
        far.read_to_string(&mut all).unwrap();
        assert_eq!(all, "some bytes");
    }

    #[test]
    fn there_are_never_more_than_allowed() {
        let mut pipes = Pipes::new(2);
        let (first, second) = (pipes.take().unwrap(), pipes.take().unwrap());
        assert!(pipes.take().is_none());
        pipes.give(first);
        let first = pipes.take().unwrap();
        drop(second);
        let third = pipes.take().unwrap();
        assert!(pipes.take().is_none());
        pipes.give(first);
        pipes.give(third);
    }

    #[test]
    fn those_that_nobody_needs_any_more_are_closed() {
        let mut pipes = Pipes::new(KEPT + 4);
        let used: Vec<_> = (0..KEPT + 4).map(|_| pipes.take().unwrap()).collect();
        assert!(!pipes.has_surplus());
        used.into_iter().for_each(|pipe| pipes.give(pipe));
        assert!(pipes.has_surplus());
        // All were in use a moment ago, then all but two.
        assert_eq!(pipes.trim(), 4);
        let used: Vec<_> = (0..KEPT + 2).map(|_| pipes.take().unwrap()).collect();
        used.into_iter().for_each(|pipe| pipes.give(pipe));
        assert_eq!(pipes.trim(), 2);
        assert_eq!((pipes.trim(), pipes.has_surplus()), (0, false));
        assert_eq!(Arc::strong_count(&pipes.living), KEPT + 1);
    }
}
