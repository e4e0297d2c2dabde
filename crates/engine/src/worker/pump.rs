//! Carries out what a flow's machine says: reads, calls hooks, sends, arms the poller.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use super::ahead;
use super::conn::{Flow, Pair};
use super::late;
use super::pipe::{Pipe, FIRST, WORTH};
use super::{Worker, KEEP, KIND_BITS, LEFT, NEAR, READ, RIGHT};
use crate::flow::{Bucket, Command, Ready, Side, Way};
use crate::hooks::{Orders, Verdict};
use crate::sock::{self, Outcome};
use crate::stats::Stats;

/// Reads of one turn, 2 MB at most; then other flows get theirs.
const TURN: usize = 8;
/// Of what goes to a hook, so many bytes count as a read: whatever it does with them takes longer than to pass them on.
const HOOKED: usize = 32 * 1024;

/// Counts what a destination has taken, for its pair.
fn tell(flow: &mut Flow, pair: &mut Pair, way: Way, outcome: &Outcome) {
    if let Outcome::Bytes(count) = outcome {
        match way {
            Way::Outbound => flow.wrote(*count),
            Way::Inbound => pair.gave(*count),
        }
    }
}

/// Where bytes are between their reading and their sending.
enum Hand {
    /// As they were read.
    Scratch,
    /// As a hook wants them.
    Out,
    /// In the kernel.
    Pipe(Pipe),
}

