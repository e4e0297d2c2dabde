//! Late binding for sockets of this very process that no module touches: one thread sends for all of them.
//!
//! A [`Revocable`] stands beside a connected TCP socket whose owner writes to it instead of to the socket. What the kernel can send
//! now goes at once, in the writer's thread; the rest waits in an outlet, and the pump, started with the first of them, sends it when
//! the kernel can.
//!
//! | the owner | what waits |
//! | --- | --- |
//! | shuts its sending half | is sent, then the half is closed |
//! | closes, or drops it | is sent by the pump, which holds a duplicate, then that is closed: as the kernel does it |
//! | closes with SO_LINGER 0 | is thrown away: the peer sees a reset |
//! | ends the process | is sent for as long as [`drain`] waits |
//! | forks | is the parent's; the child is refused with EOPNOTSUPP |
//!
//! Rules: the bytes and the rule are `modnet_revoke`'s. Whoever waits for room waits on a bell of the socket's own, never on a lock.

mod pump;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use modnet_revoke::queue::outlet::Outlet;
use modnet_revoke::release::{self, Release};

use crate::error::{Error, Result};
use crate::poll::{Poller, Waker};
use crate::sock;
pub use pump::drain;
use pump::{Pump, PUMP};

/// A connected socket whose unsent bytes can be taken back.
#[derive(Debug)]
pub struct Revocable {
    line: Arc<Line>,
    pump: &'static Pump,
    key: u64,
}

/// What the owner and the pump share.
#[derive(Debug)]
struct Line {
    outlet: Arc<Outlet>,
    /// None once it is closed, which the owner's handle may outlive.
    socket: Mutex<Option<Arc<OwnedFd>>>,
    most: usize,
    /// Rings when `state.level` is reached, or all is over.
    bell: Waker,
    release: Mutex<Release>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// So much or less waiting is to be told.
    level: Option<usize>,
    /// The owner sends no more.
    ended: bool,
    /// The half is closed.
    shut: bool,
    /// Nobody owns it any more.
    closed: bool,
    /// What has broken the connection.
    broken: Option<i32>,
    /// The pump's poller knows it.
    watched: bool,
}

impl Revocable {
    /// Beside `socket`, which stays the caller's; at most `most` bytes wait.
    ///
    /// # Errors
    /// ENOTCONN or EINVAL for what is no connected TCP socket; EMFILE and the like.
    pub fn new(socket: BorrowedFd<'_>, most: usize) -> Result<Self> {
        let duplicate =
            socket.try_clone_to_owned().map_err(|e| Error::system("cannot duplicate the socket", &e))?;
        if !sock::is_tcp(&duplicate) || release_info(socket).is_err() {
            return Err(Error::new(libc::EINVAL, "only a TCP socket can be made revocable"));
        }
        if sock::peer(socket).is_none() {
            return Err(Error::new(
                libc::ENOTCONN,
                "the socket is not connected: connect it, then make it revocable",
            ));
        }
        let pump = PUMP.get()?;
        let bell = Waker::new().map_err(|e| Error::system("cannot make an eventfd", &e))?;
        let key = pump.number();
        let line = Arc::new_cyclic(|line: &Weak<Line>| {
            let line = Weak::clone(line);
            // What may go goes at once, by whoever has made it possible; the rest is the pump's.
            let wake = move |_| {
                if let Some(line) = line.upgrade() {
                    line.send(pump.now());
                }
                pump.touch(key);
            };
            Line {
                outlet: Arc::new(Outlet::new(Box::new(wake))),
                socket: Mutex::new(Some(Arc::new(duplicate))),
                most: most.max(1),
                bell,
                release: Mutex::default(),
                state: Mutex::default(),
            }
        });
        pump.add(key, Arc::clone(&line));
        Ok(Self { line, pump, key })
    }

    /// Appends what there is room for, and sends what the kernel can send; 0: there is no room.
    ///
    /// # Errors
    /// EPIPE after the end; what has broken the connection, once, then EPIPE.
    pub fn append(&self, data: &[u8]) -> io::Result<usize> {
        self.is_ours()?;
        self.line.is_whole()?;
        let mut state = self.line.state();
        if state.ended {
            return Err(io::Error::from_raw_os_error(libc::EPIPE));
        }
        let count = data.len().min(self.line.most.saturating_sub(self.line.outlet.len()));
        if count == 0 {
            self.line.bell.clear();
            state.level = Some(self.line.most - 1);
            return Ok(0);
        }
        self.line.outlet.push(&data[..count]);
        drop(state);
        if !self.line.send(self.pump.now()) {
            self.pump.touch(self.key);
        }
        self.line.is_whole()?;
        Ok(count)
    }

    /// Where the bytes wait: yank, peek, lock.
    #[must_use]
    pub fn outlet(&self) -> &Arc<Outlet> {
        &self.line.outlet
    }

