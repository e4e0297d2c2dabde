//! How a flow begins, and its one end, with two ways for its pair: closed with it, or kept for the next flow.

use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use super::conn::{Flow, Pair};
use super::late::Late;
use super::{Worker, KIND_BITS, LEFT, NEAR, RIGHT};
use crate::flow::{Ready, Side, Way};
use crate::sock;
use crate::stats::Stats;
use crate::steal::{Left, Stolen};

impl Worker {
    /// A stolen socket becomes a flow, on a pair that is there or comes along. `in_burst`: with others, see [`super::young`].
    pub(super) fn begin(&mut self, stolen: Stolen, pool: Option<u64>, in_burst: bool) {
        let shared = Arc::clone(&self.shared);
        let pair = match stolen.left {
            Left::Fresh(left) => self.watch_left(Pair::new(left, None)),
            Left::New(left, slot) => self.new_seat(pool, slot).and_then(|seat| {
                let pair = self.watch_left(Pair::new(left, Some(seat)))?;
                self.take_seat(pair);
                Some(pair)
            }),
            Left::Again(slot) => self.seated(pool, slot),
        };
        let Some(pair) = pair else {
            if stolen.right_is_tcp {
                sock::reset(&stolen.right);
            }
            return;
        };
        Stats::add(&shared.receiver.stats.stolen, 1);
        shared.flows.fetch_add(1, Ordering::Relaxed);
        let id = shared.next_id.fetch_add(1, Ordering::Relaxed);
        let right = stolen.right.as_raw_fd();
        let again = stolen.seat.as_ref().map(|seat| seat.again);
        let mut flow =
            Flow::new(id, stolen.origin, stolen.right, stolen.right_is_tcp, self.wants, shared.send_queue);
        flow.seat = stolen.seat;
        flow.pair = Some(pair);
        flow.young = in_burst && flow.right_is_tcp;
        let young = flow.young;
        if stolen.real.is_some() {
            shared.receiver.spare.fetch_add(1, Ordering::Relaxed);
        }
        flow.real = stolen.real;
        let told = shared.revocable.map(|most| {
            let (outlet, key) = self.touched.outlet();
            flow.machine.bind_late(Arc::clone(&outlet), most);
            flow.late = Some(Box::new(Late::new(outlet)));
            key
        });
        flow.open(self.wants, &*shared.hooks, &self.doors);
        let mut carries = stolen.carried.is_some();
        let mut passed = Vec::new();
        if let Some(mut carried) = stolen.carried {
            passed = std::mem::take(&mut carried.passed);
            flow.load(*carried);
        }
        if let Some(pair) = self.pairs.get_mut(pair).filter(|_| flow.late.is_some()) {
            // What can be taken back lies in the socket, or in the outlet.
            let bytes = pair.shut();
            carries |= !bytes.is_empty();
            flow.hold_behind(Way::Outbound, bytes);
        }
        let flow = self.flows.insert(flow);
        if let Some(told) = told {
            told.store(flow, Ordering::Relaxed);
        }
        // From here on others may read out of the pair, and have to say so.
        if let (Some(flow), Some(pair)) = (self.flows.get_mut(flow), self.pairs.get_mut(pair)) {
            flow.lend(pair);
        }
        // What is ready by now is told by the first look.
        let (watched, beyond) = match again {
            None if young => (Ok(()), None),
            None => (self.poller.add(right, flow << KIND_BITS | RIGHT, false), None),
            Some(false) => {
                let name = self.nears.add(right, flow);
                (self.poller.add(right, name << KIND_BITS | NEAR, false), None)
            }
            // Its BEGIN was sent before this: nothing was seen since that belongs to another flow.
            Some(true) => (Ok(()), self.nears.again(right, flow)),
        };
        let early = self.pairs.get_mut(pair).and_then(|pair| pair.begin(flow));
        if watched.is_err() {
            Stats::add(&shared.receiver.stats.no_descriptor, 1);
            self.end(flow, true);
            return;
        }
        if self.wants.opened {
            self.call_opened(flow);
            if self.is_yielding(flow) && !self.hand_over(flow) {
                return;
            }
        }
        if !self.show(flow, &passed) {
            return;
        }
        if let Some(flow) = beyond.and_then(|beyond| Some((self.flows.get_mut(flow)?, beyond))) {
            flow.0.machine.ready(Side::Right, flow.1);
        }
        let looked = self.look_at_young(flow);
        let early = early.filter(|_| self.flows.get_mut(flow).is_some_and(|flow| flow.pair == Some(pair)));
        if let Some(early) = early {
            if let Some(flow) = self.flows.get_mut(flow).filter(|_| early.hang_up) {
                // Over before it has begun: whether bytes have come in for nobody, the poller had no time to tell.
                flow.machine.ready(Side::Right, Ready { readable: true, ..Ready::default() });
            }
            self.ready(flow, Side::Left, early);
        } else if self.wants.opened || carries || beyond.is_some() || looked {
            self.pump(flow);
        }
        self.keep_young(flow);
    }

    /// None: out of kernel memory.
    pub(super) fn watch_left(&mut self, pair: Pair) -> Option<u64> {
        let left = pair.left.as_raw_fd();
        let key = self.pairs.insert(pair);
        if self.poller.add(left, key << KIND_BITS | LEFT, false).is_ok() {
            return Some(key);
        }
        Stats::add(&self.shared.receiver.stats.no_descriptor, 1);
        if let Some(pair) = self.pairs.remove(key) {
            pair.free();
        }
        None
    }

    /// The one end of a flow.
    pub(super) fn end(&mut self, key: u64, reset: bool) {
        let Some(mut flow) = self.flows.remove(key) else { return };
        let shared = Arc::clone(&self.shared);
        flow.close(self.wants, &*shared.hooks, &shared.receiver.stats);
        if let Some(pair) = flow.pair.and_then(|pair| self.pairs.get_mut(pair)) {
            flow.tell_fetched(pair);
        }
        let app_gone = flow.machine.left_is_gone();
        if flow.right_is_tcp {
            // An application that closes by word has no SO_LINGER on the real socket that a hook has seen; to ask costs each flow
            // a call. One that no hook saw makes the close below wait: docs/decisions/04-end-of-a-flow.md.
            let pair = flow.pair.and_then(|pair| self.pairs.get_mut(pair));
            let in_order = flow.origin().position == 0 && pair.is_some_and(|pair| pair.is_closed());
            let linger = if in_order { None } else { sock::linger(&flow.right) };
            if reset || linger == Some(0) {
                sock::reset(&flow.right);
            } else {
                if linger.is_some() {
                    // The worker would wait in the close, and all others with it.
                    sock::set_no_linger(&flow.right);
                }
                sock::shutdown_write(&flow.right);
            }
        }
        match flow.seat {
            // The next module sees by itself what the application left unread.
            Some(seat) if app_gone && !reset && !flow.machine.right_is_gone() => {
                self.leave(seat, flow.right, flow.room);
            }
            seat => {
                // From here on the near socket tells.
                drop(seat);
                if !flow.right_is_tcp && reset {
                    sock::announce_reset(&flow.right);
                }
                if !app_gone {
                    // The application's hidden duplicate keeps the registration alive.
                    self.poller.remove(flow.right.as_raw_fd());
                }
                drop(flow.right);
            }
        }
        // Right is closed before the client can hear that the flow has ended.
        if let Some(pair) = flow.pair {
            self.give_back(pair, flow.machine.is_drained());
        }
        if flow.real.is_some() {
            shared.receiver.spare.fetch_sub(1, Ordering::Relaxed);
        }
        shared.flows.fetch_sub(1, Ordering::Relaxed);
    }
}