impl Worker {
    /// Does what can be done for a flow now.
    pub(super) fn pump(&mut self, key: u64) {
        let now = self.now_if_limited(key);
        let flows = self.flows.len();
        let mut reads = 0;
        // Where the bytes in hand are, and how many.
        let mut hand = Hand::Scratch;
        let mut in_hand = 0;
        // What follows the bytes in hand lies ready.
        let mut follows = false;
        loop {
            let Some(flow) = self.flows.get_mut(key) else { return };
            if let Some(now) = now {
                flow.machine.at(now);
            }
            let Some(pair) = flow.pair.and_then(|pair| self.pairs.get_mut(pair)) else {
                // The pair that was to take the place of its former one could not be watched.
                return self.end(key, true);
            };
            match flow.machine.next() {
                command @ (Command::Read(way, most) | Command::Append(way, most)) => {
                    if reads >= TURN {
                        self.queue(key);
                        break;
                    }
                    reads += 1;
                    let outbound = way == Way::Outbound;
                    if let Some(closed) = outbound.then(|| pair.heed()).flatten() {
                        flow.machine.ready(Side::Left, closed);
                    }
                    let native = flow.machine.is_native(way);
                    let busy = native && std::mem::take(&mut flow.busy[way as usize]);
                    let asked;
                    let mut is_short = false;
                    let mut pipe = None;
                    let appends = matches!(command, Command::Append(..));
                    if let Some(state) = flow.state.as_deref().filter(|_| !native) {
                        ahead::fetch(state);
                    }
                    let outcome = if appends {
                        let now = self.started.elapsed();
                        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
                        let (pipes, scratch, traffic) =
                            (&mut self.pipes, &mut self.scratch, &mut self.traffic);
                        let mut means = late::Means { pipes, scratch, traffic, flows, now };
                        let Some(found) = late::append(flow, pair, most, &mut means) else { continue };
                        asked = found.1;
                        found.0
                    } else {
                        let first = match native {
                            true if busy => READ,
                            true => FIRST,
                            false => flow.reads[way as usize],
                        };
                        let room = most.min(first).min(self.scratch.len());
                        let again = flow.read_held(way, &mut self.scratch[..room]);
                        if let Some(count) = again {
                            // They are not the socket's: how much it has is not known yet.
                            flow.machine.got(way, count, count);
                            (in_hand, hand) = (count, Hand::Scratch);
                            continue;
                        }
                        // Behind a head that is there before its body nothing is copied, and they share a segment.
                        let ahead = native && outbound && !busy && flow.late.is_none() && most > READ / 2;
                        let head = match ahead && pair.has_body(WORTH) {
                            true => pair.read_head(&mut self.scratch),
                            false => 0,
                        };
                        if head > 0 {
                            flow.machine.got(way, head, head);
                            flow.be_busy(pair, way);
                            (in_hand, hand, follows) = (head, Hand::Scratch, true);
                            continue;
                        }
                        let splices = busy && (!outbound || flow.late.is_none());
                        pipe = splices.then(|| self.pipes.take()).flatten();
                        if pipe.is_some() && outbound && !pair.shuts() {
                            pipe.take().into_iter().for_each(|pipe| self.pipes.give(pipe));
                        }
                        let source = if outbound { &pair.left } else { &flow.right };
                        let found = match &pipe {
                            Some(pipe) => {
                                let found = pipe.fill(source, most);
                                if let (true, Outcome::Bytes(count)) = (outbound, &found) {
                                    pair.took(*count);
                                }
                                if outbound {
                                    pair.open();
                                }
                                (found, room)
                            }
                            None if outbound => pair.read(&mut self.scratch[..room]),
                            None => (sock::receive(source, &mut self.scratch[..room]), room),
                        };
                        asked = found.1;
                        found.0
                    };
                    if let Outcome::Bytes(count) = outcome {
                        reads += if native { 0 } else { count / HOOKED };
                        if !outbound {
                            flow.heard(count);
                        } else if appends {
                            pair.took(count);
                        }
                    }
                    match outcome {
                        Outcome::Bytes(count) if pipe.is_some() => {
                            flow.busy[way as usize] = count >= WORTH;
                            // How much there was cannot be told from what fitted.
                            flow.machine.got(way, count, count);
                            in_hand = count;
                            hand = pipe.map_or(Hand::Scratch, Hand::Pipe);
                            continue;
                        }
                        Outcome::Bytes(count) => {
                            if appends {
                                flow.machine.kept(way, count, asked);
                            } else {
                                flow.machine.got(way, count, asked);
                            }
                            if count >= FIRST && native && !appends {
                                flow.be_busy(pair, way);
                            }
                            in_hand = count;
                            hand = Hand::Scratch;
                            is_short = count < asked;
                        }
                        // Closed by word: nothing follows. (While a pipe is filled nothing can lie elsewhere.)
                        Outcome::Again if outbound && pair.is_closed() => flow.machine.end_of(way),
                        Outcome::Again => {
                            flow.machine.drained(way);
                            is_short = true;
                        }
                        Outcome::End => {
                            // A close whose event is still on its way is no half-close: a FIN now would come ahead of
                            // the reset that may have to follow.
                            if way == Way::Outbound
                                && !flow.machine.left_is_gone()
                                && sock::has_hung_up(pair.left.as_fd())
                            {
                                let failed = flow.origin().position > 0 && pair.was_reset();
                                let hang_up = Ready { hang_up: true, failed, ..Ready::default() };
                                flow.machine.ready(Side::Left, hang_up);
                            }
                            flow.machine.end_of(way);
                        }
                        Outcome::Broken(errno) => flow.broken(way.source(), true, errno),
                    }
                    if let Some(pipe) = pipe {
                        self.pipes.give(pipe);
                    }
                    if let Some(closed) = (outbound && is_short).then(|| pair.heed_now()).flatten() {
                        flow.machine.ready(Side::Left, closed);
                    }
                }
                Command::Hook(way) => {
                    let count = self.call_data(key, way, in_hand);
                    if count.is_some() {
                        hand = Hand::Out;
                    }
                    in_hand = count.unwrap_or(in_hand);
                    if self.is_yielding(key) {
                        self.take_along(key, way, count.is_some(), &mut in_hand);
                        if !self.hand_over(key) {
                            return;
                        }
                    }
                    let Some(flow) = self.flows.get_mut(key) else { return };
                    flow.machine.hooked(way, in_hand);
                }
                Command::Send(way, more) => {
                    let more = std::mem::take(&mut follows) || more;
                    let destination = if way == Way::Outbound { &flow.right } else { &pair.left };
                    let data = match std::mem::replace(&mut hand, Hand::Scratch) {
                        Hand::Scratch => &self.scratch[..in_hand],
                        Hand::Out => &self.out[..in_hand],
                        Hand::Pipe(pipe) => {
                            let outcome = pipe.empty(destination, in_hand, more);
                            tell(flow, pair, way, &outcome);
                            match outcome {
                                Outcome::Bytes(count) if count == in_hand => {
                                    self.pipes.give(pipe);
                                    flow.machine.sent(way, true);
                                }
                                Outcome::Bytes(count) => flow.keep(way, pipe, in_hand - count),
                                Outcome::Again => flow.keep(way, pipe, in_hand),
                                Outcome::End => flow.machine.broken(way.destination(), false),
                                Outcome::Broken(errno) => flow.broken(way.destination(), false, errno),
                            }
                            continue;
                        }
                    };
                    if let Some(outlet) = flow.machine.outlet().filter(|_| way == Way::Outbound) {
                        outlet.push(data);
                        flow.machine.put_by(way);
                        continue;
                    }
                    let seat = flow.seat.as_mut().filter(|_| way == Way::Outbound);
                    if seat.is_some_and(|seat| seat.write_inline(data)) {
                        flow.machine.sent(way, true);
                        continue;
                    }
                    let outcome = sock::send(destination, data, more);
                    tell(flow, pair, way, &outcome);
                    match outcome {
                        Outcome::Bytes(count) => {
                            flow.machine.queue(way).push(&data[count..]);
                            flow.machine.sent(way, count == data.len());
                        }
                        Outcome::Again => {
                            flow.machine.queue(way).push(data);
                            flow.machine.sent(way, false);
                        }
                        Outcome::End => flow.machine.broken(way.destination(), false),
                        Outcome::Broken(errno) => flow.broken(way.destination(), false, errno),
                    }
                }
                Command::Flush(way, more) => {
                    let destination = if way == Way::Outbound { &flow.right } else { &pair.left };
                    let queue = flow.machine.queue(way);
                    let outside = queue.outside();
                    let outcome = match &flow.pipes[way as usize] {
                        Some(pipe) if outside > 0 => pipe.empty(destination, outside, more),
                        _ => sock::send(destination, queue.front(), more),
                    };
                    tell(flow, pair, way, &outcome);
                    let queue = flow.machine.queue(way);
                    match outcome {
                        Outcome::Bytes(count) => {
                            queue.advance(count);
                            let asked = if outside > 0 { outside } else { count + queue.len() };
                            if count == outside {
                                if let Some(pipe) = flow.pipes[way as usize].take() {
                                    self.pipes.give(pipe);
                                }
                            }
                            flow.machine.sent(way, count == asked);
                        }
                        Outcome::Again => flow.machine.sent(way, false),
                        Outcome::End => flow.machine.broken(way.destination(), false),
                        Outcome::Broken(errno) => flow.broken(way.destination(), false, errno),
                    }
                }
                Command::Release(way, more) => {
                    let now = self.started.elapsed();
                    let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
                    let outlet = flow.machine.outlet().cloned();
                    let (Some(late), Some(outlet)) = (&mut flow.late, outlet) else { return };
                    let given = late.release.given;
                    late.release.share = self.traffic.share(flows, now);
                    let released = late.release.release(&outlet, &flow.right, flow.right_is_tcp, more, now);
                    let count = late.release.given.wrapping_sub(given);
                    late.moved(count, &mut self.traffic, now);
                    flow.wrote(count);
                    match released {
                        Ok(all) => flow.machine.sent(way, all),
                        Err(error) => {
                            let errno = error.raw_os_error().unwrap_or(libc::EIO);
                            flow.broken(way.destination(), false, errno);
                        }
                    }
                }
                Command::HookEnd(way) => {
                    self.call_end(key, way);
                    if self.is_yielding(key) && !self.hand_over(key) {
                        return;
                    }
                }
                Command::Shutdown(Way::Outbound) => {
                    // Half-closed, a pair ends the ordinary way; that is said first.
                    drop(flow.seat.take());
                    sock::shutdown_write(&flow.right);
                }
                Command::Shutdown(Way::Inbound) => {
                    if let Some(closed) = pair.half_close() {
                        flow.machine.ready(Side::Left, closed);
                    }
                }
                Command::Close { reset } => {
                    self.end(key, reset);
                    return;
                }
                Command::Wait => break,
            }
        }
        if self.out.capacity() > KEEP {
            self.out = Vec::new();
        }
        if self.pipes.has_surplus() {
            self.will_trim();
        }
        self.arm(key);
    }

