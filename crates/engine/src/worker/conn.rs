//! The two objects of a connection: the pair towards the application, and the flow towards the network.
//!
//! They are two, because a pair outlives its flow where pairs are pooled. What is right of a flow is TCP or a pair
//! towards the next module. What the poller saw of a pair between two flows is remembered for the next.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use modnet_inspect::watch::Watch;
use modnet_pool::{word, Shared};
use serde_json::{json, Value};

use super::inline::First;
use super::late::Late;
use crate::flow::{self, Hooked, Ready, Side, Way};
use crate::hooks::{Ends, Hooks, Opened, Origin, State, Verdict, Wants, Yield};
use crate::revoke::{peer, Next};
use crate::sock;
use crate::stats::Stats;
use crate::steal::carried::Carried;
use crate::steal::doors::Doors;
use crate::steal::page::Page;
use crate::steal::towards;

/// Left: this module's end of the pair whose other end the application, or the module before, has.
pub struct Pair {
    /// The socket.
    pub left: OwnedFd,
    /// Whether the poller tells about room.
    pub room: bool,
    /// The flow that it has now.
    pub flow: Option<u64>,
    /// Its place in a pool; None: it ends with its flow.
    pub seat: Option<Seat>,
    /// What was seen and no flow has been told.
    early: Ready,
    /// The other end is closed, or half of it: for good.
    hung_up: bool,
    /// The client has closed the flow by word.
    closed: bool,
    /// Closed, with bytes unread that were meant for the application.
    unread: bool,
    /// Closed by a client that counts: bytes that it has written to its end in all.
    sent: Option<u32>,
    /// The word says so: the flow ends the ordinary way.
    dirty: bool,
    /// The network's end was shown.
    shown: bool,
    /// Bytes read from it and written to it, since it was made.
    pub(super) taken: u32,
    given: u32,
    /// What is to be read of it before the socket.
    pub(super) first: First,
    /// Its inode, once somebody has asked.
    inode: Option<u32>,
}

/// A pair's place in a pool.
pub struct Seat {
    /// The pool, as the worker knows it.
    pub pool: u64,
    /// Which pair of it.
    pub slot: usize,
    /// The memory, which lives as long as anybody looks at it.
    pub page: Arc<Page>,
}

impl Seat {
    fn word(&self) -> &AtomicU32 {
        self.page.word(self.slot)
    }
}

impl Pair {
    /// A pair without a flow.
    pub fn new(left: OwnedFd, seat: Option<Seat>) -> Self {
        let early = Ready::default();
        let (room, hung_up, closed, unread, dirty, shown) = (false, false, false, false, false, false);
        let (taken, given) = (0, 0);
        Self {
            left,
            room,
            flow: None,
            seat,
            early,
            hung_up,
            closed,
            unread,
            sent: None,
            dirty,
            shown,
            taken,
            given,
            first: First::default(),
            inode: None,
        }
    }

    /// So many bytes were read from it: every one has to be told, before it is asked whether the client has closed.
    pub fn took(&mut self, count: usize) {
        if let Some(seat) = &self.seat {
            self.taken = self.taken.wrapping_add(towards::wrapped(count));
            seat.page.taken(seat.slot).store(self.taken, Ordering::Relaxed);
        }
    }

    /// So many bytes were written to it: every one has to be told.
    pub fn gave(&mut self, count: usize) {
        self.given = self.given.wrapping_add(towards::wrapped(count));
    }

    /// Which socket it is, for who has the other end; None where the system does not tell.
    pub fn inode(&mut self) -> Option<u32> {
        if self.inode.is_none() {
            self.inode = peer::inode(self.left.as_fd()).ok();
        }
        self.inode
    }

    /// A flow begins: what it is to be told at once.
    pub fn begin(&mut self, flow: u64) -> Option<Ready> {
        self.flow = Some(flow);
        (self.closed, self.unread, self.dirty) = (false, false, false);
        self.sent = None;
        let early = std::mem::take(&mut self.early);
        let closed = self.heed();
        match closed {
            Some(closed) => Some(Ready { readable: true, ..closed }),
            None => {
                let early = Ready { readable: early.readable || self.has_inline(), ..early };
                (early != Ready::default()).then_some(early)
            }
        }
    }

