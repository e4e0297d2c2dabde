//! What a module does with its flows: the one interface between the engine and whatever language a module is in.
//!
//! The engine calls a hook on the thread that owns the flow, never two at once for one flow. A way whose hooks a
//! module leaves alone never comes here: its bytes stay in the worker.

use std::any::Any;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use modnet_abi::record::MAX_CHAIN;
use modnet_inspect::watch::Watch;
use modnet_revoke::queue::outlet::Outlet;

use crate::error::{Error, Result};
use crate::flow::Way;
use crate::revoke::Next;
use crate::sock;
use crate::steal::doors::Doors;

/// Which hooks a module has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// `opened`.
    pub opened: bool,
    /// `outbound`, `inbound`.
    pub data: [bool; 2],
    /// `outbound_end`, `inbound_end`.
    pub end: [bool; 2],
    /// `closed`.
    pub closed: bool,
    /// The first [`Orders::reads`]; 0: as many as the engine likes.
    pub reads: usize,
    /// `yank_requested`.
    pub yank_requested: bool,
}

impl Wants {
    /// Whether there is any hook at all.
    #[must_use]
    pub fn any(self) -> bool {
        self != Self::default()
    }
}

/// Which application and chain a flow belongs to; shared by the flows of one connection to the steal queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The application's process.
    pub application: u32,
    /// The record of the chain.
    pub record: u32,
    /// Names, nearest to the application first.
    pub chain: Vec<String>,
    /// This module's place in it.
    pub position: usize,
    /// How far in it flows are still to be passed on; see [`modnet_abi::steal::Hello::until`].
    pub until: usize,
    /// Proof that the chain was applied.
    pub token: [u8; 16],
    /// Whether a flow is reset when the rest of its chain cannot be reached.
    pub fail_closed: bool,
}

/// Where modules that a flow is yielded to come, seen from the one that yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Between it and its neighbour towards the application.
    Left,
    /// Between it and its neighbour towards the network.
    Right,
    /// Where it is: it leaves.
    Replace,
}

impl Origin {
    /// The chain with `names` put in, as the first of them sees it; and the yielding module's own place then, unless it leaves.
    ///
    /// # Errors
    /// EINVAL: no names, or too many for a chain.
    pub fn yielded(&self, names: &[String], place: Place) -> Result<(Self, Option<Self>)> {
        let (at, leaves) = match place {
            Place::Left => (self.position, 0),
            Place::Right => (self.position + 1, 0),
            Place::Replace => (self.position, 1),
        };
        let mut chain = self.chain.clone();
        chain.splice(at..at + leaves, names.iter().cloned());
        if names.is_empty() || chain.len() > MAX_CHAIN {
            let long =
                format!("a flow is yielded to 1 or more modules, and its chain has at most {MAX_CHAIN}");
            return Err(Error::new(libc::EINVAL, long));
        }
        let first = Self { chain, position: at, until: at + names.len(), ..self.clone() };
        let own = (leaves == 0).then(|| {
            let position = self.position + if place == Place::Left { names.len() } else { 0 };
            Self { position, until: position + 1, ..first.clone() }
        });
        Ok((first, own))
    }
}

/// A module yields a flow.
#[derive(Clone, Debug)]
pub struct Yield {
    /// To whom, nearest to the application first.
    pub names: Vec<String>,
    /// Where they come.
    pub place: Place,
    /// By way: what the module has read and holds; the new modules read it first.
    pub held: [Vec<u8>; 2],
    /// What came from the network and has passed already; the new modules are shown it before that.
    pub passed: Vec<u8>,
}

/// The addresses of a flow's real socket. Nobody has asked yet: each costs a system call, which most flows of a native module can do
/// without. To be asked while a hook of the flow runs: before it and after it the socket may be another one.
#[derive(Clone, Copy, Debug)]
pub struct Ends(RawFd);

impl Ends {
    /// Of the socket with this number.
    pub(crate) fn of(socket: &OwnedFd) -> Self {
        Self(socket.as_raw_fd())
    }

    /// The network's end.
    #[must_use]
    pub fn peer(self) -> Option<SocketAddr> {
        // SAFETY: the flow has it, and lives: a hook of it runs.
        sock::peer(unsafe { BorrowedFd::borrow_raw(self.0) })
    }

    /// The application's end.
    #[must_use]
    pub fn local(self) -> Option<SocketAddr> {
        // SAFETY: as above.
        sock::local(unsafe { BorrowedFd::borrow_raw(self.0) })
    }
}

