//! A playbook: what happens to a flow, and the commands that must follow, in one chain of calls.
//!
//! The play plays the driver: it answers the last command, and keeps the bytes in hand and the queue as
//! `crate::worker` does. A wrong command panics with everything that happened before it, and both commands.

use std::fmt::Write;
use std::sync::Arc;

use modnet_revoke::queue::outlet::Outlet;

use super::super::{Bucket, Command, Flow, Hooked, Ready, Side, Way};

/// The limit of a play's flow.
pub const LIMIT: usize = 100;
/// Input.
pub const IN: Ready =
    Ready { readable: true, writable: false, half: false, hang_up: false, failed: false, urgent: false };
/// Input with urgent data in it.
pub const URGENT: Ready = Ready { urgent: true, ..IN };
/// Room.
pub const OUT: Ready = Ready { readable: false, writable: true, ..IN };
/// The peer sends no more.
pub const HALF: Ready = Ready { half: true, ..IN };
/// Both halves are closed.
pub const GONE: Ready = Ready { writable: true, hang_up: true, ..HALF };
/// As [`GONE`], with an error: a reset, or a pair's end that was closed with unread bytes.
pub const FAILED: Ready = Ready { failed: true, ..GONE };

/// A flow, and what happened to it.
pub struct Play {
    pub flow: Flow,
    script: String,
    last: Command,
    hand: usize,
}

impl Play {
    /// No hooks, right is TCP.
    pub fn plain() -> Self {
        Self::of(Hooked::default(), true)
    }

    /// Hooks on data both ways.
    pub fn hooked() -> Self {
        Self::of(Hooked { data: [true; 2], end: [false; 2] }, true)
    }

    /// What is outbound may be revoked; at most twice the limit waits.
    pub fn late() -> Self {
        let mut play = Self::plain();
        play.flow.bind_late(Arc::new(Outlet::new(Box::new(|_| {}))), 2 * LIMIT);
        play
    }

    /// Where its outbound bytes wait.
    pub fn outlet(&self) -> Arc<Outlet> {
        Arc::clone(self.flow.outlet().expect("a play that is late"))
    }

    /// Right is a pair to the next module.
    pub fn chained() -> Self {
        Self::of(Hooked::default(), false)
    }

    pub fn of(hooked: Hooked, right_is_tcp: bool) -> Self {
        let flow = Flow::new(LIMIT, hooked, right_is_tcp);
        Self { flow, script: String::new(), last: Command::Wait, hand: 0 }
    }

    /// The poller saw something.
    pub fn ready(mut self, side: Side, ready: Ready) -> Self {
        self.note(format_args!("{side:?} {ready:?}"));
        self.flow.ready(side, ready);
        self
    }

    /// The next command must be this one.
    #[track_caller]
    pub fn then(mut self, expected: Command) -> Self {
        let actual = self.flow.next();
        assert!(actual == expected, "{}- {expected:?}\n+ {actual:?}", self.script);
        self.note(format_args!("    {actual:?}"));
        self.last = actual;
        self
    }

    /// There must be nothing to do.
    #[track_caller]
    pub fn waits(self) -> Self {
        self.then(Command::Wait)
    }

    /// The flow must be over: closed, and silent from now on.
    #[track_caller]
    pub fn closes(self, reset: bool) {
        self.then(Command::Close { reset }).waits();
    }

    /// The read gave so many bytes.
    #[track_caller]
    pub fn got(mut self, count: usize) -> Self {
        self.note(format_args!("got {count}"));
        if let Command::Append(way, asked) = self.last {
            self.outlet().push(&vec![0; count]);
            self.flow.kept(way, count, asked);
            return self;
        }
        let Command::Read(way, asked) = self.last else { self.misplaced("got") };
        self.hand = count;
        self.flow.got(way, count, asked);
        self
    }

    /// What there is to be read waits where it is.
    #[track_caller]
    pub fn postpones(mut self) -> Self {
        let Command::Append(way, _) = self.last else { self.misplaced("postpones") };
        self.note(format_args!("postpones"));
        self.flow.postpone(way);
        self
    }

    /// The next two commands must read a way, which gives so many bytes, and send them all.
    #[track_caller]
    pub fn moves(self, way: Way, count: usize) -> Self {
        self.then(Command::Read(way, LIMIT)).got(count).then(Command::Send(way, false)).took(count)
    }

    /// The read found nothing.
    #[track_caller]
    pub fn nothing(mut self) -> Self {
        let (Command::Read(way, _) | Command::Append(way, _)) = self.last else { self.misplaced("nothing") };
        self.note(format_args!("nothing"));
        self.flow.drained(way);
        self
    }

    /// The read found the end.
    #[track_caller]
    pub fn end(mut self) -> Self {
        let (Command::Read(way, _) | Command::Append(way, _)) = self.last else { self.misplaced("end") };
        self.note(format_args!("end"));
        self.flow.end_of(way);
        self
    }