    fn now_if_limited(&mut self, key: u64) -> Option<u64> {
        let is_limited = self.flows.get_mut(key)?.machine.is_limited();
        is_limited.then(|| self.now())
    }

    /// Tells the poller and the timers what the flow waits for.
    fn arm(&mut self, key: u64) {
        let Some(flow) = self.flows.get_mut(key) else { return };
        let mut failed = false;
        let wants = flow.machine.wants_room(Side::Right);
        let late = flow.late.as_mut().filter(|_| wants);
        let (rearm, again, until) = late.map_or((false, None, None), |late| {
            let release = &mut late.release;
            (std::mem::take(&mut release.rearm), release.again, late.until)
        });
        if wants != flow.room || rearm {
            flow.room = wants;
            let right = flow.right.as_raw_fd();
            let token = match flow.seat {
                Some(_) => self.nears.name(right) << KIND_BITS | NEAR,
                None => key << KIND_BITS | RIGHT,
            };
            failed |= if std::mem::take(&mut flow.young) {
                self.poller.add(right, token, wants).is_err()
            } else {
                self.poller.change(right, token, wants).is_err()
            };
        }
        let wants = flow.machine.wants_room(Side::Left);
        if let Some((number, pair)) = flow.pair.and_then(|n| Some((n, self.pairs.get_mut(n)?))) {
            if wants != pair.room {
                pair.room = wants;
                failed |=
                    self.poller.change(pair.left.as_raw_fd(), number << KIND_BITS | LEFT, wants).is_err();
            }
        }
        let timer = [flow.machine.timer(), again, until].into_iter().flatten().min();
        if let Some(at) = timer.filter(|at| flow.timer.is_none_or(|set| *at < set)) {
            flow.timer = Some(at);
            self.timers.set(at, key);
        }
        if failed {
            self.cannot_watch(key);
        }
    }

