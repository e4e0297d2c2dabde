//! Connections to the steal queues of modules that flows are yielded to; kept, since one that yields will yield again.
//!
//! Rules: [`Doors::find`] is asked before anything is promised, and [`Doors::send`] has done everything or nothing. It is safe
//! from any thread: a hook asks, its worker sends. Who yields has no token for a module that the record's chain does not name,
//! so the other side must be of the same user, or this one root.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use modnet_abi::steal::WITH_REAL;

use super::carried::Carried;
use super::outbox;
use crate::error::{Error, Result};
use crate::hooks::Origin;
use crate::registry::{self, socket};
use crate::runtime::{euid, Runtime};
use crate::sock;

/// A flow on its way. Everything is lent: where the message cannot be sent the sender has it as before.
pub struct Parcel<'a> {
    /// Towards the application.
    pub left: BorrowedFd<'a>,
    /// Towards the network.
    pub right: BorrowedFd<'a>,
    /// The real socket, where right is not.
    pub real: Option<BorrowedFd<'a>>,
    /// What lies in no socket.
    pub carried: &'a Carried,
}

/// The connections of one worker, or one connection's own.
pub struct Doors {
    runtime: Runtime,
    cpu: u32,
    open: Mutex<HashMap<String, Door>>,
}

struct Door {
    fd: OwnedFd,
    /// Which chain, and the receiver's place in it, it was told last.
    told: Option<(Arc<Origin>, usize)>,
}

impl Doors {
    /// None is open yet; queues are those of core `cpu`.
    #[must_use]
    pub fn new(runtime: &Runtime, cpu: u32) -> Self {
        Self { runtime: runtime.clone(), cpu, open: Mutex::default() }
    }

    /// The registry.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Whether a module takes flows now.
    ///
    /// # Errors
    /// ENOENT: no living module has the name; EAGAIN: it has no room; EPERM: it is another user's; EINVAL: no name.
    pub fn find(&self, name: &str) -> Result<()> {
        registry::check_name(name)?;
        let mut open = self.lock();
        // One that was told to stop takes its name away, and hears what was sent before.
        let stands = registry::has_queue(&self.runtime, name, self.cpu);
        if stands && open.get(name).is_some_and(|door| !sock::has_hung_up(door.fd.as_fd())) {
            return Ok(());
        }
        open.remove(name);
        let door = self.connect(name).map_err(|error| match error.raw_os_error() {
            Some(libc::ENOENT) if registry::is_living(&self.runtime, name).unwrap_or(false) => {
                Error::new(libc::EAGAIN, format!("module {name} has no room for more flows; try again"))
            }
            Some(libc::EAGAIN) => Error::new(libc::EAGAIN, format!("module {name} is busy; try again")),
            Some(libc::EPERM) => {
                Error::new(libc::EPERM, format!("module {name} is another user's; yield to one of your own"))
            }
            Some(libc::ENOENT | libc::ECONNREFUSED | libc::ENOTDIR) => Error::unknown_module(name),
            _ => Error::system(format!("cannot reach module {name}"), &error),
        })?;
        open.insert(name.to_owned(), door);
        Ok(())
    }

    /// Sends a flow to the module at `position` of the origin's chain.
    ///
    /// # Errors
    /// What the system says: ENOENT, ECONNREFUSED, EPIPE where it has gone, EAGAIN where its queue is full. Nothing was sent.
    pub fn send(&self, origin: &Arc<Origin>, position: usize, parcel: &Parcel<'_>) -> io::Result<()> {
        let (mut said, bytes) = parcel.carried.pack()?;
        said.flags |= if parcel.real.is_some() { WITH_REAL } else { 0 };
        let mut fds = vec![parcel.left.as_raw_fd(), parcel.right.as_raw_fd()];
        fds.extend(parcel.real.map(|real| real.as_raw_fd()));
        fds.extend(bytes.as_ref().map(AsRawFd::as_raw_fd));
        let name = &origin.chain[position];
        let mut open = self.lock();
        if let Some(door) = open.get_mut(name) {
            match door.send(origin, position, |fd| outbox::send_yielded(fd, &said, &fds)) {
                Err(e) if is_gone(&e) => open.remove(name),
                other => return other,
            };
        }
        // Perhaps there is a new one of that name.
        let mut door = self.connect(name)?;
        door.send(origin, position, |fd| outbox::send_yielded(fd, &said, &fds))?;
        open.insert(name.clone(), door);
        Ok(())
    }

    fn connect(&self, name: &str) -> io::Result<Door> {
        let fd = registry::connect_queue(&self.runtime, name, self.cpu)?;
        if euid() != 0 && socket::peer(&fd)?.uid != euid() {
            return Err(io::Error::from_raw_os_error(libc::EPERM));
        }
        sock::widen(&fd);
        Ok(Door { fd, told: None })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Door>> {
        // Nothing that can panic runs under the lock.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Door {
    fn send(
        &mut self,
        origin: &Arc<Origin>,
        position: usize,
        send: impl FnOnce(&OwnedFd) -> io::Result<()>,
    ) -> io::Result<()> {
        if !self.told.as_ref().is_some_and(|(told, at)| *at == position && told == origin) {
            self.told = None;
            outbox::greet(&self.fd, origin, position, None)?;
            self.told = Some((Arc::clone(origin), position));
        }
        send(&self.fd)
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPIPE | libc::ECONNRESET | libc::ENOTCONN))
}
