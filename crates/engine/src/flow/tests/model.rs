//! The machine against simulated sockets, driven as `crate::worker` drives it, with everything by chance: buffers,
//! moments, halves, closes, resets, hooks that hold bytes back, limits.
//!
//! | always | when both ends keep to the rules | when one does not |
//! | --- | --- | --- |
//! | order is kept, nothing is made up | every byte arrives, both hear an end | the flow ends |
//! | no wake-up is lost | nobody hears a reset | a reset is heard where a native socket had reset |
//! | one read waits at most, each way; outbound, where it may be revoked, what the outlet may hold | | an end is only heard behind the last byte |
//! | what is taken back are the last bytes that were written and not sent | | |
//!
//! A failure names its seed: `check(seed)` alone repeats it.

use std::io::IoSlice;
use std::sync::Arc;

use modnet_revoke::queue::outlet::Outlet;

use super::super::{Bucket, Command, Flow, Hooked, Side, Way};
use super::sim::{Dice, Heard, Socket};
use crate::sock::Outcome;

const CASES: u64 = 30_000;
/// Who takes bytes back.
const HOLDER: u64 = 1;
/// As the worker's.
const TURN: usize = 8;

/// How an end of the connection behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manners {
    /// Writes all, closes its half, reads to the end, closes.
    HalfCloses,
    /// Writes all, reads all that the other has to say, closes without waiting for the end.
    Closes,
    /// Writes all, closes when it hears the end.
    Patient,
    /// Anything at any time.
    None,
}

/// The application, or the network.
#[derive(Debug)]
struct End {
    manners: Manners,
    /// Bytes it wants to write.
    plan: usize,
    sent: usize,
    got: usize,
    heard: Heard,
    half: bool,
    shut_read: bool,
    closed: bool,
    reset: bool,
}

struct World {
    dice: Dice,
    flow: Flow,
    limit: usize,
    tcp: bool,
    hooks: bool,
    /// Left, right.
    sockets: [Socket; 2],
    /// Application, network.
    ends: [End; 2],
    /// What the hooks keep, by way.
    kept: [Vec<u8>; 2],
    hand: Vec<u8>,
    again: bool,
    /// Bytes that whoever takes bytes back has read out of the pair.
    fetched: usize,
    /// The kernel was given less than it had room for.
    rearm: bool,
    timer: Option<u64>,
    now: u64,
    /// At the application's close: what the network had sent, and whether a native close were a reset.
    at_close: Option<(usize, bool)>,
}

/// The byte of a stream at a place.
fn byte(way: Way, at: usize) -> u8 {
    (at.wrapping_mul(167) >> 3) as u8 ^ (way as u8 * 91)
}

fn socket(side: Side) -> usize {
    side as usize
}

#[test]
fn whatever_happens_bytes_order_and_ends_are_as_natively() {
    for seed in 0..CASES {
        check(seed);
    }
}

