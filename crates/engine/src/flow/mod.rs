//! The life of a flow, without sockets: events in, commands out.
//!
//! The driver (`crate::worker`) tells what happened ([`Flow::ready`], [`Flow::got`], [`Flow::end_of`], …) and asks
//! [`Flow::next`] what to do until it says [`Command::Wait`]. A flow has two directions ([`Way`]) that are the same
//! code; each reads from its source, lets a hook change what was read, and sends to its destination.
//!
//! | what happens | what follows |
//! | --- | --- |
//! | the source ends (FIN, shutdown) | what waits is sent, then the destination's half is closed; the other way goes on |
//! | both ways have ended | both sockets are closed |
//! | the application has closed (hang-up on left) | what it wrote is sent, data and FIN in one segment, then both are closed |
//! | … and had not read everything | the same, and the network sees a reset, as natively |
//! | the network resets (an error on right) | what had come in before is delivered, then left is closed |
//! | the destination takes nothing | at most one read waits in the send queue; the source is not read: it feels it |
//! | … and what is outbound may be revoked | at most what the outlet may hold waits there, see [`Flow::bind_late`] |
//! | … and the driver postpones reading | it stays in the source until the destination has room, see [`Flow::postpone`] |
//! | somebody holds the outlet's lock | nothing is sent outbound, and nothing read |
//! | a hook fails, or the module says reset | the network sees a reset; the application an end, and EPIPE when it writes |
//!
//! Readiness is edge-triggered: a side is readable from an event until a read comes back short, and a short read
//! after a hang-up was seen is the end, with no further call. Only urgent data makes a read short that is not the last:
//! then a side is readable until a read finds nothing. A direction whose queue is not empty is not read, so a
//! flow's memory is bounded by one read (`send_queue` bytes) each way, and what its own hook made of it.
//!
//! It must not know descriptors, epoll, clocks (time is told), or who wrote the hooks.

mod bucket;
mod lane;
mod queue;
#[cfg(test)]
mod tests;
mod words;

use std::sync::Arc;

use lane::Lane;
use modnet_revoke::queue::outlet::Outlet;

pub use bucket::Bucket;
pub use queue::Queue;
pub use words::{Command, Ready, Side, Way};

/// A flow.
#[derive(Debug)]
pub struct Flow {
    lanes: [Lane; 2],
    limit: usize,
    /// Right is TCP, not a pair to the next module.
    right_is_tcp: bool,
    left_gone: bool,
    right_gone: bool,
    unread: bool,
    reset: bool,
    closing: bool,
    /// Who reads first: ways that are busy without pause take turns.
    turn: Way,
    now: u64,
}

/// Which hooks a flow calls, by way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hooked {
    /// The data's hook, `[outbound, inbound]`.
    pub data: [bool; 2],
    /// The end's hook.
    pub end: [bool; 2],
}

impl Flow {
    /// A new flow; `limit` is the most that one way reads before it has been sent (bytes, above 0).
    #[must_use]
    pub fn new(limit: usize, hooks: Hooked, right_is_tcp: bool) -> Self {
        Self {
            lanes: Way::BOTH.map(|way| Lane::new(hooks.data[way as usize], hooks.end[way as usize])),
            limit,
            right_is_tcp,
            left_gone: false,
            right_gone: false,
            unread: false,
            reset: false,
            closing: false,
            turn: Way::Outbound,
            now: 0,
        }
    }

    /// What is outbound waits in `outlet`, at most `most` bytes, until the kernel can send it.
    pub fn bind_late(&mut self, outlet: Arc<Outlet>, most: usize) {
        self.lane(Way::Outbound).late = Some((outlet, most));
    }

    // --- events ----------------------------------------------------------------------------------------

    /// The poller saw something on a side.
    pub fn ready(&mut self, side: Side, ready: Ready) {
        let from = self.lane(Way::from(side));
        from.readable |= ready.readable || ready.half || ready.hang_up;
        from.half |= ready.half || ready.hang_up;
        from.urgent |= ready.urgent && side == Side::Right;
        let to = self.lane(Way::to(side));
        to.writable |= ready.writable || ready.hang_up;
        to.postponed &= !to.writable;
        match side {
            Side::Left => {
                self.left_gone |= ready.hang_up;
                // A short read behind the hang-up is the last call: nobody would see the error.
                self.unread |= ready.failed;
            }
            // With our half closed it may be the end in order: reading finds that out. Else it is a reset, or the next
            // module has ended the flow, and nothing that is sent arrives.
            Side::Right if ready.hang_up && !self.lane(Way::Outbound).closed => {
                self.right_gone = true;
                self.stop_sending(Way::Outbound);
            }
            Side::Right => {}
        }
    }