/// A flow at its beginning.
#[derive(Clone)]
pub struct Opened {
    /// Unique in this process.
    pub id: u64,
    /// Where it comes from.
    pub origin: Arc<Origin>,
    /// Its addresses, for who wants them.
    pub ends: Ends,
    /// Seconds since 1970.
    pub at: f64,
    /// The TCP state of the real socket.
    pub tcp: Arc<Watch>,
    /// Whom it can be yielded to.
    pub doors: Arc<Doors>,
    /// Where what is outbound can be taken back; None: nobody may.
    pub outlet: Option<Arc<Outlet>>,
    /// Where the rest of what was passed on may be taken back: in a chain, for a module that is revocable.
    pub next: Option<Arc<Next>>,
}

/// What a hook asks of the engine besides its result.
#[derive(Clone, Debug, Default)]
pub struct Orders {
    /// Whether the end of a way is to be told from now on.
    pub ends: [Option<bool>; 2],
    /// These ways go native from the next byte on.
    pub forward: [bool; 2],
    /// `Some(None)` lifts a way's limit, `Some(Some((rate, burst)))` sets it: bytes a second, bytes.
    pub limit: [Option<Option<(f64, u32)>>; 2],
    /// So many of the next bytes of a way pass without the hook, as natively as those of a way that has none.
    pub skip: [Option<u64>; 2],
    /// Read at most so many bytes at once for the hook of a way from now on: what a module looks at has to be copied.
    pub reads: [Option<usize>; 2],
    /// Call [`Hooks::woken`] after so many nanoseconds; the time that was set before counts no more.
    pub wake: Option<u64>,
    /// Keep at most about so many bytes in the real socket that TCP has not sent, and the rest where it can still be
    /// decided about; 0: as the system does. Without effect where the next module has the socket.
    pub unsent: Option<u32>,
    /// End the flow now.
    pub reset: bool,
    /// Other modules get it, before what the hook returns goes on. What [`Place::Replace`] brings them is that as well.
    pub yielding: Option<Box<Yield>>,
}

impl Orders {
    /// Whether there are none: most hooks on data have none.
    pub(crate) fn are_none(&self) -> bool {
        let Self { ends, forward, limit, skip, reads, wake, unsent, reset, yielding } = self;
        let each = |way: usize| {
            ends[way].is_none()
                && !forward[way]
                && limit[way].is_none()
                && skip[way].is_none()
                && reads[way].is_none()
        };
        each(0) && each(1) && wake.is_none() && unsent.is_none() && !reset && yielding.is_none()
    }

    /// Whether any of them goes by the clock, which then has to be looked at.
    pub(crate) fn are_timed(&self) -> bool {
        self.wake.is_some() || self.limit.iter().any(Option::is_some)
    }
}

/// How a hook on data ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The data goes on as it is.
    Same,
    /// What was written to `out` goes on instead.
    Replaced,
    /// It failed: the engine does what [`Hooks::on_error_resets`] says.
    Failed,
}

/// A module's own state of a flow.
pub type State = Box<dyn Any + Send>;

/// A module's hooks; each is called only if [`Hooks::wants`] names it.
pub trait Hooks: Send + Sync {
    /// Which hooks it has; asked once.
    fn wants(&self) -> Wants {
        Wants::default()
    }
    /// Whether a failed hook resets its flow; otherwise the data goes on untouched and the flow is native from there.
    fn on_error_resets(&self) -> bool {
        false
    }
    /// The state of a new flow; called only if there is any hook.
    fn state(&self, _opened: Opened) -> State {
        Box::new(())
    }
    /// A flow begins.
    fn opened(&self, _state: &mut State, _orders: &mut Orders) -> Verdict {
        Verdict::Same
    }
    /// Bytes. `bytes`: read so far by way, these included.
    fn data(
        &self,
        _state: &mut State,
        _way: Way,
        _data: &[u8],
        _bytes: [u64; 2],
        _out: &mut Vec<u8>,
        _orders: &mut Orders,
    ) -> Verdict {
        Verdict::Same
    }
    /// The source has ended; what is written to `out` is the last.
    fn end(
        &self,
        _state: &mut State,
        _way: Way,
        _bytes: [u64; 2],
        _out: &mut Vec<u8>,
        _orders: &mut Orders,
    ) -> Verdict {
        Verdict::Same
    }
    /// Somebody before this module takes the last `length` bytes of what it has read outbound back: what it can give, in the
    /// stream's order and at most so many, goes to `out`, and what it made of them is its own to take back before.
    ///
    /// # Errors
    /// EOPNOTSUPP, EAGAIN, ETIMEDOUT: what a later module answered; nothing has changed.
    fn yank_requested(
        &self,
        _state: &mut State,
        _length: usize,
        _out: &mut Vec<u8>,
        _orders: &mut Orders,
    ) -> std::result::Result<Verdict, i32> {
        Ok(Verdict::Same)
    }
    /// The chain has changed: the module has yielded the flow, and stays. `next`: as in [`Opened`].
    fn moved(&self, _state: &mut State, _origin: &Arc<Origin>, _next: Option<Arc<Next>>) {}
    /// The time that [`Orders::wake`] set has come; called for outbound, then for inbound. What is written to `out` goes
    /// on, behind the `waiting` bytes that the destination has not taken.
    fn woken(
        &self,
        _state: &mut State,
        _way: Way,
        _waiting: usize,
        _out: &mut Vec<u8>,
        _orders: &mut Orders,
    ) -> Verdict {
        Verdict::Same
    }
    /// The flow is over, or was yielded to modules that replace this one.
    fn closed(&self, _state: &mut State, _bytes: [u64; 2]) -> Verdict {
        Verdict::Same
    }
    /// Reads its files anew; called from any thread.
    ///
    /// # Errors
    /// As [`crate::control::Subject::reload`].
    fn reload(&self) -> Result<()> {
        Err(Error::new(libc::EOPNOTSUPP, "this module has nothing to read anew"))
    }
    /// What the module itself counts, by name; asked by whoever shows it, from any thread.
    fn counters(&self) -> Vec<(String, u64)> {
        Vec::new()
    }
}

