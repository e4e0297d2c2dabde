//! One worker: a thread on one core, its steal queues, its flows.
//!
//! | file | holds |
//! | --- | --- |
//! | [`slab`] | numbered places with generations: what an event's token names |
//! | [`ahead`] | what a hook will look at, on its way from memory while the kernel reads |
//! | [`conn`] | a pair (left) and a flow (right): the two objects of a connection |
//! | [`inline`] | what is read of a pair, and small writes that no socket carries |
//! | [`late`] | what may be revoked: how much of it the kernel is given |
//! | [`nears`] | near sockets of pooled pairs towards the next module, and whose they are |
//! | [`life`] | how a flow begins, and its one end |
//! | [`pools`] | pairs that outlive a flow: the module's half |
//! | [`pipe`] | the way of many bytes that nobody looks at |
//! | [`pump`] | carries out the commands of [`crate::flow`] |
//! | [`room`] | when descriptors run out, and the entrance closes |
//! | [`yanking`] | somebody at the left takes bytes back |
//! | [`timers`] | when limits let the next bytes pass |
//! | [`young`] | flows of a burst, before they are watched |
//! | [`yielding`] | flows that go to other modules |
//! | here | the loop, arrivals, the end |
//!
//! Flows never change their worker. Nothing here waits but epoll. Rules: a token whose generation is old is an
//! event for somebody who has gone; a flow that has much to do gets a turn, then the others.

mod ahead;
mod conn;
mod inline;
mod late;
mod life;
mod nears;
mod pipe;
mod pools;
mod published;
mod pump;
mod room;
mod slab;
#[cfg(test)]
mod tests;
mod timers;
mod yanking;
mod yielding;
mod young;

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver as Orders, TryRecvError};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::hooks::{Hooks, Wants};
use crate::poll::{Poller, Waker};
use crate::registry::entrance::Entrance;
use crate::registry::socket;
use crate::stats::Stats;
use crate::steal::doors::Doors;
use crate::steal::inbox::{Inbox, State, BATCHES};
use crate::steal::{Client, Receiver, Stolen};
use conn::{Flow, Pair};
use late::{Touched, Traffic};
use nears::Nears;
use pipe::Pipes;
use pools::Pool;
use room::Room;
use slab::Slab;
use timers::Timers;
pub use yanking::{Ask, Found};
use young::Young;

/// Bytes of one read: as large as a flow may wait, at most this. 64-256 KiB made no difference within noise for
/// 1 MB responses; beyond the second-level cache it gets slower.
pub const READ: usize = 256 * 1024;
/// Idle buffers of hooks are kept up to this size.
const KEEP: usize = 1 << 20;

/// So long at a time flows go on that have much to do.
const SLICE: Duration = Duration::from_millis(1);

/// What a token names, in its low bits.
const LISTENER: u64 = 0;
const CLIENT: u64 = 1;
const LEFT: u64 = 2;
const RIGHT: u64 = 3;
const WAKE: u64 = 4;
const BELL: u64 = 5;
const NEAR: u64 = 6;
const KIND_BITS: u32 = 3;

/// What the others tell a worker.
pub enum Order {
    /// List the flows.
    List(std::sync::mpsc::Sender<Vec<Value>>),
    /// Somebody takes bytes back.
    Yank(Ask),
    /// Serve a flow that came another way than by the queues.
    Take(Box<Stolen>),
    /// Take no more flows after those that are on their way; end by then.
    Drain(Instant),
}

/// What all workers of a module share.
pub struct Shared {
    /// Name, registry, counters.
    pub receiver: Receiver,
    /// The module.
    pub hooks: Arc<dyn Hooks>,
    /// Most bytes that one way of a flow reads before they have been sent.
    pub send_queue: usize,
    /// Most outbound bytes of a flow that wait where they can be taken back; None: nobody may take any.
    pub revocable: Option<usize>,
    /// How many workers there are.
    pub workers: u64,
    /// Living flows.
    pub flows: AtomicU64,
    /// Numbers flows.
    pub next_id: AtomicU64,
}

/// One worker.
pub struct Worker {
    shared: Arc<Shared>,
    wants: Wants,
    poller: Poller,
    orders: Orders<Order>,
    waker: Arc<Waker>,
    listeners: Vec<(u32, OwnedFd)>,
    clients: Slab<Client>,
    pipes: Pipes,
    room: Room,
    /// Clients that may send no more, and whose last messages wait for room.
    waiting: VecDeque<u64>,
    pools: Slab<Pool>,
    /// Before the pairs, which they have lent: they are dropped first.
    flows: Slab<Flow>,
    pairs: Slab<Pair>,
    nears: Nears,
    inbox: Inbox,
    stolen: Vec<Stolen>,
    timers: Timers,
    young: Young,
    touched: Arc<Touched>,
    traffic: Traffic,
    /// Whether a trim is among them.
    trims: bool,
    /// Flows that had more to do than one turn.
    again: VecDeque<u64>,
    scratch: Box<[u8]>,
    out: Vec<u8>,
    /// The way to modules that flows are yielded to.
    doors: Arc<Doors>,
    started: Instant,
    deadline: Option<Instant>,
}

