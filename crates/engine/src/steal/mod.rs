//! Stolen sockets arrive here: the module's end of a steal queue, and the way to the next module of the chain.
//!
//! | file | holds |
//! | --- | --- |
//! | [`carried`] | bytes of a yielded flow that lie in no socket |
//! | [`doors`] | the way to modules that flows are yielded to |
//! | [`inbox`] | messages with descriptors, many in one call |
//! | [`link`], [`outbox`] | passing the network's side on to the next module, and the messages that do it |
//! | [`towards`] | this module's pairs towards the next one, where they outlive a flow |
//! | [`page`] | the memory that both sides of a pool share |
//! | [`queue`] | one core's queue behind a descriptor that others wait for |
//! | here | [`Client`]: one connection, from HELLO to the flows it brings |
//!
//! Used by the workers and by the calls in C alike. Rules: a peer is of the module's own user, root, or shows the token
//! of a record whose chain names this module; whatever comes that is not understood is closed and counted.
//! A pool that a HELLO offers is taken by the worker ([`Client::take_offer`]), or left alone: then every pair is fresh.

pub mod carried;
pub mod doors;
pub mod inbox;
pub mod link;
pub mod outbox;
pub mod page;
pub mod queue;
#[cfg(test)]
pub(crate) mod tests;
pub mod towards;

use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU64;
use std::sync::Arc;

use modnet_abi::name::unpack;
use modnet_abi::pool::SLOTS;
use modnet_abi::record::MAX_CHAIN;
use modnet_abi::steal::{Hello, HELLO_FAIL_CLOSED, NO_SLOT, POOLED, STEAL_VERSION};

use crate::error::{Error, Result};
use crate::hooks::Origin;
use crate::pairs::Pairs;
use crate::record;
use crate::registry::socket;
use crate::runtime::{euid, Runtime};
use crate::sock;
use crate::stats::Stats;
use carried::Carried;
use inbox::{Inbox, Message, State};
use link::Link;
use page::Page;
use towards::Seat;

/// Who receives: the module, and what it counts.
pub struct Receiver {
    /// Where the module is registered.
    pub runtime: Runtime,
    /// Its name.
    pub name: String,
    /// Its counters.
    pub stats: Arc<Stats>,
    /// Whether pairs outlive their flows.
    pub pairs: Pairs,
    /// Descriptors of this process beside the two of each flow: pooled pairs without one, real sockets kept for inspection.
    pub spare: Arc<AtomicU64>,
    /// Whether flows that are passed on keep the real socket, to be inspected; it costs a descriptor each.
    pub keeps_real: bool,
}

/// A flow's way to the application.
#[derive(Debug)]
pub enum Left {
    /// A pair of its own.
    Fresh(OwnedFd),
    /// A new pair that will have other flows after it, and its slot.
    New(OwnedFd, usize),
    /// The pair of this slot, if there is one.
    Again(usize),
}

/// A flow that has just arrived.
#[derive(Debug)]
pub struct Stolen {
    /// Which application and chain.
    pub origin: Arc<Origin>,
    /// Towards the application.
    pub left: Left,
    /// Towards the network: the real socket, or a pair to the next module.
    pub right: OwnedFd,
    /// Whether right is the real socket.
    pub right_is_tcp: bool,
    /// Where right is a pooled pair to the next module.
    pub seat: Option<Seat>,
    /// The real socket, where right is not and [`Receiver::keeps_real`].
    pub real: Option<OwnedFd>,
    /// Where it was yielded: what lies in no socket.
    pub carried: Option<Box<Carried>>,
}

impl Stolen {
    /// One that has carried nothing yet. None: nobody has said whose it is.
    fn new(origin: Option<&Arc<Origin>>, left: Left, right: OwnedFd) -> Option<Self> {
        let origin = Arc::clone(origin?);
        Some(Self { origin, left, right, right_is_tcp: true, seat: None, real: None, carried: None })
    }
}

/// A pool that a client offers: the memory, and what it rings.
pub struct Offer {
    /// The memory.
    pub page: Page,
    /// To be watched, edge-triggered, never read: it may be a descriptor of any kind.
    pub bell: OwnedFd,
}

/// One connection to a steal queue.
pub struct Client {
    fd: OwnedFd,
    origin: Option<Arc<Origin>>,
    link: Link,
    cpu: u32,
    offer: Option<Offer>,
    /// Whose number is its pool's at the worker; None: its pairs are fresh.
    pub pool: Option<u64>,
    refused: Vec<Left>,
}