    /// A read of at most `asked` bytes gave `count`.
    pub fn got(&mut self, way: Way, count: usize, asked: usize) {
        let lane = self.lane(way);
        lane.bytes += count as u64;
        if let Some(bucket) = &mut lane.bucket {
            bucket.take(count);
        }
        if count < asked && !lane.urgent {
            lane.readable = false;
            lane.ended |= lane.half;
        }
        if !lane.discard {
            lane.hand = Some(count);
            lane.to_hook = lane.hook && lane.skip == 0;
            lane.skip = lane.skip.saturating_sub(count as u64);
        } else if way == Way::Inbound {
            self.unread = true;
        }
    }

    /// A read of at most `asked` bytes went to the outlet, or to whoever takes bytes back.
    pub fn kept(&mut self, way: Way, count: usize, asked: usize) {
        let skip = self.lane(way).skip;
        self.got(way, count, asked);
        let lane = self.lane(way);
        // They pass no hook now: [`Flow::skip_some`] tells when they do.
        (lane.hand, lane.skip) = (None, skip);
    }

    /// Instead of a read to the outlet: there is more than the destination has room for, and it can wait where it is. Until
    /// there is room, or [`Flow::read_on`].
    pub fn postpone(&mut self, way: Way) {
        let lane = self.lane(way);
        (lane.writable, lane.postponed) = (false, true);
    }

    /// What was postponed is read, room or not.
    pub fn read_on(&mut self, way: Way) {
        self.lane(way).postponed = false;
    }

    /// Nothing of a way is read, sent or ended until it is thawed.
    pub fn freeze(&mut self, way: Way, frozen: bool) {
        self.lane(way).frozen = frozen;
    }

    /// Whether bytes of a way go to a hook.
    #[must_use]
    pub fn has_hook(&self, way: Way) -> bool {
        self.lanes[way as usize].hook
    }

    /// The bytes in hand went to the outlet.
    pub fn put_by(&mut self, way: Way) {
        self.lane(way).hand = None;
    }

    /// A read found nothing.
    pub fn drained(&mut self, way: Way) {
        let lane = self.lane(way);
        lane.readable = false;
        lane.urgent = false;
    }

    /// A read found the end.
    pub fn end_of(&mut self, way: Way) {
        let lane = self.lane(way);
        lane.readable = false;
        lane.ended = true;
    }

    /// The hook returned so many bytes for those in hand.
    pub fn hooked(&mut self, way: Way, count: usize) {
        let lane = self.lane(way);
        lane.to_hook = false;
        lane.hand = (count > 0).then_some(count);
    }

    /// The hook for the end has added what it had.
    pub fn hook_ended(&mut self, way: Way) {
        self.lane(way).hook_end = false;
    }

    /// The bytes in hand or of the queue were offered to the destination, which took all or has no room.
    pub fn sent(&mut self, way: Way, all: bool) {
        let lane = self.lane(way);
        lane.hand = None;
        lane.writable = all;
    }

    /// A call on `side` failed for good. `reading`: while reading from it, so that what came before has been read.
    pub fn broken(&mut self, side: Side, reading: bool) {
        match side {
            Side::Right => {
                self.right_gone = true;
                self.stop_sending(Way::Outbound);
                if reading {
                    self.end_of(Way::Inbound);
                } else {
                    // What came in before the error is still there to be read.
                    self.lane(Way::Inbound).readable = true;
                }
            }
            Side::Left if reading => {
                // ECONNRESET: the application has closed and left bytes unread.
                self.left_gone = true;
                self.unread = true;
                self.end_of(Way::Outbound);
            }
            Side::Left => {
                // The application has closed (its hang-up is on its way) or does not read any more.
                self.unread = true;
                self.stop_sending(Way::Inbound);
            }
        }
    }

    /// The module asks for a reset, or its hook failed where that resets: nothing more is sent.
    pub fn reset(&mut self) {
        self.reset = true;
    }

    /// Whether the hook for the end is called: while one may have something to add, the last data has no FIN in its segment.
    pub fn want_end(&mut self, way: Way, wanted: bool) {
        self.lane(way).hook_end = wanted;
    }

    /// The module gives a direction back: from the next byte on its hooks are not called. Bytes in a hook's hand go on.
    pub fn forward(&mut self, way: Way) {
        let lane = self.lane(way);
        lane.hook = false;
        lane.hook_end = false;
    }

    /// The next `count` bytes that are read pass the hook by.
    pub fn skip(&mut self, way: Way, count: u64) {
        self.lane(way).skip = count;
    }