    /// The poller saw something. The flow that is to be told; None: it is remembered.
    pub fn saw(&mut self, ready: Ready) -> Option<u64> {
        self.hung_up |= ready.hang_up || ready.half || ready.failed;
        self.first.socket |= ready.readable || self.hung_up;
        if self.flow.is_none() {
            let early = &mut self.early;
            early.readable |= ready.readable;
            early.half |= ready.half;
            early.hang_up |= ready.hang_up;
            early.failed |= ready.failed;
        }
        self.flow
    }

    /// Whether the client has closed by word; told once. To be asked before a read: nothing follows what it finds.
    pub fn heed(&mut self) -> Option<Ready> {
        let seat = self.seat.as_ref().filter(|_| !self.closed && !self.dirty)?;
        if !word::is_closed(seat.word()) {
            return None;
        }
        self.closed = true;
        self.unread = if word::is_counted(seat.word()) {
            self.sent = Some(seat.page.sent(seat.slot).load(Ordering::Relaxed));
            seat.page.heard(seat.slot).load(Ordering::Relaxed) != self.given
        } else {
            sock::unsent(self.left.as_fd()).is_none_or(|count| count > 0)
        };
        Some(Ready { hang_up: true, failed: self.unread, ..Ready::default() })
    }

    /// The same, after a read that found less than it asked for: it may have been closed meanwhile.
    pub fn heed_now(&mut self) -> Option<Ready> {
        let seat = self.seat.as_ref().filter(|_| !self.closed && !self.dirty)?;
        if word::is_closed_now(seat.word()) {
            return self.heed();
        }
        None
    }

    /// Whether the client has closed by word.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether it has, and has said that the socket has no more than was read.
    pub fn is_read(&self) -> bool {
        self.sent == Some(self.taken)
    }

    /// Whether the module before, whose end is closed, has said that this was a reset.
    pub fn was_reset(&self) -> bool {
        !self.closed && sock::was_reset(&self.left)
    }

    /// Shows the application the network's end; or is told that the application has closed before.
    pub fn half_close(&mut self) -> Option<Ready> {
        let closed = self.leave_word();
        if self.dirty {
            self.shown = true;
            sock::shutdown_write(&self.left);
        }
        closed
    }

    /// From here on the client's close is heard by its socket, whatever lies unread in it; or the client has closed before.
    pub fn leave_word(&mut self) -> Option<Ready> {
        match &self.seat {
            Some(seat) if !self.dirty && !word::half_close(seat.word()) => self.heed(),
            _ => {
                self.dirty = true;
                None
            }
        }
    }

    /// The flow is over. Whether the pair can carry another: the client has closed by word, everything was read
    /// (`is_drained`), nothing lies unread at the other end.
    pub fn is_reusable(&self, is_drained: bool) -> bool {
        self.seat.is_some() && self.closed && !self.dirty && !self.unread && !self.hung_up && is_drained
    }

    /// It is the client's again.
    pub fn done(&mut self) {
        self.flow = None;
        self.open();
        if let Some(seat) = &self.seat {
            word::done(seat.word());
        }
    }

    /// Takes it away from the client, if it is idle; it is to be freed then.
    pub fn withdraw(&self) -> bool {
        self.flow.is_none() && self.seat.as_ref().is_some_and(|seat| word::withdraw(seat.word()))
    }

    /// Takes it out of its pool, for good, while its flow goes on: from here on it ends with its sockets. What is to be read before
    /// its own bytes. None: the client has closed by word, and nobody is at the other end any more.
    pub fn leave_pool(&mut self) -> Option<Vec<u8>> {
        if self.closed {
            return None;
        }
        if !self.dirty && self.seat.as_ref().is_some_and(|seat| !word::half_close(seat.word())) {
            return None;
        }
        let bytes = self.shut();
        if let Some(seat) = &self.seat {
            word::free(seat.word());
        }
        Some(bytes)
    }

