//! EPOLL_YANK_REQ and `modnet_yankwrite`: a program with its own loop gives bytes back that came from its left sockets.
//!
//! | who | does |
//! | --- | --- |
//! | the program | asks to be told of a left socket ([`listen`]); without, who yanks through it hears EOPNOTSUPP |
//! | whoever yanks | the socket's bell rings; the length is in [`requested`] |
//! | the program | takes back what it made of those bytes, and writes them as they had come, in pieces, by [`write`]; an empty piece ends an answer that is shorter |
//! | the thread of who yanks | carries them on as they come; at most [`crate::revoke::buffer`] bytes lie here |
//!
//! Rules: the program's loop never waits for who yanks longer than for room in the buffer, and that at most the time of a yank. What
//! was written and does not arrive is lost with who asked: a program's streams are its own, and nothing can be put back into them.

use std::collections::HashMap;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::bell::Bell;
use crate::error::{Error, Result};
use crate::revoke::{buffer, peer, timeout, Step, Ticket, Yanker};

/// By the left socket's inode.
static LEFTS: Mutex<Option<HashMap<u32, Left>>> = Mutex::new(None);
static CHANGED: Condvar = Condvar::new();

/// After so many more, closed ones are looked for.
const SWEEP: usize = 256;

struct Left {
    bell: Bell,
    request: Option<Request>,
}

/// What somebody asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Bytes, at most.
    pub length: usize,
    /// Those that were written already.
    pub given: usize,
}

#[derive(Default)]
struct Request {
    length: usize,
    given: usize,
    /// Written, and not carried on yet.
    buffer: Vec<u8>,
    ended: bool,
}

impl Request {
    fn is_over(&self) -> bool {
        self.ended || self.given == self.length
    }
}

/// The descriptor that has room (EPOLLWRNORM) while there is a request for a left socket. It is the process's.
///
/// # Errors
/// EBADF, ENOTSOCK, EMFILE.
pub fn listen(left: RawFd) -> Result<RawFd> {
    let ino = inode(left)?;
    let mut lefts = lefts();
    let all = lefts.get_or_insert_default();
    if let Some(left) = all.get(&ino) {
        return Ok(left.bell.number());
    }
    if all.len() % SWEEP == SWEEP - 1 {
        // Those that were closed and not taken out of their epoll set.
        if let Some(mine) = peer::own() {
            all.retain(|ino, _| mine.contains(ino));
        }
    }
    let bell = Bell::new().map_err(|e| Error::system("cannot make a pipe", &e))?;
    let number = bell.number();
    all.insert(ino, Left { bell, request: None });
    Ok(number)
}

/// The program does not answer for a left socket any more; to be called before it is closed.
pub fn forget(left: RawFd) {
    let Ok(ino) = inode(left) else { return };
    drop(lefts().as_mut().and_then(|all| all.remove(&ino)));
    CHANGED.notify_all();
}

/// What is asked of a left socket.
///
/// # Errors
/// EAGAIN: nothing, or not any more.
pub fn requested(left: RawFd) -> Result<Asked> {
    let ino = inode(left)?;
    let lefts = lefts();
    let request = lefts.as_ref().and_then(|all| all.get(&ino)?.request.as_ref()).filter(|r| !r.is_over());
    request.map(|request| Asked { length: request.length, given: request.given }).ok_or_else(nobody)
}