    /// Another socket has taken a side's place: other modules are between this flow and its former one, which is theirs. What has
    /// been read of an end, or shown, stays so; a close will be seen again.
    pub fn replaced(&mut self, side: Side) {
        let from = self.lane(Way::from(side));
        from.readable = false;
        from.half = false;
        from.urgent = false;
        let to = self.lane(Way::to(side));
        (to.writable, to.postponed) = (true, false);
        match side {
            Side::Left => (self.left_gone, self.unread) = (false, false),
            Side::Right => self.right_is_tcp = false,
        }
    }

    /// Bytes that have passed this module, whatever it would have made of them: they wait behind those that wait already.
    pub fn pass(&mut self, way: Way, data: &[u8]) {
        let lane = self.lane(way);
        if lane.discard || lane.closed {
            return;
        }
        match &lane.late {
            Some((outlet, _)) => outlet.push(data),
            None => lane.queue.push(data),
        }
    }

    /// Of so many bytes that are there, how many pass without the hook.
    pub fn skip_some(&mut self, way: Way, most: usize) -> usize {
        let lane = self.lane(way);
        let count = usize::try_from(lane.skip).map_or(most, |skip| skip.min(most));
        lane.skip -= count as u64;
        count
    }

    /// Limits a direction, or lifts the limit.
    pub fn limit(&mut self, way: Way, bucket: Option<Bucket>) {
        self.lane(way).bucket = bucket;
    }

    /// Tells the time, in nanoseconds; needed only where [`Flow::is_limited`].
    pub fn at(&mut self, now: u64) {
        self.now = now;
    }

    // --- commands --------------------------------------------------------------------------------------

    /// What to do now.
    #[allow(clippy::should_implement_trait)] // no iterator: what it gives depends on what is told in between
    pub fn next(&mut self) -> Command {
        if self.closing {
            return Command::Wait;
        }
        if self.reset {
            self.closing = true;
            return Command::Close { reset: true };
        }
        // The driver has one hand: what is in it goes first, whatever a hook has made possible on the other way.
        let in_hand = Way::BOTH.into_iter().find(|way| self.lane(*way).hand.is_some());
        if in_hand.is_none() && self.must_look() {
            self.lane(Way::Inbound).discard = true;
            return Command::Read(Way::Inbound, 1);
        }
        let first = in_hand.unwrap_or(self.turn);
        for way in [first, first.other()] {
            if let Some(command) = self.step(way) {
                if matches!(command, Command::Read(..) | Command::Append(..)) {
                    self.turn = way.other();
                }
                return command;
            }
        }
        if self.is_over() {
            self.closing = true;
            return Command::Close { reset: self.close_resets() };
        }
        Command::Wait
    }

    fn step(&mut self, way: Way) -> Option<Command> {
        // What follows the last data is decided before the lane is borrowed.
        let left_gone = self.left_gone;
        let right_is_tcp = self.right_is_tcp;
        let may_join = way == Way::Outbound && right_is_tcp && left_gone && !self.close_resets();
        let (limit, now) = (self.limit, self.now);
        if way == Way::Inbound && left_gone {
            // Nobody will read it. What lies unread makes the close a reset.
            return None;
        }
        let lane = self.lane(way);
        if lane.frozen {
            return None;
        }
        let last = may_join && lane.ended && !lane.hook_end;
        if lane.hand.is_some() {
            if lane.to_hook {
                return Some(Command::Hook(way));
            }
            return Some(Command::Send(way, last));
        }
        if lane.writable && lane.has_to_send() {
            return Some(if lane.queue.is_empty() {
                Command::Release(way, last)
            } else {
                Command::Flush(way, last && lane.late.is_none())
            });
        }
        if !lane.ended {
            if !lane.readable || lane.postponed {
                return None;
            }
            let append = lane.late.is_some() && !lane.hook && !lane.discard;
            let room = if lane.discard { limit } else { lane.room(limit) };
            let room = if append { room } else { room.min(limit) };
            let most = match &mut lane.bucket {
                Some(bucket) if !lane.discard => bucket.allowance(now).min(room),
                _ => room,
            };
            let most = if lane.hook && lane.skip > 0 {
                most.min(usize::try_from(lane.skip).unwrap_or(usize::MAX))
            } else {
                most
            };
            let read = if append { Command::Append(way, most) } else { Command::Read(way, most) };
            return (most > 0).then_some(read);
        }
        if lane.waiting() > 0 || lane.is_locked() {
            return None;
        }
        if lane.hook_end {
            return Some(Command::HookEnd(way));
        }
        // An application that has closed is told nothing, and the network gets its FIN with the close.
        if lane.closed || left_gone {
            return None;
        }
        lane.closed = true;
        (!lane.discard).then_some(Command::Shutdown(way))
    }

