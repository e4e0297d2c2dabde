//! A pair of connected intermediate sockets: one end for the application, one (left) for the first module.
//!
//! Nothing else knows how a pair comes to be: made for one flow, made for this one and those after it, or one that has had
//! flows before, whose left the module has already.

use core::sync::atomic::Ordering;

use modnet_abi::steal::{Entry, BEGIN, NEW, NO_SLOT};
use modnet_pool::{Lease, Taken};

use crate::connection::Held;
use crate::{fds, numbers, pool, sys};

/// Both ends, close-on-exec: between here and the end of accept another thread may fork and exec.
pub struct Pair {
    /// For the application; [`Pair::take_place`] gives it its number.
    app: i32,
    /// For the module; None: it has it.
    left: Option<i32>,
    /// Its place among the pairs that are used again.
    seat: Option<(Held, Lease)>,
}

impl Pair {
    /// A pair of its own for one flow.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOBUFS as socketpair.
    pub fn fresh() -> sys::Result<Self> {
        let [app, left] = sys::socketpair(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)?;
        Ok(Self { app, left: Some(left), seat: None })
    }

    /// One of the pairs of a connection; a fresh one where it has none to give.
    ///
    /// # Errors
    /// As [`Pair::fresh`].
    pub fn of(held: &Held) -> sys::Result<Self> {
        match pool::take(held) {
            None => Self::fresh(),
            Some(Taken { lease, near: Some(app) }) => {
                Ok(Self { app, left: None, seat: Some((held.again(), lease)) })
            }
            Some(taken) => match Self::fresh() {
                Ok(pair) => Ok(Self { seat: Some((held.again(), taken.lease)), ..pair }),
                Err(error) => {
                    pool::undo(held, taken);
                    Err(error)
                }
            },
        }
    }

    /// The application's end, for setting it up before it is seen.
    pub fn app(&self) -> i32 {
        self.app
    }

    /// What the message says of it.
    pub fn entry(&self) -> Entry {
        let slot = self.seat.as_ref().map_or(NO_SLOT, |(_, lease)| lease.slot());
        Entry { slot, kind: if self.left.is_some() { NEW } else { BEGIN } }
    }

    /// What goes along before the real socket.
    pub fn left(&self) -> Option<i32> {
        self.left
    }

    /// Its slot among the pairs that are used again.
    pub fn slot(&self) -> u32 {
        self.entry().slot
    }

    /// `SO_COOKIE` of the application's end.
    pub fn cookie(&self) -> Option<u64> {
        let Some((held, lease)) = &self.seat else { return fds::cookie(self.app) };
        let known = &held.cookies[lease.slot() as usize];
        if self.left.is_none() {
            return Some(known.load(Ordering::Relaxed));
        }
        let cookie = fds::cookie(self.app)?;
        known.store(cookie, Ordering::Relaxed);
        Some(cookie)
    }

    /// Makes the application's end as a new socket is, `nonblocking` or not.
    pub fn prepare(&self, nonblocking: bool) {
        if self.left.is_none() || !nonblocking {
            sys::set_nonblocking(self.app, nonblocking);
        }
    }

    /// The message was sent: puts the application's end at the number `at`, and drops what this process needs no longer. The
    /// seat, for the record, which has to be written before anybody can close `at`.
    pub fn take_place(mut self, at: i32, cloexec: bool) -> u32 {
        let seat = self.seat.take().map_or(0, |(held, lease)| pool::Seat::new(held, lease).into_number());
        // The number is the caller's until accept returns, so dup3 has nothing to fail from.
        let _ = sys::dup3(self.app, at, cloexec);
        self.close();
        seat
    }

    /// The message was not sent: as if nothing had been taken.
    pub fn discard(mut self) {
        let Some((held, lease)) = self.seat.take() else { return self.close() };
        let near = self.left.is_none().then_some(self.app);
        if near.is_none() {
            self.close();
        }
        pool::undo(&held, Taken { lease, near });
    }

    fn close(&self) {
        match self.left {
            Some(left) => {
                sys::close(self.app);
                sys::close(left);
            }
            None => numbers::drop_kept(self.app),
        }
    }
}
