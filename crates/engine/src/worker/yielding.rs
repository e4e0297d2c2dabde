//! A flow goes to other modules: they take this one's place, or come between it and a neighbour.
//!
//! | place | the new modules get as left | as right | this module keeps |
//! | --- | --- | --- | --- |
//! | replace | left | right | nothing |
//! | left | left | one end of a new pair | the other end as left, right |
//! | right | one end of a new pair | right | left, the other end as right; the real socket, to be inspected |
//!
//! What has been read of a socket and not passed on goes with that socket, before what is still in it; so does what a module that
//! leaves has not been able to send ([`crate::steal::carried`]). A module that stays keeps its own send queues: what is in them
//! passes the new modules.
//!
//! Pairs of a yielded flow are in no pool any more. Where the application has closed by word already, its end is reproduced: the new
//! modules get a pair whose other end is closed.
//!
//! Rules: the names were found before ([`crate::steal::doors::Doors::find`]), so what fails here is the moment in between, and
//! is counted. Then a module that wanted to leave is left: its flow goes on natively (or is reset, fail closed). One that stays has
//! the flow as before. A flow that is ending anyway is not handed over.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use super::conn::Pair;
use super::{Worker, KIND_BITS, RIGHT};
use crate::flow::{Side, Way};
use crate::hooks::{Origin, Place};
use crate::sock;
use crate::stats::Stats;
use crate::steal::carried::Carried;
use crate::steal::doors::Parcel;

/// Left as the new modules get it.
enum Left {
    /// The flow's own.
    Own,
    /// The application has closed by word: one end of a pair whose other is closed. What lay in the flow's own was read.
    Closed(OwnedFd),
}

/// Why a flow was not handed over.
enum Lost {
    /// It is ending.
    Ending,
    /// No module is there any more.
    Skipped,
    /// It could not be sent; the error.
    Unsent(Option<i32>),
    /// No descriptor or memory is left.
    Descriptor,
}

impl Lost {
    /// What counts it.
    fn counters<'a>(&self, stats: &'a Stats) -> Vec<&'a AtomicU64> {
        match self {
            Self::Ending => vec![&stats.yields_late],
            Self::Skipped => vec![&stats.yields_lost, &stats.skipped],
            Self::Unsent(errno) => vec![&stats.yields_lost, stats.unsent(*errno)],
            Self::Descriptor => vec![&stats.yields_lost, &stats.no_descriptor],
        }
    }
}

impl Worker {
    /// Whether a hook has asked for it.
    pub(super) fn is_yielding(&mut self, key: u64) -> bool {
        self.flows.get_mut(key).is_some_and(|flow| flow.yielding.is_some())
    }

    /// What a hook on data has returned is not in hand any more: it goes to the modules that replace this one; where this one stays,
    /// and the order has to wait, it waits as well.
    pub(super) fn take_along(&mut self, key: u64, way: Way, is_out: bool, in_hand: &mut usize) {
        let Some(flow) = self.flows.get_mut(key) else { return };
        let has_to_wait = flow.is_being_yanked();
        let Some(order) = &mut flow.yielding else { return };
        let bytes = if is_out { &self.out[..*in_hand] } else { &self.scratch[..*in_hand] };
        match order.place {
            Place::Replace => order.held[way as usize].extend_from_slice(bytes),
            Place::Left | Place::Right if has_to_wait => flow.machine.pass(way, bytes),
            Place::Left | Place::Right => return,
        }
        *in_hand = 0;
    }

    /// Shows a module what came from the network and has passed before it was there; what it makes of that is dropped. Whether
    /// the flow is still here.
    pub(super) fn show(&mut self, key: u64, passed: &[u8]) -> bool {
        let mut rest = passed;
        while !rest.is_empty() {
            let Some(flow) = self.flows.get_mut(key).filter(|flow| flow.machine.has_hook(Way::Inbound))
            else {
                break;
            };
            rest = &rest[flow.machine.skip_some(Way::Inbound, rest.len())..];
            let count = rest.len().min(self.scratch.len());
            if count > 0 {
                self.scratch[..count].copy_from_slice(&rest[..count]);
                self.call_data(key, Way::Inbound, count);
                rest = &rest[count..];
            }
            if self.is_yielding(key) {
                return self.hand_over(key);
            }
        }
        true
    }

