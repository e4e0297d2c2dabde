//! `modnet_yank`: bytes that have not been sent, taken back by whoever has written them.
//!
//! | descriptor | who has the bytes |
//! | --- | --- |
//! | an application's intermediate socket | its chain, see [`crate::revoke`] |
//! | a module's right, where that is a pair to the next module | the rest of the chain |
//! | a TCP socket | the kernel |
//!
//! Rules: a lock is kept by a connection to the module, one a descriptor, which ends with the process. What was asked for
//! without waiting (`dont_wait`) is fetched by a thread and lies ready for the next call. The table is by the socket's inode, so a
//! descriptor that was closed and is another's now finds nothing.

use std::collections::HashMap;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use super::bell::Bell;
use super::state::{intermediate, is_tcp, Mapped};
use crate::error::{Error, Result};
use crate::revoke::client::{self, Asked, Line};
use crate::revoke::{peer, Next, MOST};
use crate::runtime::Runtime;

/// What is asked for: [`Asked`], and whether to wait.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Bytes, lock.
    pub asked: Asked,
    /// EAGAIN instead of waiting; the bell of [`ready`] rings when the same call has an answer.
    pub dont_wait: bool,
}

/// After so many more, closed ones are looked for.
const SWEEP: usize = 256;

/// By the near end's inode.
static SOCKETS: Mutex<Option<HashMap<u32, Socket>>> = Mutex::new(None);

#[derive(Default)]
struct Socket {
    /// While a lock is held.
    line: Option<Line>,
    /// What was fetched without waiting; None: it is on its way, or nothing was asked.
    fetched: Option<Result<Vec<u8>>>,
    /// Whether a thread is fetching.
    fetching: bool,
    bell: Option<Bell>,
}

/// Takes or copies the last unsent bytes.
///
/// # Errors
/// EAGAIN: not without waiting, or somebody else takes or holds them; EOPNOTSUPP: a module of the chain gives nothing back, or a
/// plain TCP socket; ETIMEDOUT; EBADF, ENOTSOCK; EINVAL.
pub fn yank(fd: RawFd, call: Call) -> Result<Vec<u8>> {
    if call.asked.length > MOST {
        return Err(Error::new(libc::EINVAL, format!("at most {MOST} bytes are taken at once")));
    }
    if !intermediate(fd) && is_tcp(fd).unwrap_or(false) {
        return from_kernel(fd, call);
    }
    let ino = near(fd)?;
    let waited = with(ino, |socket| {
        if socket.fetching {
            return Err(Error::new(libc::EAGAIN, "the bytes are on their way"));
        }
        Ok(socket.fetched.take())
    })?;
    if let Some(answer) = waited {
        with(ino, |socket| socket.bell.as_ref().map(Bell::silence));
        tidy(ino);
        return answer;
    }
    if !call.dont_wait {
        let answer = fetch(ino, call.asked);
        tidy(ino);
        return answer;
    }
    with(ino, |socket| socket.fetching = true);
    let work = move || {
        let answer = fetch(ino, call.asked);
        with(ino, |socket| {
            (socket.fetching, socket.fetched) = (false, Some(answer));
            if let Some(bell) = &socket.bell {
                bell.ring();
            }
        });
    };
    if let Err(error) = thread::Builder::new().name("modnet-yank".to_owned()).spawn(work) {
        with(ino, |socket| socket.fetching = false);
        return Err(Error::system("cannot start a thread", &error));
    }
    Err(Error::new(libc::EAGAIN, "the bytes are on their way"))
}

/// A plain TCP socket: no module has its bytes.
#[cfg(feature = "kernel-yank")]
fn from_kernel(fd: RawFd, call: Call) -> Result<Vec<u8>> {
    if call.asked.lock != "none" {
        return Err(Error::new(
            libc::EOPNOTSUPP,
            "the kernel does not hold what it has been given: use modnet.revoke.RevocableSocket, or a module",
        ));
    }
    // SAFETY: the caller's, open during its call.
    super::kernel::yank(unsafe { BorrowedFd::borrow_raw(fd) }, call.asked.length, call.asked.peek)
}