    /// Out of kernel memory: a flow that nobody wakes would hang.
    pub(super) fn cannot_watch(&mut self, key: u64) {
        Stats::add(&self.shared.receiver.stats.no_descriptor, 1);
        if let Some(flow) = self.flows.get_mut(key) {
            flow.machine.reset();
        }
        self.queue(key);
    }

    /// The hook `opened`.
    pub(super) fn call_opened(&mut self, key: u64) {
        let hooks = Arc::clone(&self.shared.hooks);
        let mut orders = Orders::default();
        let Some(flow) = self.flows.get_mut(key) else { return };
        let Some(state) = &mut flow.state else { return };
        let verdict = hooks.opened(state, &mut orders);
        self.settle(key, verdict, &mut orders);
    }

    /// The hook on data; the length of what is now in `out`, or None: the data goes on as it is.
    pub(super) fn call_data(&mut self, key: u64, way: Way, count: usize) -> Option<usize> {
        let mut orders = Orders::default();
        let flow = self.flows.get_mut(key)?;
        let bytes = flow.machine.bytes();
        let state = flow.state.as_mut()?;
        self.out.clear();
        let (hooks, data) = (&self.shared.hooks, &self.scratch[..count]);
        let verdict = hooks.data(state, way, data, bytes, &mut self.out, &mut orders);
        if verdict == Verdict::Failed || !orders.are_none() {
            self.settle(key, verdict, &mut orders);
        }
        (verdict == Verdict::Replaced).then_some(self.out.len())
    }