    /// Bytes that wait here, and those that the kernel holds unsent.
    #[must_use]
    pub fn unsent(&self) -> usize {
        let kernel = self.line.socket().map_or(0, |socket| release::unsent(socket.as_fd()));
        self.line.outlet.len() + kernel
    }

    /// Rings the bell when so much or less waits.
    pub fn ring_at(&self, level: usize) {
        self.line.bell.clear();
        self.line.state().level = Some(level);
        self.line.tell();
    }

    /// The ring was heard.
    pub fn hear(&self) {
        self.line.bell.clear();
    }

    /// Readable once it rings.
    #[must_use]
    pub fn bell(&self) -> BorrowedFd<'_> {
        // SAFETY: the bell lives as long as this does.
        unsafe { BorrowedFd::borrow_raw(self.line.bell.as_raw_fd()) }
    }

    /// Waits until the bell rings; false: not in time. A signal ends the wait: `Interrupted`.
    ///
    /// # Errors
    /// EINTR.
    pub fn wait(&self, limit: Option<Duration>) -> io::Result<bool> {
        crate::poll::wait_readable(self.bell(), limit)
    }

    /// What has broken the connection.
    #[must_use]
    pub fn broken(&self) -> Option<i32> {
        self.line.state().broken
    }

    /// No more is sent after what waits.
    ///
    /// # Errors
    /// EOPNOTSUPP in a child.
    pub fn shutdown(&self) -> io::Result<()> {
        self.is_ours()?;
        self.line.state().ended = true;
        self.pump.touch(self.key);
        Ok(())
    }

    /// The owner has closed its socket, or is about to. In a child, which has no pump, nothing happens.
    pub fn close(&self) {
        if self.is_ours().is_err() {
            return;
        }
        if self.line.socket().is_some_and(|socket| sock::linger(&socket) == Some(0)) {
            self.line.outlet.clear();
        }
        let mut state = self.line.state();
        state.ended = true;
        state.closed = true;
        drop(state);
        self.line.outlet.free();
        self.pump.touch(self.key);
    }

    fn is_ours(&self) -> io::Result<()> {
        if self.pump.is_ours() {
            return Ok(());
        }
        Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP))
    }
}

impl Drop for Revocable {
    fn drop(&mut self) {
        self.close();
    }
}

impl Line {
    fn socket(&self) -> Option<Arc<OwnedFd>> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells once what has broken the connection.
    fn is_whole(&self) -> io::Result<()> {
        match &mut self.state().broken {
            Some(errno) => Err(io::Error::from_raw_os_error(std::mem::replace(errno, libc::EPIPE))),
            None => Ok(()),
        }
    }

    fn release(&self) -> MutexGuard<'_, Release> {
        self.release.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Once, in the pump's thread.
    fn watch(&self, poller: &Poller, key: u64) {
        let mut state = self.state();
        if let Some(socket) = self.socket().filter(|_| !state.watched) {
            state.watched = poller.add_room(socket.as_raw_fd(), key).is_ok();
        }
    }

    /// Gives the kernel what it can send; whether nothing is left to do.
    fn send(&self, now: u64) -> bool {
        if !self.outlet.may_send() {
            return self.outlet.is_empty();
        }
        let Some(socket) = self.socket() else { return true };
        match self.release().release(&self.outlet, &socket, true, false, now) {
            Ok(all) => all,
            Err(error) => {
                // The first is the reason; after that the kernel says EPIPE.
                self.state().broken.get_or_insert(error.raw_os_error().unwrap_or(libc::EIO));
                // Nobody gets it any more.
                self.outlet.clear();
                false
            }
        }
    }

    /// Rings the bell, if it is time.
    fn tell(&self) {
        let mut state = self.state();
        let is_time = state.level.is_some_and(|level| self.outlet.len() <= level);
        if is_time || state.broken.is_some() || state.closed {
            state.level = None;
            self.bell.ring();
        }
    }

    /// What follows when nothing waits any more; whether the pump is done with it.
    fn end(&self) -> bool {
        let mut state = self.state();
        let is_empty = self.outlet.is_empty() && !self.outlet.is_locked();
        if !is_empty && state.broken.is_none() {
            return false;
        }
        if state.ended && !state.closed && !state.shut {
            state.shut = true;
            if let Some(socket) = self.socket() {
                sock::shutdown_write(&socket);
            }
        }
        if state.closed {
            let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(socket) = socket.filter(|socket| sock::linger(socket).is_some_and(|time| time > 0)) {
                // The pump would wait in the close, and all others with it.
                sock::set_no_linger(&socket);
            }
        }
        state.closed
    }
}

fn release_info(socket: BorrowedFd<'_>) -> io::Result<()> {
    modnet_inspect::sample::info(socket).map(|_| ())
}

#[cfg(test)]
mod tests;