/// In which order what one wait has brought is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// First: while descriptors are in flight, each close of a UNIX socket wakes the kernel's collector.
    Arrivals,
    Sockets,
    /// Last: a header that lies in shared memory goes on together with the body that its client has written to the socket since.
    Bells,
}

impl Turn {
    const ALL: [Self; 3] = [Self::Arrivals, Self::Sockets, Self::Bells];
}

impl Worker {
    /// A worker for the queues of some cores. `waker` is rung when there are orders.
    ///
    /// # Errors
    /// What the system says about epoll.
    pub fn new(
        shared: Arc<Shared>,
        listeners: Vec<(u32, OwnedFd)>,
        orders: Orders<Order>,
        waker: Arc<Waker>,
    ) -> std::io::Result<Self> {
        let poller = Poller::new()?;
        for (index, (_, listener)) in listeners.iter().enumerate() {
            poller.add_level(listener.as_raw_fd(), (index as u64) << KIND_BITS | LISTENER)?;
        }
        poller.add_level(waker.as_raw_fd(), WAKE)?;
        let receiver = &shared.receiver;
        let entrances: std::io::Result<_> =
            listeners.iter().map(|(cpu, _)| Entrance::of(&receiver.runtime, &receiver.name, *cpu)).collect();
        let room = Room::new(entrances?, shared.workers);
        let cpu = listeners.first().map_or(0, |(cpu, _)| *cpu);
        let doors = Arc::new(Doors::new(&receiver.runtime, cpu));
        Ok(Self {
            wants: shared.hooks.wants(),
            scratch: vec![0; READ.min(shared.send_queue)].into(),
            touched: Arc::new(Touched::new(Arc::clone(&waker), Arc::clone(&shared))),
            shared,
            pipes: Pipes::new(room.pipes()),
            room,
            waiting: VecDeque::new(),
            poller,
            traffic: Traffic::default(),
            orders,
            waker,
            listeners,
            clients: Slab::default(),
            pools: Slab::default(),
            pairs: Slab::default(),
            flows: Slab::default(),
            nears: Nears::default(),
            inbox: Inbox::default(),
            stolen: Vec::new(),
            timers: Timers::default(),
            young: Young::default(),
            trims: false,
            again: VecDeque::new(),
            out: Vec::new(),
            doors,
            started: Instant::now(),
            deadline: None,
        })
    }

    /// Works until told to drain and all flows have ended.
    ///
    /// # Errors
    /// A fault of ours in the use of epoll.
    pub fn run(mut self) -> std::io::Result<()> {
        loop {
            self.watch_grown();
            let patience = self.patience();
            let count = self.poller.wait(patience)?;
            for turn in Turn::ALL {
                for index in 0..count {
                    if self.turn(index) == turn {
                        self.event(index);
                    }
                }
            }
            self.go_on();
            if self.room.is_closed() || !self.waiting.is_empty() {
                self.refill();
            }
            if !self.timers.is_empty() {
                let now = self.now();
                while let Some(token) = self.timers.due(now) {
                    if token == pools::TRIM {
                        self.trim();
                    } else {
                        self.resume(token, now);
                    }
                }
            }
            if let Some(deadline) = self.deadline {
                if self.flows.is_empty() && self.clients.is_empty() {
                    return Ok(());
                }
                if Instant::now() >= deadline {
                    self.cut();
                    return Ok(());
                }
            }
        }
    }

    /// A flow waits for its next turn, once.
    fn queue(&mut self, key: u64) {
        if self.flows.get_mut(key).is_some_and(|flow| !std::mem::replace(&mut flow.queued, true)) {
            self.again.push_back(key);
        }
    }

    /// Flows that had more to do than one turn have their next, for a while; then come those that something new has happened to. So
    /// fifty bodies that are compressed without pause hold nobody up for fifty turns.
    fn go_on(&mut self) {
        if self.again.is_empty() {
            return;
        }
        let begun = Instant::now();
        for _ in 0..self.again.len() {
            let Some(key) = self.again.pop_front() else { return };
            if let Some(flow) = self.flows.get_mut(key) {
                flow.queued = false;
            }
            self.pump(key);
            if begun.elapsed() >= SLICE {
                return;
            }
        }
    }

