//! The two objects of a connection: the pair towards the application, and the flow towards the network.
//!
//! They are two, because a pair will outlive a flow where pairs are used again. What is right of a flow is TCP or a
//! pair towards the next module.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{json, Value};

use crate::flow::{self, Hooked, Side, Way};
use crate::hooks::{Hooks, Opened, Origin, State, Verdict, Wants};
use crate::sock;
use crate::stats::Stats;

/// Left: this module's end of the pair whose other end the application, or the module before, has.
pub struct Pair {
    /// The socket.
    pub left: OwnedFd,
    /// Whether the poller tells about room.
    pub room: bool,
    /// The flow that it has now.
    pub flow: u64,
}

/// Right, and everything that belongs to one connection.
pub struct Flow {
    /// Unique in this process.
    pub id: u64,
    /// Its pair.
    pub pair: Option<u64>,
    /// The socket.
    pub right: OwnedFd,
    /// Whether it is the real socket.
    pub right_is_tcp: bool,
    /// Whether the poller tells about room.
    pub room: bool,
    /// What happens next.
    pub machine: flow::Flow,
    /// The module's state; None where it has no hooks.
    pub state: Option<State>,
    /// By way: much is coming, see [`super::pipe`].
    pub busy: [bool; 2],
    /// By way: a pipe that holds what the queue calls outside.
    pub pipes: [Option<super::pipe::Pipe>; 2],
    /// The timer that is set, in the worker's nanoseconds.
    pub timer: Option<u64>,
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
            room: false,
            machine: flow::Flow::new(send_queue, hooked, right_is_tcp),
            state: None,
            busy: [false; 2],
            pipes: [None, None],
            timer: None,
            origin,
            opened_at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |t| t.as_secs_f64()),
        }
    }

    /// Makes the module's state, where it has any hook.
    pub fn open(&mut self, wants: Wants, hooks: &dyn Hooks) {
        if wants.any() {
            self.state = Some(hooks.state(Opened {
                id: self.id,
                origin: Arc::clone(&self.origin),
                peer: sock::peer(self.right.as_fd()),
                local: sock::local(self.right.as_fd()),
                at: self.opened_at,
            }));
        }
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
        let bytes = self.machine.bytes();
        if let Some(state) = self.state.as_mut().filter(|_| wants.closed) {
            if hooks.closed(state, bytes) == Verdict::Failed {
                Stats::add(&stats.hook_failures, 1);
            }
        }
        Stats::add(&stats.ended, 1);
        Stats::add(&stats.bytes_outbound, bytes[Way::Outbound as usize]);
        Stats::add(&stats.bytes_inbound, bytes[Way::Inbound as usize]);
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
            "peer": address(sock::peer(self.right.as_fd())),
            "local": address(sock::local(self.right.as_fd())),
            "opened_at": self.opened_at,
            "bytes_outbound": outbound,
            "bytes_inbound": inbound,
            "queued_outbound": queued_outbound,
            "queued_inbound": queued_inbound,
        })
    }
}