    /// The hook on the end.
    fn call_end(&mut self, key: u64, way: Way) {
        let hooks = Arc::clone(&self.shared.hooks);
        let mut orders = Orders::default();
        let Some(flow) = self.flows.get_mut(key) else { return };
        let bytes = flow.machine.bytes();
        let Some(state) = &mut flow.state else { return };
        self.out.clear();
        let verdict = hooks.end(state, way, bytes, &mut self.out, &mut orders);
        flow.machine.hook_ended(way);
        self.settle(key, verdict, &mut orders);
        let mut last = if verdict == Verdict::Replaced { self.out.len() } else { 0 };
        if self.is_yielding(key) {
            self.take_along(key, way, true, &mut last);
        }
        if let Some(flow) = self.flows.get_mut(key) {
            flow.machine.pass(way, &self.out[..last]);
        }
    }

    /// The hook on time.
    pub(super) fn call_woken(&mut self, key: u64) {
        if self.is_yielding(key) {
            // It waits to be handed over, and its module hears nothing more.
            return;
        }
        let hooks = Arc::clone(&self.shared.hooks);
        for way in Way::BOTH {
            let mut orders = Orders::default();
            let Some(flow) = self.flows.get_mut(key) else { return };
            let waiting = flow.machine.queued()[way as usize];
            let Some(state) = &mut flow.state else { return };
            self.out.clear();
            let verdict = hooks.woken(state, way, waiting, &mut self.out, &mut orders);
            let mut last = if verdict == Verdict::Replaced { self.out.len() } else { 0 };
            self.settle(key, verdict, &mut orders);
            if self.is_yielding(key) {
                self.take_along(key, way, true, &mut last);
            }
            if let Some(flow) = self.flows.get_mut(key) {
                flow.machine.pass(way, &self.out[..last]);
            }
            if self.is_yielding(key) {
                self.hand_over(key);
                return;
            }
        }
    }

    /// What a hook asked for, or what its failure brings.
    pub(super) fn settle(&mut self, key: u64, verdict: Verdict, orders: &mut Orders) {
        let now = if orders.are_timed() { self.now() } else { 0 };
        let stats = &self.shared.receiver.stats;
        let Some(flow) = self.flows.get_mut(key) else { return };
        if let Some(after) = orders.wake {
            let at = now.saturating_add(after);
            flow.wake = Some(at);
            if flow.alarm.is_none_or(|set| at < set) {
                flow.alarm = Some(at);
                self.timers.set(at, key);
            }
        }
        // Where bytes may be taken back, the kernel is given less anyway.
        let is_late = flow.machine.outlet().is_some();
        if let Some(most) = orders.unsent.filter(|_| flow.right_is_tcp && !is_late) {
            sock::limit_unsent(&flow.right, most);
            flow.limits_unsent = most > 0;
        }
        for way in Way::BOTH {
            if let Some(most) = orders.reads[way as usize] {
                flow.reads[way as usize] = most.max(1);
            }
            if let Some(count) = orders.skip[way as usize] {
                flow.machine.skip(way, count);
                // So many are known to come: the first of them need not be copied to find that out.
                if count >= FIRST as u64 && flow.machine.is_native(way) {
                    if let Some(pair) = flow.pair.and_then(|pair| self.pairs.get_mut(pair)) {
                        flow.be_busy(pair, way);
                    }
                }
            }
            if let Some(wanted) = orders.ends[way as usize] {
                flow.machine.want_end(way, wanted);
            }
            if orders.forward[way as usize] {
                flow.machine.forward(way);
            }
            if let Some(limit) = orders.limit[way as usize] {
                flow.machine.limit(way, limit.map(|(rate, burst)| Bucket::new(rate, burst, now)));
            }
        }
        if verdict == Verdict::Failed {
            Stats::add(&stats.hook_failures, 1);
            for way in Way::BOTH {
                flow.machine.forward(way);
            }
        }
        if orders.reset || (verdict == Verdict::Failed && self.shared.hooks.on_error_resets()) {
            Stats::add(&stats.resets, 1);
            flow.machine.reset();
        }
        // An order that waits for the end of a yank stays.
        if let Some(order) =
            orders.yielding.take().filter(|_| verdict != Verdict::Failed && !flow.machine.is_reset())
        {
            flow.yielding = Some(order);
        }
    }
}