#[cfg(not(feature = "kernel-yank"))]
fn from_kernel(_fd: RawFd, _call: Call) -> Result<Vec<u8>> {
    Err(Error::new(libc::EOPNOTSUPP, "this build of modnet has no kernel yank (feature kernel-yank)"))
}

/// A descriptor for an epoll set: it has room (EPOLLWRNORM) while a call that did not wait has its answer. It is the process's.
///
/// # Errors
/// As [`yank`]; EMFILE and its like.
pub fn ready(fd: RawFd) -> Result<RawFd> {
    let ino = near(fd)?;
    if let Some(all) = sockets().as_mut().filter(|all| all.len() % SWEEP == SWEEP - 1) {
        // Those that were closed, and nobody has asked for since.
        if let Some(mine) = peer::own() {
            all.retain(|ino, _| mine.contains(ino));
        }
    }
    with(ino, |socket| {
        if socket.bell.is_none() {
            socket.bell = Some(Bell::new().map_err(|e| Error::system("cannot make a pipe", &e))?);
        }
        Ok(socket.bell.as_ref().map_or(-1, Bell::number))
    })
}

/// Ends what is left of a descriptor that the caller is about to close: its lock, what was fetched for it.
pub fn forget(fd: RawFd) {
    if let Ok(ino) = near(fd) {
        drop(sockets().as_mut().and_then(|all| all.remove(&ino)));
    }
}

fn fetch(ino: u32, asked: Asked) -> Result<Vec<u8>> {
    // One at a time: a line is taken out while it is used.
    let held = with(ino, |socket| socket.line.take());
    let (line, bytes) = match held {
        Some(line) => {
            let bytes = line.ask(&asked);
            (line, bytes)
        }
        None if asked.lock == "unlock" && asked.length == 0 => return Ok(Vec::new()),
        None => {
            let (line, bytes) = match client::ask(&next(ino)?, &asked) {
                // Nobody has anything of it any more.
                Err(error) if error.errno == libc::ENOTCONN => return Ok(Vec::new()),
                found => found?,
            };
            let locks = asked.lock == "lock";
            if !asked.peek {
                line.taken(bytes.len())?;
            }
            if locks {
                with(ino, |socket| socket.line = Some(line));
            }
            return Ok(bytes);
        }
    };
    let bytes = bytes?;
    if !asked.peek {
        line.taken(bytes.len())?;
    }
    if asked.lock != "unlock" {
        with(ino, |socket| socket.line = Some(line));
    }
    Ok(bytes)
}

/// The inode of the near end.
fn near(fd: RawFd) -> Result<u32> {
    if fd < 0 {
        return Err(Error::new(libc::EBADF, "not a descriptor"));
    }
    // SAFETY: the caller's, open during its call.
    let socket = unsafe { BorrowedFd::borrow_raw(fd) };
    let ino = peer::inode(socket)?;
    if !intermediate(fd) {
        return Err(Error::new(
            libc::EOPNOTSUPP,
            "no module has this socket's bytes: neither an intermediate socket nor a right that leads to a module",
        ));
    }
    Ok(ino)
}

/// Whom to ask: the chain of this process, which may have changed since; [`client::ask`] looks further.
fn next(ino: u32) -> Result<Next> {
    let mapped = Mapped::of_process();
    let runtime = mapped.map_or_else(Runtime::from_env, |mapped| Runtime::at(&mapped.runtime))?;
    let names = mapped.and_then(Mapped::applied).map_or_else(Vec::new, |applied| applied.chain);
    Ok(Next { runtime, names, ino })
}

/// A socket of which nothing is kept needs no entry.
fn tidy(ino: u32) {
    if let Some(all) = sockets().as_mut() {
        let is_used = |s: &Socket| s.line.is_some() || s.fetched.is_some() || s.fetching || s.bell.is_some();
        if all.get(&ino).is_some_and(|socket| !is_used(socket)) {
            all.remove(&ino);
        }
    }
}

fn with<T>(ino: u32, work: impl FnOnce(&mut Socket) -> T) -> T {
    work(sockets().get_or_insert_default().entry(ino).or_default())
}

fn sockets() -> MutexGuard<'static, Option<HashMap<u32, Socket>>> {
    // Nothing that can panic runs under it.
    SOCKETS.lock().unwrap_or_else(PoisonError::into_inner)
}