    /// Carries out what the hook has asked for. Whether the flow is still here.
    pub(super) fn hand_over(&mut self, key: u64) -> bool {
        let Some(flow) = self.flows.get_mut(key) else { return false };
        if flow.yielding.is_some() && flow.is_being_yanked() {
            // Whoever takes bytes back has them all or none: the order waits for the end of that, and what the hook
            // has kept back with it.
            flow.machine.freeze(Way::Inbound, true);
            return true;
        }
        let Some(order) = flow.yielding.take().map(|order| *order) else { return true };
        flow.recall();
        if let Some(stash) = flow.thaw() {
            flow.hold(Way::Outbound, stash);
        }
        for (way, held) in Way::BOTH.into_iter().zip(order.held) {
            flow.hold(way, held);
        }
        let place = order.place;
        let stats = Arc::clone(&self.shared.receiver.stats);
        match self.try_hand_over(key, &order.names, place, order.passed) {
            Ok(()) if place == Place::Replace => {
                Stats::add(&stats.yielded, 1);
                return false;
            }
            Ok(()) => Stats::add(&stats.yielded_beside, 1),
            Err(reason) => {
                for counter in reason.counters(&stats) {
                    Stats::add(counter, 1);
                }
                if let Some(flow) = self.flows.get_mut(key) {
                    flow.pass_held();
                }
                if place == Place::Replace {
                    self.go_native(key);
                }
            }
        }
        true
    }

    fn try_hand_over(
        &mut self,
        key: u64,
        names: &[String],
        place: Place,
        passed: Vec<u8>,
    ) -> Result<(), Lost> {
        let flow = self.flows.get_mut(key).ok_or(Lost::Ending)?;
        if flow.machine.right_is_gone() || flow.machine.is_reset() {
            return Err(Lost::Ending);
        }
        let (first, own) = flow.origin().yielded(names, place).map_err(|_| Lost::Skipped)?;
        let known = flow.pair.ok_or(Lost::Ending)?;
        // Half-closed or not, what the module beyond hears of its end is the socket's from now on.
        drop(flow.seat.take());
        let pair =
            if place == Place::Replace { None } else { Some(sock::pair().map_err(|_| Lost::Descriptor)?) };
        let left = if place == Place::Right { Left::Own } else { self.detach(key, known)? };
        let mut carried = self.collect(key, place);
        carried.passed = passed;
        if let Err(error) = self.send(key, &Arc::new(first), &left, place, pair.as_ref(), &carried) {
            if let Some(flow) = self.flows.get_mut(key) {
                carried.passed.clear();
                flow.load(carried);
            }
            return Err(Lost::Unsent(error.raw_os_error()));
        }
        match (pair, own) {
            (Some((near, _)), Some(own)) => self.stay(key, place, &left, near, Arc::new(own)),
            _ => self.retire(key, &left),
        }
        Ok(())
    }

    /// Left as it can be given away.
    fn detach(&mut self, key: u64, pair: u64) -> Result<Left, Lost> {
        if let Some(more) = self.leave_pool(pair) {
            if let Some(flow) = self.flows.get_mut(key) {
                flow.hold_behind(Way::Outbound, more);
            }
            return Ok(Left::Own);
        }
        let (near, _) = sock::pair().map_err(|_| Lost::Descriptor)?;
        let flow = self.flows.get_mut(key).ok_or(Lost::Ending)?;
        let pair = self.pairs.get_mut(pair).ok_or(Lost::Ending)?;
        if let Some(closed) = pair.heed() {
            flow.machine.ready(Side::Left, closed);
        }
        flow.tell_fetched(pair);
        let mut bytes = flow.take_held(Way::Outbound);
        bytes.extend(pair.read_last(&mut self.scratch));
        flow.hold(Way::Outbound, bytes);
        Ok(Left::Closed(near))
    }

    /// What goes with the sockets.
    fn collect(&mut self, key: u64, place: Place) -> Carried {
        let mut carried = Carried::default();
        let Some(flow) = self.flows.get_mut(key) else { return carried };
        if place != Place::Right {
            carried.left.unread = flow.take_held(Way::Outbound);
            carried.left_unread = flow.machine.left_is_unread();
        }
        if place != Place::Left {
            carried.right.unread = flow.take_held(Way::Inbound);
        }
        if place == Place::Replace {
            carried.left.unsent = flow.take_queued(Way::Inbound);
            carried.right.unsent = flow.take_queued(Way::Outbound);
        }
        carried
    }

