//! Stolen sockets arrive here: the module's end of a steal queue, and the way to the next module of the chain.
//!
//! | file | holds |
//! | --- | --- |
//! | [`inbox`] | messages with descriptors, many in one call |
//! | [`link`] | passing the network's side on to the next module |
//! | [`queue`] | one core's queue behind a descriptor that others wait for |
//! | here | [`Client`]: one connection, from HELLO to the flows it brings |
//!
//! Used by the workers and by the calls in C alike. Rules: a peer is of the module's own user, root, or shows the token
//! of a record whose chain names this module; whatever comes that is not understood is closed and counted.
//! Without pooled pairs only HELLO and NEW come; a BEGIN is not understood.

pub mod inbox;
pub mod link;
pub mod queue;
#[cfg(test)]
pub(crate) mod tests;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use modnet_abi::name::unpack;
use modnet_abi::record::MAX_CHAIN;
use modnet_abi::steal::{Hello, HELLO_FAIL_CLOSED, POOLED, STEAL_VERSION};

use crate::error::{Error, Result};
use crate::hooks::Origin;
use crate::record;
use crate::registry::socket;
use crate::runtime::{euid, Runtime};
use crate::stats::Stats;
use inbox::{Inbox, Message, State};
use link::Link;

/// Who receives: the module, and what it counts.
pub struct Receiver {
    /// Where the module is registered.
    pub runtime: Runtime,
    /// Its name.
    pub name: String,
    /// Its counters.
    pub stats: Arc<Stats>,
}

/// A flow that has just arrived.
#[derive(Debug)]
pub struct Stolen {
    /// Which application and chain.
    pub origin: Arc<Origin>,
    /// Towards the application.
    pub left: OwnedFd,
    /// Towards the network: the real socket, or a pair to the next module.
    pub right: OwnedFd,
    /// Whether right is the real socket.
    pub right_is_tcp: bool,
}

/// One connection to a steal queue.
pub struct Client {
    fd: OwnedFd,
    origin: Option<Arc<Origin>>,
    link: Link,
    cpu: u32,
}

impl Client {
    /// A connection that the queue of core `cpu` has accepted.
    #[must_use]
    pub fn new(fd: OwnedFd, cpu: u32) -> Self {
        Self { fd, origin: None, link: Link::default(), cpu }
    }

    /// The connection, to be watched for input.
    #[must_use]
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Takes what has come, at most a batch and `most` messages; appends the flows to `flows`. Gone: the peer has closed,
    /// or is not welcome.
    pub fn receive(
        &mut self,
        inbox: &mut Inbox,
        receiver: &Receiver,
        flows: &mut Vec<Stolen>,
        most: usize,
    ) -> State {
        let first = flows.len();
        let mut unwelcome = false;
        let (fd, origin) = (&self.fd, &mut self.origin);
        let state = inbox.receive(fd, most, |message| match message {
            Message::Hello(hello) => match greet(fd, hello, receiver) {
                Ok(known) => *origin = Some(Arc::new(known)),
                Err(_) => unwelcome = true,
            },
            Message::New { left, right } => match origin {
                Some(origin) if !unwelcome => {
                    let right_is_tcp = true;
                    flows.push(Stolen { origin: Arc::clone(origin), left, right, right_is_tcp });
                }
                _ => Stats::add(&receiver.stats.not_understood, 1),
            },
            Message::Lost => Stats::add(&receiver.stats.lost, 1),
            Message::NotUnderstood => Stats::add(&receiver.stats.not_understood, 1),
        });
        if flows.len() > first {
            self.link.pass_on(receiver, self.cpu, flows, first);
        }
        if unwelcome {
            Stats::add(&receiver.stats.unwelcome, 1);
            return State::Gone;
        }
        state
    }

    /// The peer can send no more; what it has sent can still be received.
    pub fn close_entrance(&self) {
        use std::os::fd::AsRawFd;
        // SAFETY: no memory is passed.
        unsafe { libc::shutdown(self.fd.as_raw_fd(), libc::SHUT_RD) };
    }
}

fn greet(fd: &OwnedFd, hello: &Hello, receiver: &Receiver) -> Result<Origin> {
    let wrong = |what: &str| Error::new(libc::EPROTO, format!("a HELLO with {what}"));
    if hello.version != STEAL_VERSION {
        return Err(wrong("another version"));
    }
    if hello.flags & POOLED != 0 {
        return Err(wrong("pooled pairs"));
    }
    let length = hello.length as usize;
    let position = hello.position as usize;
    if length > MAX_CHAIN || position >= length {
        return Err(wrong("a wrong place in its chain"));
    }
    let mut chain = Vec::with_capacity(length);
    for name in &hello.chain[..length] {
        chain.push(unpack(name).map_err(|_| wrong("a wrong name"))?.to_owned());
    }
    if chain[position] != receiver.name {
        return Err(wrong("another module's name"));
    }
    let peer = socket::peer(fd).map_err(|e| Error::system("cannot tell who it is", &e))?;
    if peer.uid != euid() && peer.uid != 0 {
        record::verify(&receiver.runtime, hello.record, &hello.token, &receiver.name)?;
    }
    Ok(Origin {
        application: hello.pid,
        record: hello.record,
        chain,
        position,
        token: hello.token,
        fail_closed: hello.flags & HELLO_FAIL_CLOSED != 0,
    })
}