    fn is_over(&self) -> bool {
        let [outbound, inbound] = &self.lanes;
        let done = |lane: &Lane| {
            lane.ended && lane.waiting() == 0 && lane.hand.is_none() && !lane.hook_end && !lane.is_locked()
        };
        if self.left_gone {
            return done(outbound);
        }
        if self.right_gone {
            // A reset or a gone next module: what had come in before is delivered, as natively.
            return inbound.queue.is_empty() && inbound.hand.is_none() && (inbound.ended || inbound.discard);
        }
        done(outbound) && done(inbound) && outbound.closed && inbound.closed
    }

    /// Whether the application's close would have been a reset: it had not read everything that was there.
    fn close_resets(&self) -> bool {
        let inbound = &self.lanes[Way::Inbound as usize];
        self.left_gone && (self.unread || !inbound.queue.is_empty() || inbound.hand.is_some())
    }

    /// Whether only one more read can tell if the application left something: after an event, or a full read, there
    /// may be bytes, or an end, or nothing (a limit stops behind a full read).
    fn must_look(&self) -> bool {
        let inbound = &self.lanes[Way::Inbound as usize];
        self.left_gone && self.right_is_tcp && inbound.readable && !inbound.ended && !self.close_resets()
    }

    // --- state -----------------------------------------------------------------------------------------

    /// The send queue of a way.
    pub fn queue(&mut self, way: Way) -> &mut Queue {
        &mut self.lane(way).queue
    }

    /// Where what is outbound waits, if it does.
    #[must_use]
    pub fn outlet(&self) -> Option<&Arc<Outlet>> {
        self.lanes[Way::Outbound as usize].late.as_ref().map(|(outlet, _)| outlet)
    }

    /// Bytes that wait, by way.
    #[must_use]
    pub fn queued(&self) -> [usize; 2] {
        [self.lanes[0].waiting(), self.lanes[1].waiting()]
    }

    /// Bytes read, by way.
    #[must_use]
    pub fn bytes(&self) -> [u64; 2] {
        [self.lanes[0].bytes, self.lanes[1].bytes]
    }

    /// Whether nobody looks at the bytes of a way, so that the driver need not have them in its memory.
    #[must_use]
    pub fn is_native(&self, way: Way) -> bool {
        let lane = &self.lanes[way as usize];
        let skips = lane.skip > 0 && lane.late.is_none();
        (!lane.hook || skips) && !lane.discard
    }

    /// Whether the poller must tell when `side` has room.
    #[must_use]
    pub fn wants_room(&self, side: Side) -> bool {
        self.lanes[Way::to(side) as usize].wants_room()
    }

    /// Whether a direction has a limit: then [`Flow::at`] must be told before [`Flow::next`].
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.lanes.iter().any(|lane| lane.bucket.is_some())
    }

    /// When a limit lets the next bytes pass, in nanoseconds; None: no limit holds any back.
    #[must_use]
    pub fn timer(&self) -> Option<u64> {
        let held = |lane: &&Lane| lane.readable && !lane.ended && !lane.postponed && lane.room(1) > 0;
        let lanes = if self.left_gone { &self.lanes[..1] } else { &self.lanes[..] };
        lanes.iter().filter(held).filter_map(|lane| Some(lane.bucket.as_ref()?.ready_at())).min()
    }

    /// Whether the application's end of the pair is gone (else a duplicate of right may still be registered elsewhere).
    #[must_use]
    pub fn left_is_gone(&self) -> bool {
        self.left_gone
    }

    /// Whether the network's end, or the next module's, is gone.
    #[must_use]
    pub fn right_is_gone(&self) -> bool {
        self.right_gone
    }

    /// Whether the application has closed and left bytes unread.
    #[must_use]
    pub fn left_is_unread(&self) -> bool {
        self.unread
    }

    /// Whether the end of a way was read.
    #[must_use]
    pub fn has_ended(&self, way: Way) -> bool {
        self.lanes[way as usize].ended
    }

    /// Whether a reset was asked for.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        self.reset
    }

    /// Whether the destination of a way was told of the end.
    #[must_use]
    pub fn is_closed(&self, way: Way) -> bool {
        self.lanes[way as usize].closed
    }

    /// Whether everything that the application wrote was read.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.lanes[Way::Outbound as usize].ended
    }

    fn stop_sending(&mut self, way: Way) {
        let lane = self.lane(way);
        lane.clear();
        lane.hand = None;
        lane.discard = true;
        lane.hook = false;
        lane.hook_end = false;
    }

    fn lane(&mut self, way: Way) -> &mut Lane {
        &mut self.lanes[way as usize]
    }
}