    /// The last command failed for good.
    #[track_caller]
    pub fn fails(mut self) -> Self {
        let (side, reading) = match self.last {
            Command::Read(way, _) => (way.source(), true),
            Command::Send(way, _) | Command::Flush(way, _) => (way.destination(), false),
            _ => self.misplaced("fails"),
        };
        self.note(format_args!("fails"));
        self.flow.broken(side, reading);
        self
    }

    /// The destination took so many bytes.
    #[track_caller]
    pub fn took(mut self, count: usize) -> Self {
        self.note(format_args!("took {count}"));
        match self.last {
            Command::Send(way, _) => {
                self.flow.queue(way).push(&vec![0; self.hand - count]);
                self.flow.sent(way, count == self.hand);
            }
            Command::Release(way, _) => {
                let all = self.outlet().send(count, |_, bytes, all| (bytes, all));
                self.flow.sent(way, all == Some(true));
            }
            Command::Flush(way, _) => {
                self.flow.queue(way).advance(count);
                let all = self.flow.queue(way).is_empty();
                self.flow.sent(way, all);
            }
            _ => self.misplaced("took"),
        }
        self
    }

    /// The hook returned so many bytes for those in hand.
    #[track_caller]
    pub fn makes(mut self, count: usize) -> Self {
        let Command::Hook(way) = self.last else { self.misplaced("makes") };
        self.note(format_args!("makes {count}"));
        self.hand = count;
        self.flow.hooked(way, count);
        self
    }

    /// The hook for the end added so many bytes.
    #[track_caller]
    pub fn adds(mut self, count: usize) -> Self {
        let Command::HookEnd(way) = self.last else { self.misplaced("adds") };
        self.note(format_args!("adds {count}"));
        self.flow.hook_ended(way);
        self.flow.queue(way).push(&vec![0; count]);
        self
    }

    /// Other modules have come to that side.
    pub fn replaced(mut self, side: Side) -> Self {
        self.note(format_args!("replaced {side:?}"));
        self.flow.replaced(side);
        self
    }

    /// Bytes pass that came along when the flow was yielded.
    pub fn passes(mut self, way: Way, count: usize) -> Self {
        self.note(format_args!("passes {way:?} {count}"));
        self.flow.pass(way, &vec![0; count]);
        self
    }

    /// The module gives a way back.
    pub fn forward(mut self, way: Way) -> Self {
        self.note(format_args!("forward {way:?}"));
        self.flow.forward(way);
        self
    }

    /// So many of the next bytes pass the hook by.
    pub fn skip(mut self, way: Way, count: u64) -> Self {
        self.note(format_args!("skip {way:?} {count}"));
        self.flow.skip(way, count);
        self
    }

    /// A hook has so many bytes that no others called for.
    pub fn comes_by(mut self, way: Way, count: usize) -> Self {
        self.note(format_args!("comes by {way:?} {count}"));
        self.flow.pass(way, &vec![0; count]);
        self
    }

    /// The module asks for a reset.
    pub fn reset(mut self) -> Self {
        self.note(format_args!("reset"));
        self.flow.reset();
        self
    }

    /// The module limits a way to `rate` bytes a second after `burst` bytes, or lifts its limit.
    pub fn limit(mut self, way: Way, limit: Option<(f64, u32)>) -> Self {
        self.note(format_args!("limit {way:?} {limit:?}"));
        let now = self.flow.now;
        self.flow.limit(way, limit.map(|(rate, burst)| Bucket::new(rate, burst, now)));
        self
    }

    /// It is so late.
    pub fn at(mut self, now: u64) -> Self {
        self.note(format_args!("at {now}"));
        self.flow.at(now);
        self
    }

    /// The timer that must be set.
    #[track_caller]
    pub fn timer(mut self, expected: Option<u64>) -> Self {
        let actual = self.flow.timer();
        assert!(actual == expected, "{}- timer {expected:?}\n+ timer {actual:?}", self.script);
        self.note(format_args!("    timer {actual:?}"));
        self
    }

    /// Whether a side must be watched for room.
    #[track_caller]
    pub fn wants_room(mut self, side: Side, expected: bool) -> Self {
        let actual = self.flow.wants_room(side);
        assert!(actual == expected, "{}- wants room {expected:?}\n+ wants room {actual:?}", self.script);
        self.note(format_args!("    wants room {actual:?}"));
        self
    }

    /// Which sides must be watched for room, and how much waits, by way.
    #[track_caller]
    pub fn holds(mut self, queued: [usize; 2]) -> Self {
        let actual = self.flow.queued();
        assert!(actual == queued, "{}- queued {queued:?}\n+ queued {actual:?}", self.script);
        let wants = [Side::Right, Side::Left].map(|side| self.flow.wants_room(side));
        let expected = queued.map(|count| count > 0);
        assert!(wants == expected, "{}- wants room {expected:?}\n+ wants room {wants:?}", self.script);
        self.note(format_args!("    queued {queued:?}"));
        self
    }

    fn note(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.script, "  {line}").expect("a string");
    }

    #[track_caller]
    fn misplaced(&self, answer: &str) -> ! {
        panic!("{}the play is wrong: {answer} is no answer to {:?}", self.script, self.last)
    }
}