    /// Whether its other end is gone.
    pub fn has_hung_up(&self) -> bool {
        self.hung_up
    }

    /// Closes it, then tells the client.
    pub fn free(self) {
        if self.shown {
            // A reader that has been shown the end hears of no reset after it. A close before all was read would be one.
            sock::discard_unread(&self.left);
        }
        drop(self.left);
        if let Some(seat) = self.seat {
            word::free(seat.word());
        }
    }
}

/// Bytes that were read once already.
#[derive(Default)]
pub struct Unread {
    bytes: Vec<u8>,
    at: usize,
}

impl Unread {
    /// They are to be read first.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, at: 0 }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Reads; None: there are no more, and their memory is given back.
    pub fn read(&mut self, into: &mut [u8]) -> Option<usize> {
        let rest = &self.bytes[self.at..];
        if rest.is_empty() {
            *self = Self::default();
            return None;
        }
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Some(count)
    }

    /// All that is left.
    pub fn take(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(self);
        bytes.bytes.split_off(bytes.at)
    }
}

/// Right, and everything that belongs to one connection. What few flows have is boxed: a short connection costs what this weighs.
pub struct Flow {
    /// Unique in this process.
    pub id: u64,
    /// Its pair.
    pub pair: Option<u64>,
    /// The socket.
    pub right: OwnedFd,
    /// Whether it is the real socket.
    pub right_is_tcp: bool,
    /// Where right is a pooled pair.
    pub seat: Option<towards::Seat>,
    /// Whether the poller tells about room.
    pub room: bool,
    /// The poller does not know right yet.
    pub young: bool,
    /// It has had a turn, and waits for the next one.
    pub queued: bool,
    /// What happens next.
    pub machine: flow::Flow,
    /// The module's state; None where it has no hooks.
    pub state: Option<State>,
    /// By way: much is coming, see [`super::pipe`].
    pub busy: [bool; 2],
    /// By way: most bytes of one read for the hook.
    pub reads: [usize; 2],
    /// By way: a pipe that holds what the queue calls outside.
    pub pipes: [Option<super::pipe::Pipe>; 2],
    /// The real socket's TCP state; None where there are no hooks that could ask.
    pub tcp: Option<Arc<Watch>>,
    /// Bytes that somebody at the left has taken back.
    pub yanked: u64,
    /// While somebody takes bytes back.
    pub frozen: Option<Box<super::yanking::Frozen>>,
    /// The real socket, which a later module serves: for `tcp`.
    pub real: Option<OwnedFd>,
    /// By way: bytes that came along when the flow was yielded, to be read before those of the socket.
    carried: Option<Box<[Unread; 2]>>,
    /// Its module has bounded what the real socket keeps unsent.
    pub limits_unsent: bool,
    /// It is to be yielded, as soon as the hook has returned.
    pub yielding: Option<Box<Yield>>,
    /// Where what is outbound may be revoked.
    pub late: Option<Box<Late>>,
    /// The timer that is set, in the worker's nanoseconds.
    pub timer: Option<u64>,
    /// When the module's hook is to be called, in the same.
    pub wake: Option<u64>,
    /// The timer that is set for that: a module may put it off with every byte.
    pub alarm: Option<u64>,
    origin: Arc<Origin>,
    opened_at: f64,
}