    fn patience(&mut self) -> Option<Duration> {
        if !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let timer = self.timers.next().map(|at| Duration::from_nanos(at.saturating_sub(self.now())));
        let end = self.deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let full = (self.room.is_closed() || !self.waiting.is_empty()).then_some(room::FULL);
        [timer, end, full, self.young.longest()].into_iter().flatten().min()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn turn(&self, index: usize) -> Turn {
        match self.poller.event(index).token & ((1 << KIND_BITS) - 1) {
            CLIENT => Turn::Arrivals,
            BELL => Turn::Bells,
            _ => Turn::Sockets,
        }
    }

    fn event(&mut self, index: usize) {
        let event = self.poller.event(index);
        let key = event.token >> KIND_BITS;
        match event.token & ((1 << KIND_BITS) - 1) {
            LISTENER => self.accept(usize::try_from(key).unwrap_or(usize::MAX)),
            CLIENT => self.receive(key),
            LEFT => self.left_ready(key, event.ready),
            RIGHT => self.ready(key, crate::flow::Side::Right, event.ready),
            NEAR => self.near_ready(key, event.ready),
            BELL => self.hear(key),
            _ => self.obey(),
        }
    }

    fn accept(&mut self, index: usize) {
        let Some((cpu, listener)) = self.listeners.get(index) else { return };
        let cpu = *cpu;
        match socket::accept(listener) {
            Ok(fd) => {
                let raw = fd.as_raw_fd();
                let key = self.clients.insert(Client::new(fd, cpu));
                if self.poller.add_level(raw, key << KIND_BITS | CLIENT).is_err() {
                    Stats::add(&self.shared.receiver.stats.no_descriptor, 1);
                    self.forget(key);
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => self.run_out(),
        }
    }

    /// Who has connected cannot be let in for want of a descriptor, and stays in the backlog until there is one. The listener would
    /// say so without pause: it is looked at again as often as room is.
    fn run_out(&mut self) {
        if !self.room.run_out() {
            return;
        }
        Stats::add(&self.shared.receiver.stats.no_descriptor, 1);
        self.watch_listeners(false);
        if !self.room.is_closed() {
            self.close_entrance();
        }
    }

    fn watch_listeners(&self, watched: bool) {
        for (index, (_, listener)) in self.listeners.iter().enumerate() {
            self.poller.change_level(listener.as_raw_fd(), (index as u64) << KIND_BITS | LISTENER, watched);
        }
    }

    fn receive(&mut self, key: u64) {
        for _ in 0..BATCHES {
            if self.messages() == 0 {
                self.relieve();
            }
            if self.messages() == 0 {
                return self.close_entrance();
            }
            match self.take(key) {
                State::More => {}
                State::Drained => return,
                State::Gone => return self.forget(key),
            }
        }
    }

    /// Descriptors of flows, and of pairs without one, in the whole process.
    fn used(&self) -> u64 {
        let spare = self.shared.receiver.spare.load(Ordering::Relaxed);
        room::EACH * self.shared.flows.load(Ordering::Relaxed) + spare
    }

    fn messages(&self) -> usize {
        self.room.messages(self.used(), self.clients.len())
    }

    /// Takes what has come from a client, as much as there is room for.
    fn take(&mut self, key: u64) -> State {
        let most = self.messages();
        let Some(client) = self.clients.get_mut(key) else { return State::Gone };
        let mut stolen = std::mem::take(&mut self.stolen);
        let state = client.receive(&mut self.inbox, &self.shared.receiver, &mut stolen, most);
        let (pool, offer, refused) = (client.pool, client.take_offer(), client.take_refused());
        let in_burst = stolen.len() >= young::BURST;
        for one in stolen.drain(..) {
            self.begin(one, pool, in_burst);
        }
        self.stolen = stolen;
        for left in refused {
            self.refuse(left, pool);
        }
        if let Some(offer) = offer {
            self.accept_pool(key, offer);
        }
        state
    }

    /// There is no room for more: shims pass without this module until there is.
    fn close_entrance(&mut self) {
        Stats::add(&self.shared.receiver.stats.full, 1);
        // Where the registry refuses, shims go on connecting; what they send waits as well.
        let _ = self.room.close();
        self.dismiss();
    }

    /// The clients can send no more; what they have sent is taken when there is room.
    fn dismiss(&mut self) {
        self.gather();
        self.refill();
    }

    /// All clients wait, also those that had not been let in.
    fn gather(&mut self) {
        for index in 0..self.listeners.len() {
            // Who has connected and is not accepted yet may have sent a socket.
            loop {
                let now = self.clients.len();
                self.accept(index);
                if self.clients.len() == now {
                    break;
                }
            }
        }
        for key in self.clients.keys() {
            let Some(client) = self.clients.get_mut(key).filter(|_| !self.waiting.contains(&key)) else {
                continue;
            };
            client.close_entrance();
            self.poller.remove(client.fd().as_raw_fd());
            self.waiting.push_back(key);
        }
    }

    /// Takes what waits, as far as there is room; then shims may come again.
    fn refill(&mut self) {
        if self.room.is_out() {
            if !self.room.may_look() {
                return;
            }
            self.gather();
        }
        while let Some(key) = self.waiting.front().copied() {
            if self.messages() == 0 {
                return;
            }
            if self.take(key) != State::More {
                // Everything was taken; whoever sends now gets EPIPE and passes without this module.
                self.forget(key);
                self.waiting.pop_front();
            }
        }
        let roomy = self.room.is_roomy(self.used(), self.clients.len());
        // A refusal is tried again in the next turn.
        if self.room.is_closed() && self.deadline.is_none() && roomy && self.room.open().is_ok() {
            self.watch_listeners(true);
        }
    }

    fn ready(&mut self, key: u64, side: crate::flow::Side, mut ready: crate::flow::Ready) {
        let Some(flow) = self.flows.get_mut(key) else { return };
        if side == crate::flow::Side::Left && ready.hang_up && flow.origin().position > 0 {
            let pair = flow.pair.and_then(|pair| self.pairs.get_mut(pair));
            ready.failed |= pair.is_some_and(|pair| pair.was_reset());
        }
        flow.machine.ready(side, ready);
        if side == crate::flow::Side::Left && ready.hang_up && flow.frozen.is_some() {
            self.end_lock(key);
        }
        // Who has had his turn waits for the next one.
        if self.flows.get_mut(key).is_some_and(|flow| !flow.queued) {
            self.pump(key);
        }
    }

    /// The poller saw something on a near socket.
    fn near_ready(&mut self, name: u64, ready: crate::flow::Ready) {
        if let Some(flow) = self.nears.saw(name, ready) {
            self.ready(flow, crate::flow::Side::Right, ready);
        }
    }

    /// A timer is due. One that was set earlier and has been replaced since is not the flow's any more.
    fn resume(&mut self, key: u64, now: u64) {
        if let Some(flow) = self.flows.get_mut(key).filter(|flow| flow.alarm.is_some_and(|at| at <= now)) {
            flow.alarm = flow.wake.filter(|at| *at > now);
            if let Some(at) = flow.alarm {
                self.timers.set(at, key);
            }
        }
        if let Some(flow) = self.flows.get_mut(key).filter(|flow| flow.wake.is_some_and(|at| at <= now)) {
            flow.wake = None;
            self.call_woken(key);
            self.pump(key);
        }
        if let Some(flow) = self.flows.get_mut(key).filter(|flow| flow.timer.is_some_and(|at| at <= now)) {
            flow.timer = None;
            if let Some(late) = &mut flow.late {
                let is_due = |at: &mut Option<u64>| at.take_if(|at| *at <= now).is_some();
                if is_due(&mut late.until) {
                    flow.machine.read_on(crate::flow::Way::Outbound);
                }
                if is_due(&mut late.release.again) {
                    flow.machine.ready(
                        crate::flow::Side::Right,
                        crate::flow::Ready { writable: true, ..crate::flow::Ready::default() },
                    );
                }
            }
            self.pump(key);
        }
    }

    fn obey(&mut self) {
        self.waker.clear();
        for key in self.touched.take() {
            self.heed_fetched(key);
            self.pump(key);
        }
        loop {
            match self.orders.try_recv() {
                Ok(Order::List(answer)) => {
                    let rows = self.flows.iter().map(Flow::as_json).collect();
                    let _ = answer.send(rows);
                }
                Ok(Order::Yank(ask)) => self.yank(ask),
                Ok(Order::Take(flow)) => self.begin(*flow, None, false),
                Ok(Order::Drain(deadline)) => self.drain(deadline),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => return self.drain(Instant::now()),
            }
        }
    }

    /// Others may have read out of a flow's pair, of which no event tells; whoever has closed by word meanwhile did not ring.
    fn heed_fetched(&mut self, key: u64) {
        let Some(flow) = self.flows.get_mut(key) else { return };
        let Some(pair) = flow.pair.and_then(|pair| self.pairs.get_mut(pair)) else { return };
        flow.tell_fetched(pair);
        if let Some(closed) = pair.heed_now() {
            flow.machine.ready(crate::flow::Side::Left, closed);
        }
    }

    /// Takes what is on its way, then no more.
    fn drain(&mut self, deadline: Instant) {
        self.deadline = Some(self.deadline.map_or(deadline, |old| old.min(deadline)));
        self.dismiss();
        self.listeners.clear();
    }

    /// The time to drain is over.
    fn cut(&mut self) {
        for key in self.flows.keys() {
            Stats::add(&self.shared.receiver.stats.cut, 1);
            self.end(key, true);
        }
    }
}
