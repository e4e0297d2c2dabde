//! A steal queue that somebody else waits for: one core's listener and clients behind one epoll descriptor.
//!
//! For programs that have their own loop (the paper's calls); the workers of an engine have theirs. The descriptor is
//! readable, level-triggered, while there may be something to take; it can stand in other epoll sets. Rules: safe
//! from any thread; nothing waits; a flow that was received and not asked for yet is kept, in order.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::inbox::{Inbox, State as Answer, BATCHES};
use super::{Client, Left, Receiver, Stolen};
use crate::calls::relay::sides;
use crate::calls::state::remember;
use crate::hooks::Origin;
use crate::poll::{Poller, Waker};
use crate::registry::socket;
use crate::stats::Stats;

const LISTENER: u64 = 0;
const KEPT: u64 = 1;
const FIRST_CLIENT: u64 = 2;

/// A stolen socket's two ends, which are the program's. Pairs are fresh: it closes them itself.
#[derive(Debug)]
pub struct Sockets {
    /// Towards the application.
    pub left: OwnedFd,
    /// Towards the network, or the next module.
    pub right: OwnedFd,
    /// Whose flow it is.
    pub origin: Arc<Origin>,
}

/// One core's steal queue.
pub struct Queue {
    /// Whose sockets come here.
    pub cpu: u32,
    fd: RawFd,
    state: Mutex<State>,
}

struct State {
    cpu: u32,
    poller: Poller,
    /// None: closed.
    listener: Option<OwnedFd>,
    clients: BTreeMap<u64, Client>,
    next: u64,
    inbox: Inbox,
    received: Vec<Stolen>,
    kept: VecDeque<Sockets>,
    /// Rings while something is kept, and for ever once the queue is closed.
    bell: Waker,
    rings: bool,
}

impl Queue {
    /// Serves what [`crate::registry::Registration::bind`] listens on for core `cpu`.
    ///
    /// # Errors
    /// What the system says about epoll.
    pub fn new(cpu: u32, listener: OwnedFd) -> io::Result<Self> {
        let poller = Poller::new()?;
        let bell = Waker::new()?;
        poller.add_level(listener.as_raw_fd(), LISTENER)?;
        poller.add_level(bell.as_raw_fd(), KEPT)?;
        let state = State {
            cpu,
            listener: Some(listener),
            clients: BTreeMap::new(),
            next: FIRST_CLIENT,
            inbox: Inbox::default(),
            received: Vec::new(),
            kept: VecDeque::new(),
            bell,
            rings: false,
            poller,
        };
        Ok(Self { cpu, fd: state.poller.as_raw_fd(), state: Mutex::new(state) })
    }

    /// Takes at most `max` flows, appends them to `flows`.
    ///
    /// # Errors
    /// ESHUTDOWN: closed, and nothing is left; EMFILE and its like: somebody who connects cannot be let in.
    pub fn take(&self, max: usize, receiver: &Receiver, flows: &mut Vec<Sockets>) -> io::Result<()> {
        let mut state = self.lock();
        let found = if state.kept.len() < max { state.receive(receiver) } else { Ok(()) };
        let count = state.kept.len().min(max);
        flows.extend(state.kept.drain(..count));
        state.set_bell();
        match found {
            // What was taken comes first; the next call tells.
            Err(_) if count > 0 => Ok(()),
            Ok(()) if count == 0 && max > 0 && state.listener.is_none() => {
                Err(io::Error::from_raw_os_error(libc::ESHUTDOWN))
            }
            other => other,
        }
    }

    /// Receives what is on its way, then no more; it can still be taken. The descriptor stays readable.
    pub fn close(&self, receiver: &Receiver) {
        let mut state = self.lock();
        // Refused descriptors leave senders in the backlog, who find nobody and pass without this module.
        let _ = state.accept();
        state.listener = None;
        for key in state.clients.keys().copied().collect::<Vec<_>>() {
            if let Some(client) = state.clients.get(&key) {
                client.close_entrance();
            }
            // It can send no more.
            while state.hear(key, receiver) == Answer::More {}
            state.clients.remove(&key);
        }
        state.set_bell();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsRawFd for Queue {
    fn as_raw_fd(&self) -> RawFd {
        self.fd
    }
}

impl State {
    fn receive(&mut self, receiver: &Receiver) -> io::Result<()> {
        let mut found = Ok(());
        let first = self.next;
        for index in 0..self.poller.wait(Some(Duration::ZERO))? {
            match self.poller.event(index).token {
                LISTENER => found = self.accept(),
                KEPT => {}
                key => _ = self.hear(key, receiver),
            }
        }
        // Whoever has just come in has said something already: a shim connects in order to send.
        for key in first..self.next {
            let _ = self.hear(key, receiver);
        }
        found
    }

    fn accept(&mut self) -> io::Result<()> {
        let Some(listener) = &self.listener else { return Ok(()) };
        loop {
            match socket::accept(listener) {
                Ok(fd) => {
                    let key = self.next;
                    self.poller.add_level(fd.as_raw_fd(), key)?;
                    self.clients.insert(key, Client::new(fd, self.cpu));
                    self.next += 1;
                }
                Err(e) => match e.raw_os_error() {
                    Some(libc::EAGAIN) => return Ok(()),
                    Some(libc::EINTR | libc::ECONNABORTED) => {}
                    _ => return Err(e),
                },
            }
        }
    }

    /// Takes what a client has sent, as much as in a worker's turn.
    fn hear(&mut self, key: u64, receiver: &Receiver) -> Answer {
        let Some(client) = self.clients.get_mut(&key) else { return Answer::Gone };
        let mut state = Answer::More;
        for _ in 0..BATCHES {
            state = client.receive(&mut self.inbox, receiver, &mut self.received, usize::MAX);
            if state != Answer::More {
                break;
            }
        }
        drop(client.take_refused());
        if state == Answer::Gone {
            self.clients.remove(&key);
        }
        Stats::add(&receiver.stats.stolen, self.received.len() as u64);
        for mut flow in self.received.drain(..) {
            // Of a pool that nobody took there is none.
            let Left::Fresh(left) = std::mem::replace(&mut flow.left, Left::Again(0)) else { continue };
            let origin = Arc::clone(&flow.origin);
            let right_brings = flow.carried.as_ref().is_some_and(|carried| !carried.right.is_empty());
            let tcp = (flow.right_is_tcp && right_brings).then(|| flow.right.try_clone().ok()).flatten();
            let real = flow.real.take().or(tcp);
            match sides(flow, left, receiver) {
                Ok((left, right)) => {
                    if let Some(real) = real {
                        remember(&right, real);
                    }
                    self.kept.push_back(Sockets { left, right, origin });
                }
                Err(_) => Stats::add(&receiver.stats.no_descriptor, 1),
            }
        }
        state
    }

    fn set_bell(&mut self) {
        let rings = !self.kept.is_empty() || self.listener.is_none();
        if rings && !self.rings {
            self.bell.ring();
        } else if self.rings && !rings {
            self.bell.clear();
        }
        self.rings = rings;
    }
}