    fn send(
        &mut self,
        key: u64,
        first: &Arc<Origin>,
        left: &Left,
        place: Place,
        pair: Option<&(OwnedFd, OwnedFd)>,
        carried: &Carried,
    ) -> io::Result<()> {
        let gone = || io::Error::from_raw_os_error(libc::EBADF);
        let flow = self.flows.get_mut(key).ok_or_else(gone)?;
        let own = &self.pairs.get_mut(flow.pair.ok_or_else(gone)?).ok_or_else(gone)?.left;
        let own = match left {
            Left::Own => own.as_fd(),
            Left::Closed(near) => near.as_fd(),
        };
        if place != Place::Left && (flow.late.is_some() || flow.limits_unsent) && flow.right_is_tcp {
            // As it was: whoever binds late sets its own.
            flow.limits_unsent = false;
            modnet_revoke::release::set_low_water(flow.right.as_fd(), 0);
        }
        let right = flow.right.as_fd();
        let (left, right) = match (pair, place) {
            (Some((_, far)), Place::Left) => (own, far.as_fd()),
            (Some((_, far)), _) => (far.as_fd(), right),
            (None, _) => (own, right),
        };
        // Where the new modules' right is not the real socket it comes along.
        let is_tcp = place == Place::Left && flow.right_is_tcp;
        let real = flow.real.as_ref().or(is_tcp.then_some(&flow.right)).map(AsFd::as_fd);
        self.doors.send(first, first.position, &Parcel { left, right, real, carried })
    }

    /// Nothing of the flow is here any more.
    fn retire(&mut self, key: u64, left: &Left) {
        let Some(mut flow) = self.flows.remove(key) else { return };
        let shared = Arc::clone(&self.shared);
        flow.close(self.wants, &*shared.hooks, &shared.receiver.stats);
        self.poller.remove(flow.right.as_raw_fd());
        if let Some(pair) = flow.pair {
            self.let_go(pair, left);
        }
        if flow.real.is_some() {
            shared.receiver.spare.fetch_sub(1, Ordering::Relaxed);
        }
        shared.flows.fetch_sub(1, Ordering::Relaxed);
    }

    /// The flow has another neighbour.
    fn stay(&mut self, key: u64, place: Place, left: &Left, near: OwnedFd, own: Arc<Origin>) {
        let shared = Arc::clone(&self.shared);
        let Some(flow) = self.flows.get_mut(key) else { return };
        let side = if place == Place::Left { Side::Left } else { Side::Right };
        flow.machine.replaced(side);
        if flow.machine.is_closed(Way::to(side)) {
            // It was told of the end by the former socket.
            sock::shutdown_write(&near);
        }
        let failed = match side {
            Side::Left => {
                let new = self.watch_left(Pair::new(near, None));
                let Some(flow) = self.flows.get_mut(key) else { return };
                let old = std::mem::replace(&mut flow.pair, new);
                if let Some(pair) = new.and_then(|new| self.pairs.get_mut(new)) {
                    pair.begin(key);
                }
                if let Some(old) = old {
                    self.let_go(old, left);
                }
                new.is_none()
            }
            Side::Right => {
                self.poller.remove(flow.right.as_raw_fd());
                let old = std::mem::replace(&mut flow.right, near);
                if std::mem::replace(&mut flow.right_is_tcp, false) && flow.tcp.is_some() {
                    // By its number the state is known.
                    flow.real = Some(old);
                    shared.receiver.spare.fetch_add(1, Ordering::Relaxed);
                }
                (flow.room, flow.young) = (false, false);
                self.poller.add(flow.right.as_raw_fd(), key << KIND_BITS | RIGHT, false).is_err()
            }
        };
        if let Some(flow) = self.flows.get_mut(key) {
            flow.moved(own, &*shared.hooks, &self.doors);
        }
        if failed {
            // Out of kernel memory.
            Stats::add(&shared.receiver.stats.no_descriptor, 1);
            if let Some(flow) = self.flows.get_mut(key) {
                flow.machine.reset();
            }
        }
    }

    /// A pair has no flow of this module any more.
    fn let_go(&mut self, pair: u64, left: &Left) {
        match left {
            Left::Own => {
                if let Some(pair) = self.pairs.remove(pair) {
                    self.poller.remove(pair.left.as_raw_fd());
                }
            }
            // The client may use it again.
            Left::Closed(..) => self.give_back(pair, true),
        }
    }

    /// A module that wanted to leave, and could not, is not asked any more.
    fn go_native(&mut self, key: u64) {
        let Some(flow) = self.flows.get_mut(key) else { return };
        for way in Way::BOTH {
            flow.machine.forward(way);
        }
        if flow.origin().fail_closed {
            Stats::add(&self.shared.receiver.stats.refused, 1);
            flow.machine.reset();
        }
    }
}