/// Gives bytes back, as many as there is room for; none at all: there are no more. How many were taken.
///
/// # Errors
/// EAGAIN: nobody asks, or not any more; EMSGSIZE: more than were asked for.
pub fn write(left: RawFd, data: &[u8]) -> Result<usize> {
    let ino = inode(left)?;
    let (most, end) = (buffer()?, Instant::now() + timeout()?);
    let mut lefts = lefts();
    loop {
        let request = lefts.as_mut().and_then(|all| all.get_mut(&ino)?.request.as_mut());
        let request = request.filter(|request| !request.is_over()).ok_or_else(nobody)?;
        if data.is_empty() {
            request.ended = true;
            CHANGED.notify_all();
            return Ok(0);
        }
        if data.len() > request.length - request.given {
            return Err(Error::new(
                libc::EMSGSIZE,
                "more bytes than were asked for: the last of them are meant",
            ));
        }
        let room = most.saturating_sub(request.buffer.len()).min(data.len());
        if room > 0 {
            request.buffer.extend_from_slice(&data[..room]);
            request.given += room;
            CHANGED.notify_all();
            return Ok(room);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(nobody());
        }
        lefts = CHANGED.wait_timeout(lefts, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Answers who yanks, on the threads of their connections.
#[derive(Debug)]
pub struct Requests;

impl Yanker for Requests {
    fn take(&self, ino: u32, session: u64, length: usize) -> Result<Step> {
        let ticket = Ticket { worker: 0, flow: u64::from(ino), session };
        let end = Instant::now() + timeout()?;
        let mut all = lefts();
        let Some(left) = all.as_mut().and_then(|all| all.get_mut(&ino)) else {
            drop(all);
            return Err(unknown(ino));
        };
        if left.request.is_some() {
            return Err(Error::new(libc::EAGAIN, "somebody else takes this flow's unsent bytes; try again"));
        }
        if length == 0 {
            return Ok(Step::Ready(ticket, Vec::new()));
        }
        left.request = Some(Request { length, ..Request::default() });
        left.bell.ring();
        let mut bytes = Vec::new();
        loop {
            let Some(left) = all.as_mut().and_then(|all| all.get_mut(&ino)) else {
                return Err(Error::new(libc::ENOTCONN, "the flow is over"));
            };
            let Some(request) = &mut left.request else { return Err(nobody()) };
            bytes.append(&mut request.buffer);
            let (is_over, rest) = (request.is_over(), end.saturating_duration_since(Instant::now()));
            CHANGED.notify_all();
            if is_over || rest.is_zero() {
                left.request = None;
                left.bell.silence();
            }
            if is_over {
                return Ok(Step::Ready(ticket, bytes));
            }
            if rest.is_zero() {
                return Err(Error::new(libc::ETIMEDOUT, "the module does not answer EPOLL_YANK_REQ in time"));
            }
            all = CHANGED.wait_timeout(all, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn supply(&self, _ticket: Ticket, bytes: Vec<u8>) -> Result<Vec<u8>> {
        Ok(bytes)
    }

    fn settle(&self, _ticket: Ticket, _taken: usize, _hold: bool) {}
}

/// A socket that nobody listens for: whether it is one of this process's decides what who asks hears.
fn unknown(ino: u32) -> Error {
    if peer::own().is_some_and(|mine| mine.contains(&ino)) {
        return Error::new(
            libc::EOPNOTSUPP,
            "this module has not asked for EPOLL_YANK_REQ: it gives nothing back",
        );
    }
    Error::new(libc::ENOENT, "no flow of this module has that socket")
}

fn nobody() -> Error {
    Error::new(libc::EAGAIN, "nobody asks for bytes of this socket")
}

fn inode(fd: RawFd) -> Result<u32> {
    if fd < 0 {
        return Err(Error::new(libc::EBADF, "not a descriptor"));
    }
    // SAFETY: the caller's, open during its call.
    peer::inode(unsafe { BorrowedFd::borrow_raw(fd) })
}

fn lefts() -> MutexGuard<'static, Option<HashMap<u32, Left>>> {
    LEFTS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsFd, AsRawFd};
    use std::os::unix::net::UnixStream;

    #[test]
    fn an_answer_comes_in_pieces_and_is_whole() {
        let (_near, left) = UnixStream::pair().unwrap();
        let (fd, ino) = (left.as_raw_fd(), peer::inode(left.as_fd()).unwrap());
        listen(fd).unwrap();
        assert_eq!(requested(fd).unwrap_err().errno, libc::EAGAIN);
        assert_eq!(write(fd, b"x").unwrap_err().errno, libc::EAGAIN);
        let asking = std::thread::spawn(move || Requests.take(ino, 1, 5));
        let asked = loop {
            match requested(fd) {
                Ok(asked) => break asked,
                Err(_) => std::thread::yield_now(),
            }
        };
        assert_eq!(asked, Asked { length: 5, given: 0 });
        assert_eq!(write(fd, b"toolong").unwrap_err().errno, libc::EMSGSIZE);
        assert_eq!(write(fd, b"ab").unwrap(), 2);
        assert_eq!(write(fd, b"c").unwrap(), 1);
        assert_eq!(requested(fd).unwrap(), Asked { length: 5, given: 3 });
        assert_eq!(write(fd, b"").unwrap(), 0);
        let Step::Ready(_, bytes) = asking.join().unwrap().unwrap() else { panic!("a step of its own") };
        assert_eq!(bytes, b"abc");
        forget(fd);
        assert_eq!(Requests.take(ino, 1, 5).unwrap_err().errno, libc::EOPNOTSUPP);
        drop(left);
        assert_eq!(Requests.take(ino, 1, 5).unwrap_err().errno, libc::ENOENT);
    }
}
