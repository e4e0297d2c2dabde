//! What a module does with its flows: the one interface between the engine and whatever language a module is in.
//!
//! The engine calls a hook on the thread that owns the flow, never two at once for one flow. A way whose hooks a
//! module leaves alone never comes here: its bytes stay in the worker.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;

use modnet_inspect::watch::Watch;
use modnet_revoke::queue::outlet::Outlet;

use crate::flow::Way;

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
    /// Proof that the chain was applied.
    pub token: [u8; 16],
    /// Whether a flow is reset when the rest of its chain cannot be reached.
    pub fail_closed: bool,
}

/// A flow at its beginning.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Unique in this process.
    pub id: u64,
    /// Where it comes from.
    pub origin: Arc<Origin>,
    /// The network's end.
    pub peer: Option<SocketAddr>,
    /// The application's end.
    pub local: Option<SocketAddr>,
    /// Seconds since 1970.
    pub at: f64,
    /// The TCP state of the real socket.
    pub tcp: Arc<Watch>,
    /// Where what is outbound can be taken back; None: nobody may.
    pub outlet: Option<Arc<Outlet>>,
}

/// What a hook asks of the engine besides its result.
#[derive(Clone, Copy, Debug, Default)]
pub struct Orders {
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
    /// The flow is over.
    fn closed(&self, _state: &mut State, _bytes: [u64; 2]) -> Verdict {
        Verdict::Same
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