impl Flow {
    /// A new one.
    pub fn new(
        id: u64,
        origin: Arc<Origin>,
        right: OwnedFd,
        right_is_tcp: bool,
        wants: Wants,
        send_queue: usize,
    ) -> Self {
        let hooked = Hooked { data: wants.data, end: wants.end };
        Self {
            id,
            pair: None,
            right,
            right_is_tcp,
            seat: None,
            room: false,
            young: false,
            queued: false,
            machine: flow::Flow::new(send_queue, hooked, right_is_tcp),
            state: None,
            busy: [false; 2],
            reads: [if wants.reads == 0 { usize::MAX } else { wants.reads }; 2],
            pipes: [None, None],
            tcp: None,
            yanked: 0,
            frozen: None,
            real: None,
            carried: None,
            limits_unsent: false,
            yielding: None,
            late: None,
            timer: None,
            wake: None,
            alarm: None,
            origin,
            opened_at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |t| t.as_secs_f64()),
        }
    }

    /// So many bytes were read from right.
    pub fn heard(&mut self, count: usize) {
        if let Some(seat) = &mut self.seat {
            seat.read(count);
        }
    }

    /// So many bytes were written to right.
    pub fn wrote(&mut self, count: usize) {
        if let Some(seat) = &mut self.seat {
            seat.wrote(count);
        }
    }

    /// From whom it is.
    pub fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// Makes the module's state, where it has any hook.
    pub fn open(&mut self, wants: Wants, hooks: &dyn Hooks, doors: &Arc<Doors>) {
        if wants.any() {
            let network = self.network();
            let tcp = Arc::new(Watch::new(network.as_raw_fd()));
            self.state = Some(hooks.state(Opened {
                id: self.id,
                origin: Arc::clone(&self.origin),
                ends: Ends::of(network),
                at: self.opened_at,
                tcp: Arc::clone(&tcp),
                doors: Arc::clone(doors),
                outlet: self.machine.outlet().cloned(),
                next: self.next(doors),
            }));
            self.tcp = Some(tcp);
        }
    }

    /// Whom a revocable module in mid-chain asks for what it has passed on.
    fn next(&self, doors: &Doors) -> Option<Arc<Next>> {
        if self.right_is_tcp || self.machine.outlet().is_none() {
            return None;
        }
        let ino = peer::inode(self.right.as_fd()).ok()?;
        let names = self.origin.chain.get(self.origin.position + 1..).unwrap_or_default().to_vec();
        Some(Arc::new(Next { runtime: doors.runtime().clone(), names, ino }))
    }

    /// The real socket, if it is here.
    fn network(&self) -> &OwnedFd {
        self.real.as_ref().unwrap_or(&self.right)
    }

    /// Its chain has changed.
    pub fn moved(&mut self, origin: Arc<Origin>, hooks: &dyn Hooks, doors: &Doors) {
        self.origin = origin;
        let next = self.next(doors);
        if let Some(state) = &mut self.state {
            hooks.moved(state, &self.origin, next);
        }
    }

    /// It was yielded to this module: what has come along goes first.
    pub fn load(&mut self, carried: Carried) {
        let Carried { left, right, left_unread, .. } = carried;
        self.machine.pass(Way::Inbound, &left.unsent);
        self.machine.pass(Way::Outbound, &right.unsent);
        self.hold(Way::Outbound, left.unread);
        self.hold(Way::Inbound, right.unread);
        // That the application has left bytes unread a socket tells once only.
        self.machine.ready(Side::Left, Ready { failed: left_unread, ..Ready::default() });
    }

    /// It was not handed over: what would be read of a way that has ended passes.
    pub fn pass_held(&mut self) {
        for way in Way::BOTH {
            if self.machine.has_ended(way) {
                let bytes = self.take_held(way);
                self.machine.pass(way, &bytes);
            }
        }
    }

    /// These bytes are to be read of a way's source before all others, again.
    pub fn hold(&mut self, way: Way, mut bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        bytes.extend(self.take_held(way));
        self.carried.get_or_insert_default()[way as usize] = Unread::new(bytes);
        self.machine.ready(way.source(), Ready { readable: true, ..Ready::default() });
    }

    /// These are to be read behind what is held, and before the socket's.
    pub fn hold_behind(&mut self, way: Way, bytes: Vec<u8>) {
        let mut all = self.take_held(way);
        all.extend(bytes);
        self.hold(way, all);
    }

    /// Reads what is held; None: there is no more, and the socket is next.
    pub fn read_held(&mut self, way: Way, into: &mut [u8]) -> Option<usize> {
        self.carried.as_mut()?[way as usize].read(into)
    }

    /// Whether anything is held of a way.
    pub fn holds(&self, way: Way) -> bool {
        self.carried.as_ref().is_some_and(|carried| !carried[way as usize].is_empty())
    }

    /// All that is held of a way.
    pub fn take_held(&mut self, way: Way) -> Vec<u8> {
        self.carried.as_mut().map_or_else(Vec::new, |carried| carried[way as usize].take())
    }

    /// What waits for a destination, taken away from here.
    pub fn take_queued(&mut self, way: Way) -> Vec<u8> {
        let queue = self.machine.queue(way);
        let pipe = self.pipes[way as usize].take();
        let mut bytes = pipe.map_or_else(Vec::new, |pipe| pipe.read(queue.outside()));
        bytes.extend_from_slice(queue.front());
        queue.clear();
        if let Some(outlet) = self.machine.outlet().filter(|_| way == Way::Outbound) {
            bytes.extend(outlet.take());
        }
        bytes
    }

    /// What the destination has not taken of what is in a pipe stays there.
    pub fn keep(&mut self, way: Way, pipe: super::pipe::Pipe, count: usize) {
        self.machine.queue(way).keep_outside(count);
        self.pipes[way as usize] = Some(pipe);
        self.machine.sent(way, false);
    }

    /// A call on `side` failed for good. The network's error is the application's to hear, but that its peer has closed.
    pub fn broken(&mut self, side: Side, reading: bool, errno: i32) {
        if side == Side::Right && self.right_is_tcp && errno != libc::EPIPE {
            sock::leave_error(&self.right, errno);
        }
        self.machine.broken(side, reading);
    }

    /// The last hook, and the counters.
    pub fn close(&mut self, wants: Wants, hooks: &dyn Hooks, stats: &Stats) {
        self.recall();
        let bytes = self.machine.bytes();
        if let Some(state) = self.state.as_mut().filter(|_| wants.closed) {
            if hooks.closed(state, bytes) == Verdict::Failed {
                Stats::add(&stats.hook_failures, 1);
            }
        }
        if let Some(tcp) = &self.tcp {
            tcp.freeze();
        }
        if let Some(outlet) = self.machine.outlet() {
            outlet.clear();
        }
        Stats::add(&stats.ended, 1);
        Stats::add(&stats.bytes_outbound, bytes[Way::Outbound as usize]);
        Stats::add(&stats.bytes_inbound, bytes[Way::Inbound as usize]);
    }

    /// Much is coming: the way is spliced from here on.
    pub fn be_busy(&mut self, pair: &Pair, way: Way) {
        self.busy[way as usize] = true;
        // A splice waits unless the descriptor says otherwise, as it does where a shim made it.
        sock::set_nonblocking(&pair.left);
        sock::set_nonblocking(&self.right);
    }

    /// For the control socket.
    pub fn as_json(&self) -> Value {
        let [outbound, inbound] = self.machine.bytes();
        let [queued_outbound, queued_inbound] = self.machine.queued();
        let address = |address: Option<std::net::SocketAddr>| address.map(|a| a.to_string());
        json!({
            "id": self.id,
            "application": self.origin.application,
            "chain": self.origin.chain,
            "position": self.origin.position,
            "peer": address(sock::peer(self.network().as_fd())),
            "local": address(sock::local(self.network().as_fd())),
            "opened_at": self.opened_at,
            "bytes_outbound": outbound,
            "bytes_inbound": inbound,
            "queued_outbound": queued_outbound,
            "queued_inbound": queued_inbound,
            "held": self.frozen.as_ref().map_or(0, |frozen| frozen.len()),
            "bytes_yanked": self.yanked + self.machine.outlet().map_or(0, |outlet| outlet.yanked()),
            "tcp": super::published::tcp(self),
        })
    }
}