impl Client {
    /// A connection that the queue of core `cpu` has accepted.
    #[must_use]
    pub fn new(fd: OwnedFd, cpu: u32) -> Self {
        Self { fd, origin: None, link: Link::default(), cpu, offer: None, pool: None, refused: Vec::new() }
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
        let (fd, origin, offer, pooled) = (&self.fd, &mut self.origin, &mut self.offer, self.pool.is_some());
        let refused = &mut self.refused;
        let slot_of = |slot| usize::try_from(slot).ok().filter(|slot| pooled && *slot < SLOTS);
        let stats = &receiver.stats;
        let mut arrived = |flow: Option<Stolen>| match flow {
            Some(flow) => flows.push(flow),
            None => Stats::add(&stats.not_understood, 1),
        };
        let state = inbox.receive(fd, most, |message| match message {
            Message::Hello(hello, fds) => {
                let known = greet(fd, hello, receiver).and_then(|known| {
                    if hello.flags & POOLED != 0 {
                        let taken = pooled || offer.is_some();
                        *offer = consider(fds, taken, receiver)?;
                    }
                    Ok(known)
                });
                match known {
                    Ok(known) => *origin = Some(Arc::new(known)),
                    Err(_) => unwelcome = true,
                }
            }
            _ if unwelcome => Stats::add(&stats.not_understood, 1),
            Message::New { slot, left, right } => {
                arrived(new(slot, left, pooled).and_then(|left| Stolen::new(origin.as_ref(), left, right)));
            }
            Message::Begin { slot, right } => {
                let left = slot_of(slot).map(Left::Again);
                arrived(left.and_then(|left| Stolen::new(origin.as_ref(), left, right)));
            }
            Message::Yield { said, left, right, real, bytes } => {
                let right_is_tcp = sock::is_tcp(&right);
                let carried = Carried::unpack(&said, bytes).ok().map(Box::new);
                let flow = Stolen::new(origin.as_ref(), Left::Fresh(left), right);
                arrived(flow.filter(|_| carried.is_some()).map(|flow| {
                    let real = real.filter(|_| !right_is_tcp);
                    Stolen { right_is_tcp, real, carried, ..flow }
                }));
            }
            Message::Lost(slot) => {
                refused.extend(slot_of(slot).map(Left::Again));
                Stats::add(&stats.lost, 1);
            }
            Message::NotUnderstood => Stats::add(&stats.not_understood, 1),
        });
        if flows.len() > first {
            self.link.pass_on(receiver, self.cpu, flows, first, &mut self.refused);
        }
        if unwelcome {
            Stats::add(&receiver.stats.unwelcome, 1);
            return State::Gone;
        }
        state
    }

    /// The pool that it has offered, once. Who takes it accepts it ([`modnet_abi::pool::PoolPage::accepted`]), sets
    /// [`Client::pool`], and is told slots from then on.
    pub fn take_offer(&mut self) -> Option<Offer> {
        self.offer.take()
    }

    /// Pairs whose flow does not come to be; they are to be closed, so that the application hears of it.
    pub fn take_refused(&mut self) -> Vec<Left> {
        std::mem::take(&mut self.refused)
    }

    /// See [`Link::trim`].
    pub fn trim(&self, all: bool) -> usize {
        self.link.trim(all)
    }

    /// The peer can send no more; what it has sent can still be received.
    pub fn close_entrance(&self) {
        use std::os::fd::AsRawFd;
        // SAFETY: no memory is passed.
        unsafe { libc::shutdown(self.fd.as_raw_fd(), libc::SHUT_RD) };
    }
}

/// A pool is offered; None: it is left alone. `taken`: there is one already.
fn consider(
    fds: &mut dyn Iterator<Item = OwnedFd>,
    taken: bool,
    receiver: &Receiver,
) -> Result<Option<Offer>> {
    let wrong = |what: &str| Error::new(libc::EPROTO, format!("a HELLO with {what}"));
    if taken {
        return Err(wrong("a second pool"));
    }
    let (Some(memory), Some(bell)) = (fds.next(), fds.next()) else {
        return Err(wrong("a pool that did not come along"));
    };
    if receiver.pairs == Pairs::Fresh {
        return Ok(None);
    }
    let page = Page::offered(memory).map_err(|e| Error::system("cannot map a client's pool", &e))?;
    Ok(Some(Offer { page, bell }))
}

/// Where a NEW's left belongs; None: nowhere.
fn new(slot: u32, left: OwnedFd, pooled: bool) -> Option<Left> {
    if slot == NO_SLOT || !pooled {
        return Some(Left::Fresh(left));
    }
    let slot = usize::try_from(slot).ok().filter(|slot| *slot < SLOTS)?;
    Some(Left::New(left, slot))
}

fn greet(fd: &OwnedFd, hello: &Hello, receiver: &Receiver) -> Result<Origin> {
    let wrong = |what: &str| Error::new(libc::EPROTO, format!("a HELLO with {what}"));
    if hello.version != STEAL_VERSION {
        return Err(wrong("another version"));
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
    let until = hello.until as usize;
    if until <= position || until > length {
        return Err(wrong("a wrong end of its way"));
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
        until,
        token: hello.token,
        fail_closed: hello.flags & HELLO_FAIL_CLOSED != 0,
    })
}