fn check(seed: u64) {
    let result = std::panic::catch_unwind(|| World::new(seed).live());
    if let Err(cause) = result {
        eprintln!("seed {seed}");
        std::panic::resume_unwind(cause);
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let tcp = !dice.once_in(4);
        let hooks = dice.once_in(3);
        let hooked = Hooked { data: [hooks; 2], end: [hooks; 2] };
        let limit = 1 + dice.below(40);
        let mut flow = Flow::new(limit, hooked, tcp);
        for way in Way::BOTH {
            if dice.once_in(6) {
                flow.limit(way, Some(Bucket::new(1e6, 1 + u32::try_from(dice.below(50)).expect("small"), 0)));
            }
        }
        if dice.once_in(3) {
            flow.bind_late(Arc::new(Outlet::new(Box::new(|_| {}))), 1 + dice.below(200));
        }
        let manners = [Manners::HalfCloses, Manners::Closes, Manners::Patient, Manners::None];
        let chaos = dice.once_in(2);
        let mut end = |kinds: usize| End {
            manners: if chaos && dice.once_in(2) { Manners::None } else { manners[dice.below(kinds)] },
            plan: if dice.once_in(5) { 0 } else { dice.below(300) },
            sent: 0,
            got: 0,
            heard: Heard::Nothing,
            half: false,
            shut_read: false,
            closed: false,
            reset: false,
        };
        // Hooks keep bytes to the end: who closes only behind the last byte would wait for ever.
        let application = end(if hooks { 1 } else { 2 });
        let mut network = end(3);
        if network.manners == Manners::Closes {
            // Two that close without waiting would reset each other.
            network.manners = Manners::Patient;
        }
        let mut sockets = [false, tcp].map(|tcp| Socket::new(tcp, 1 + dice.below(60)));
        sockets.iter_mut().for_each(|socket| socket.watch(false));
        Self {
            flow,
            limit,
            tcp,
            hooks,
            sockets,
            ends: [application, network],
            kept: [Vec::new(), Vec::new()],
            hand: Vec::new(),
            again: false,
            fetched: 0,
            rearm: false,
            timer: None,
            now: 0,
            at_close: None,
            dice,
        }
    }

    /// A life by chance, then to its end.
    fn live(mut self) {
        for _ in 0..self.dice.below(200) {
            match self.dice.below(6) {
                0 | 1 => self.act(Side::Left),
                2 | 3 => self.act(Side::Right),
                4 => self.revoke(),
                _ => self.turn(),
            }
        }
        if let Some(outlet) = self.flow.outlet() {
            outlet.forget(HOLDER);
            self.again = true;
        }
        for _ in 0..4000 {
            if self.sockets[0].closed && self.ends.iter().all(|end| end.closed) {
                return self.judge();
            }
            self.act(Side::Left);
            self.turn();
            self.act(Side::Right);
            self.turn();
            if self.ends.iter().any(|end| end.manners == Manners::None && end.sent == end.plan) {
                // Who has no manners has had the time to show it.
                for side in [Side::Left, Side::Right] {
                    if self.ends[socket(side)].manners == Manners::None {
                        self.close(side);
                    }
                }
            }
        }
        panic!("the flow does not end: {:?} {:?} {:?}", self.ends, self.flow, self.sockets);
    }

    /// One end does something.
    fn act(&mut self, side: Side) {
        let Self { dice, ends, sockets, .. } = self;
        let other = 1 - socket(side);
        let expected = ends[other].plan;
        let (end, socket) = (&mut ends[socket(side)], &mut sockets[socket(side)]);
        if end.closed {
            return;
        }
        if !end.half {
            let most = socket.peer_room().min(end.plan - end.sent).min(1 + dice.below(60));
            let data: Vec<u8> = (end.sent..end.sent + most).map(|at| byte(Way::from(side), at)).collect();
            if !data.is_empty() {
                socket.peer_writes(&data);
                end.sent += most;
            }
        }
        if !dice.once_in(3) {
            let (data, heard) = socket.peer_reads(1 + dice.below(60));
            for byte_got in data {
                assert_eq!(byte_got, byte(Way::to(side), end.got), "{side:?} byte {}", end.got);
                end.got += 1;
            }
            if heard != Heard::Nothing {
                end.heard = heard;
            }
        }
        let written = end.sent == end.plan || socket.closed;
        match end.manners {
            Manners::HalfCloses if written && !end.half => {
                end.half = true;
                socket.peer_shuts_write();
            }
            Manners::HalfCloses if end.half && end.heard != Heard::Nothing => self.close(side),
            Manners::Closes if written && (end.got == expected || end.heard != Heard::Nothing) => {
                self.close(side)
            }
            Manners::Patient if written && end.heard != Heard::Nothing => self.close(side),
            Manners::None => match dice.below(40) {
                0 => {
                    end.half = true;
                    socket.peer_shuts_write();
                }
                1 if side == Side::Left => {
                    end.shut_read = true;
                    socket.peer_shuts_read();
                }
                2 => self.close(side),
                3 if self.tcp && side == Side::Right => {
                    (end.closed, end.reset) = (true, true);
                    socket.peer_resets();
                }
                _ => {}
            },
            _ => {}
        }
    }

    /// Somebody takes bytes back and thinks better of it, or holds them for a while.
    fn revoke(&mut self) {
        let Some(outlet) = self.flow.outlet().cloned() else { return };
        if self.flow.is_native(Way::Outbound) && !self.flow.is_limited() && !outlet.is_locked() {
            // Lent by the worker: what is still in the pair is unsent as well.
            let data = self.sockets[0].receive_all();
            outlet.push(&data);
            self.fetched += data.len();
        }
        match self.dice.below(4) {
            0 => outlet.lock(HOLDER).expect("there is one holder"),
            1 => outlet.unlock(HOLDER).expect("there is one holder"),
            _ => {
                let peeked = outlet.peek(HOLDER, self.dice.below(100)).expect("there is one holder");
                let yanked = outlet.yank(HOLDER, peeked.len()).expect("there is one holder");
                assert_eq!(peeked, yanked);
                outlet.write(HOLDER, &yanked).expect("there is one holder");
            }
        }
        self.again = true;
    }

    fn close(&mut self, side: Side) {
        if self.ends[socket(side)].closed {
            return;
        }
        if side == Side::Left && !self.sockets[0].closed {
            let sent = self.ends[1].sent;
            self.at_close = Some((sent, sent > self.ends[0].got));
        }
        self.ends[socket(side)].closed = true;
        self.sockets[socket(side)].peer_closes();
    }

    /// One turn of the worker's loop.
    fn turn(&mut self) {
        let mut sides = [Side::Left, Side::Right];
        if self.dice.once_in(2) {
            sides.reverse();
        }
        // All events are taken before the first is handled, so the second may be old by then.
        for (side, event) in sides.map(|side| (side, self.sockets[socket(side)].event())) {
            if let Some(ready) = event.filter(|_| !self.sockets[0].closed) {
                self.flow.ready(side, ready);
                self.pump();
            }
        }
        if std::mem::take(&mut self.again) {
            self.pump();
        }
        if self.timer.is_some_and(|at| at <= self.now) {
            self.timer = None;
            self.pump();
        }
        if self.dice.once_in(8) {
            self.flow.read_on(Way::Outbound);
            self.pump();
        }
        self.now += 1000 * self.dice.below(100) as u64;
        self.nothing_is_forgotten();
    }

    /// `crate::worker::pump`, with other sockets.
    fn pump(&mut self) {
        if self.sockets[0].closed {
            return;
        }
        let mut reads = 0;
        self.flow.at(self.now);
        loop {
            match self.flow.next() {
                Command::Append(way, most) => {
                    if reads == TURN {
                        self.again = true;
                        break;
                    }
                    reads += 1;
                    let outlet = Arc::clone(self.flow.outlet().expect("it appends"));
                    let fetched = std::mem::take(&mut self.fetched);
                    if fetched > 0 {
                        self.flow.kept(way, fetched, fetched);
                    }
                    match self.dice.below(4) {
                        0 => {
                            self.flow.postpone(way);
                            self.rearm = true;
                            continue;
                        }
                        1 if self.pass(way, most) => continue,
                        _ => {}
                    }
                    let source = &mut self.sockets[socket(way.source())];
                    let (outcome, asked) = outlet.fill(most, |room| {
                        let (outcome, data) = source.receive(room.len());
                        room[..data.len()].copy_from_slice(&data);
                        (data.len(), (outcome, room.len()))
                    });
                    match outcome {
                        Outcome::Bytes(count) => self.flow.kept(way, count, asked),
                        Outcome::Again => self.flow.drained(way),
                        Outcome::End => self.flow.end_of(way),
                        Outcome::Broken(_) => self.flow.broken(way.source(), true),
                    }
                }
                Command::Release(way, more) => {
                    let outlet = Arc::clone(self.flow.outlet().expect("it releases"));
                    let most = self.dice.below(80);
                    let destination = &mut self.sockets[socket(way.destination())];
                    let sent = outlet.send(most, |pieces: &[IoSlice<'_>], bytes, all| {
                        let data: Vec<u8> = pieces.iter().flat_map(|piece| piece.to_vec()).collect();
                        match destination.send(&data) {
                            Outcome::Bytes(count) => (count, Ok(all && count == bytes)),
                            Outcome::Again => (0, Ok(false)),
                            other => (0, Err(other)),
                        }
                    });
                    self.more(way, more);
                    match sent {
                        Some(Err(_)) => self.flow.broken(way.destination(), false),
                        all => {
                            self.rearm = true;
                            self.flow.sent(way, all == Some(Ok(true)));
                        }
                    }
                }
                Command::Read(way, most) => {
                    if reads == TURN {
                        self.again = true;
                        break;
                    }
                    reads += 1;
                    assert!(most <= self.limit);
                    let (outcome, data) = self.sockets[socket(way.source())].receive(most);
                    match outcome {
                        Outcome::Bytes(count) => {
                            self.hand = data;
                            self.flow.got(way, count, most);
                        }
                        Outcome::Again => self.flow.drained(way),
                        Outcome::End => self.flow.end_of(way),
                        Outcome::Broken(_) => self.flow.broken(way.source(), true),
                    }
                }
                Command::Hook(way) => {
                    let kept = &mut self.kept[way as usize];
                    kept.append(&mut self.hand);
                    let count = self.dice.below(kept.len() + 1);
                    self.hand = kept.drain(..count).collect();
                    if kept.is_empty() && self.dice.once_in(4) {
                        self.flow.forward(way);
                    }
                    self.flow.hooked(way, count);
                }
                Command::HookEnd(way) => {
                    self.flow.hook_ended(way);
                    let rest = std::mem::take(&mut self.kept[way as usize]);
                    match self.flow.outlet().filter(|_| way == Way::Outbound) {
                        Some(outlet) => outlet.push(&rest),
                        None => self.flow.queue(way).push(&rest),
                    }
                }
                Command::Send(way, more) => {
                    assert!(self.flow.queue(way).is_empty(), "sent past the queue");
                    let data = std::mem::take(&mut self.hand);
                    if let Some(outlet) = self.flow.outlet().filter(|_| way == Way::Outbound) {
                        outlet.push(&data);
                        self.flow.put_by(way);
                        continue;
                    }
                    self.more(way, more);
                    match self.sockets[socket(way.destination())].send(&data) {
                        Outcome::Bytes(count) => {
                            self.flow.queue(way).push(&data[count..]);
                            self.flow.sent(way, count == data.len());
                        }
                        Outcome::Again => {
                            self.flow.queue(way).push(&data);
                            self.flow.sent(way, false);
                        }
                        Outcome::End | Outcome::Broken(_) => self.flow.broken(way.destination(), false),
                    }
                }
                Command::Flush(way, more) => {
                    self.more(way, more);
                    let queue = self.flow.queue(way);
                    match self.sockets[socket(way.destination())].send(queue.front()) {
                        Outcome::Bytes(count) => {
                            queue.advance(count);
                            let all = queue.is_empty();
                            self.flow.sent(way, all);
                        }
                        Outcome::Again => self.flow.sent(way, false),
                        Outcome::End | Outcome::Broken(_) => self.flow.broken(way.destination(), false),
                    }
                }
                Command::Shutdown(way) => self.sockets[socket(way.destination())].shutdown_write(),
                Command::Close { reset } => {
                    let [left, right] = &mut self.sockets;
                    left.close(false, &mut self.dice);
                    right.close(reset && self.tcp, &mut self.dice);
                    return;
                }
                Command::Wait => break,
            }
        }
        for side in [Side::Left, Side::Right] {
            let wants = self.flow.wants_room(side);
            let socket = &mut self.sockets[socket(side)];
            if wants != socket.room || (self.rearm && wants) {
                socket.watch(wants);
            }
        }
        if let Some(at) = self.flow.timer().filter(|at| self.timer.is_none_or(|set| *at < set)) {
            self.timer = Some(at);
        }
        self.rearm = false;
        // What was read out of the pair to be taken back comes on top.
        let most = [self.flow.outlet().map_or(self.limit, |_| 300), self.limit];
        assert!(self.hooks || self.flow.queued().iter().zip(most).all(|(queued, most)| *queued <= most));
    }

    /// What is in the pair goes past the outlet; whether it may.
    fn pass(&mut self, way: Way, most: usize) -> bool {
        let outlet = Arc::clone(self.flow.outlet().expect("it appends"));
        let most = most.min(1 + self.dice.below(60));
        let [left, right] = &mut self.sockets;
        let passed = outlet.pass(|| {
            let (outcome, mut data) = left.receive(most);
            if data.is_empty() {
                return (data, Err((Side::Left, outcome)));
            }
            let count = data.len();
            match right.send(&data) {
                Outcome::Bytes(gone) => (data.split_off(gone), Ok((count, gone == count))),
                Outcome::Again => (data, Ok((count, false))),
                other => (Vec::new(), Err((Side::Right, other))),
            }
        });
        match passed {
            None => return false,
            Some(Ok((count, all))) => {
                self.flow.kept(way, count, count);
                self.flow.sent(way, all);
            }
            Some(Err((Side::Left, Outcome::Again))) => self.flow.drained(way),
            Some(Err((Side::Left, Outcome::End))) => self.flow.end_of(way),
            Some(Err((side, _))) => self.flow.broken(side, side == Side::Left),
        }
        true
    }

    /// MSG_MORE is a promise: a FIN follows at once.
    fn more(&self, way: Way, more: bool) {
        if more {
            let lane = &self.flow.lanes[way as usize];
            assert!(self.flow.left_gone && lane.ended && !lane.hook_end && way == Way::Outbound && self.tcp);
        }
    }

    /// Where the flow waits, something will wake it, or there is nothing to do.
    fn nothing_is_forgotten(&self) {
        let coming = self.again || self.sockets.iter().any(Socket::is_listed);
        if self.sockets[0].closed || coming {
            return;
        }
        for way in Way::BOTH {
            let lane = &self.flow.lanes[way as usize];
            let [source, destination] =
                [way.source(), way.destination()].map(|side| &self.sockets[socket(side)]);
            if way == Way::Inbound && self.flow.left_gone {
                continue;
            }
            if lane.is_locked() {
                continue;
            }
            if lane.waiting() > 0 || lane.postponed {
                assert!(
                    destination.room && !destination.is_writable(),
                    "{way:?} could send: {:?}",
                    self.flow
                );
            } else if !lane.ended && self.timer.is_none() {
                assert!(!source.is_readable(), "{way:?} could read: {:?}", self.flow);
            }
        }
    }

    /// Everything is over.
    fn judge(&self) {
        let [application, network] = &self.ends;
        let mannered = self.ends.iter().all(|end| end.manners != Manners::None);
        let both = format!("{:?}\n{:?}\n{:?}", self.ends, self.flow, self.at_close);
        if mannered {
            assert_eq!((application.sent, network.sent), (application.plan, network.plan), "{both}");
            assert_eq!((application.got, network.got), (network.sent, application.sent), "{both}");
            assert_eq!(network.heard, Heard::End, "{both}");
            assert_ne!(application.heard, Heard::Reset, "{both}");
        }
        if network.heard == Heard::End {
            assert_eq!(network.got, application.sent, "an end, but not behind the last byte: {both}");
        }
        if application.heard == Heard::End && !application.shut_read && network.manners != Manners::None {
            assert_eq!(application.got, network.sent, "an end, but not behind the last byte: {both}");
        }
        let Some((sent, native)) = self.at_close.filter(|_| self.tcp && network.manners != Manners::None)
        else {
            return;
        };
        // Behind a half-close the network may have been content with the end.
        if native && !self.hooks && !application.half {
            assert_eq!(network.heard, Heard::Reset, "a native close had reset: {both}");
        }
        if network.heard == Heard::Reset {
            assert!(
                native || network.sent > sent || application.shut_read,
                "a native close had not reset: {both}"
            );
        }
    }
}