/// A module without hooks: bytes pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forward;

impl Hooks for Forward {}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(names: &[&str], position: usize) -> Origin {
        let chain: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let until = chain.len();
        Origin { application: 1, record: 2, chain, position, until, token: [3; 16], fail_closed: false }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_module_that_leaves_is_replaced_where_it_was() {
        let (first, own) = origin(&["a", "m", "z"], 1).yielded(&names(&["x", "y"]), Place::Replace).unwrap();
        assert_eq!(first.chain, ["a", "x", "y", "z"]);
        assert_eq!((first.position, first.until, own), (1, 3, None));
    }

    #[test]
    fn new_modules_come_to_the_left_or_to_the_right_and_the_one_that_stays_knows_its_place() {
        let (first, own) = origin(&["a", "m", "z"], 1).yielded(&names(&["x", "y"]), Place::Left).unwrap();
        assert_eq!(first.chain, ["a", "x", "y", "m", "z"]);
        assert_eq!((first.position, first.until), (1, 3));
        assert_eq!(own.map(|own| (own.position, own.chain == first.chain)), Some((3, true)));
        let (first, own) = origin(&["a", "m", "z"], 1).yielded(&names(&["x", "y"]), Place::Right).unwrap();
        assert_eq!(first.chain, ["a", "m", "x", "y", "z"]);
        assert_eq!((first.position, first.until), (2, 4));
        assert_eq!(own.map(|own| own.position), Some(1));
    }

    #[test]
    fn any_order_is_one() {
        assert!(Orders::default().are_none());
        let orders: [fn(&mut Orders); 13] = [
            |orders| orders.ends[0] = Some(false),
            |orders| orders.ends[1] = Some(true),
            |orders| orders.forward[0] = true,
            |orders| orders.forward[1] = true,
            |orders| orders.limit[0] = Some(None),
            |orders| orders.limit[1] = Some(Some((1.0, 1))),
            |orders| orders.skip[0] = Some(1),
            |orders| orders.skip[1] = Some(1),
            |orders| orders.reads[1] = Some(1),
            |orders| orders.wake = Some(1),
            |orders| orders.unsent = Some(0),
            |orders| orders.reset = true,
            |orders| {
                let (names, held, passed) = (names(&["a"]), [const { Vec::new() }; 2], Vec::new());
                orders.yielding = Some(Box::new(Yield { names, place: Place::Left, held, passed }));
            },
        ];
        for order in orders {
            let mut given = Orders::default();
            order(&mut given);
            assert!(!given.are_none(), "{given:?}");
        }
    }

    #[test]
    fn a_chain_that_gets_too_long_and_nobody_at_all_are_refused() {
        let many = names(&["n"; MAX_CHAIN]);
        assert!(origin(&["m"], 0).yielded(&many, Place::Replace).is_ok());
        for (to, place) in [(&many[..], Place::Right), (&many[..0], Place::Replace)] {
            let error = origin(&["m"], 0).yielded(to, place).unwrap_err();
            assert_eq!(error.errno, libc::EINVAL);
        }
    }
}
