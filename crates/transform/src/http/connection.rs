//! Both directions of a connection: which response answers which request, and when the rest is nobody's affair.
//!
//! | what comes | what follows |
//! | --- | --- |
//! | 1xx, but 101 | it passes; the final response is still to come |
//! | 101 | the connection is another protocol's, both ways |
//! | CONNECT | from behind its head on, so is the request's direction; from behind the response's head on, the other |
//! | bytes after a request with Upgrade, before its answer | nobody can tell whose they are: passed, like all that follows |
//! | a response that nobody asked for (408, or no HTTP) | passed, like all that follows |
//! | a doubtful message | passed, like all that follows, in both directions; bodies under way are finished |
//!
//! `Expect: 100-continue` needs nothing: whether the body comes at once, late, or never, its length is what the head said.

use super::body::{announce, Body, Broken, Changed, Delimited};
use super::framing::{self, Framing};
use super::head::{Head, Start};
use super::lane::{Ask, Lane, Next, Stop, Way};
use super::output::Output;
use super::reason::Reason;
use super::waiting::{Request, Waiting};

/// Whether a message's body can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It can.
    Body,
    /// There is none here, but the head is to speak as if it were: HEAD.
    Head,
    /// There is none.
    Empty,
    /// It is for a client of HTTP/1.0 on a connection that stays: it could not see the end.
    Persistent,
}

/// What is to become of a message.
pub enum Change {
    /// Its body passes; so does its head, unless it was edited.
    Keep,
    /// Its body is changed; the head is made to fit.
    Body(Box<dyn Body>),
    /// It passes as it is, and so does all that follows.
    GiveUp,
}

/// Who decides about messages. Heads may be edited, but for the fields that frame the message.
pub trait Judge {
    /// A request.
    fn request(&mut self, request: &mut Head, room: Room) -> Change;
    /// A final response.
    fn response(&mut self, request: &Request, response: &mut Head, room: Room) -> Change;
}

/// What goes on after [`Connection::feed`].
#[derive(Debug, PartialEq, Eq)]
pub enum Fed {
    /// The input as it is.
    Same,
    /// What was written to `out`.
    Out,
    /// What was written to `out`, and then an end that both sides can tell from an end in order.
    Broken(String),
}

/// A connection.
pub struct Connection {
    lanes: [Lane; 2],
    pairing: Pairing,
    truncated: u64,
}

/// What the two directions know of each other.
#[derive(Default)]
struct Pairing {
    waiting: Waiting,
    opaque: Option<Reason>,
    messages: [u64; 2],
}

impl Connection {
    /// A new one. `edits`: whether the judge edits requests, and responses; where it does not, heads are not held back,
    /// and its answer counts for nothing but [`Change::GiveUp`].
    #[must_use]
    pub fn new(edits: [bool; 2]) -> Self {
        Self {
            lanes: [Lane::new(Way::Request, edits[0]), Lane::new(Way::Response, edits[1])],
            pairing: Pairing::default(),
            truncated: 0,
        }
    }

    /// Bytes came. `out` is empty.
    pub fn feed(&mut self, way: Way, input: &[u8], out: &mut Vec<u8>, judge: &mut dyn Judge) -> Fed {
        let mut output = Output::new(input, out);
        let mut asker = Asker { pairing: &mut self.pairing, judge };
        let result = match way {
            Way::Request => self.lanes[0].feed(input, &mut output, &mut Requests(&mut asker)),
            Way::Response => self.lanes[1].feed(input, &mut output, &mut Responses(&mut asker)),
        };
        match result {
            Ok(()) => {}
            Err(Stop::Opaque(reason)) => self.pairing.give_up(reason),
            Err(Stop::Broken(broken)) => {
                output.vec();
                self.pairing.give_up(Reason::GivenUp);
                return Fed::Broken(broken.0);
            }
        }
        if output.is_same() {
            Fed::Same
        } else {
            Fed::Out
        }
    }

    /// A source has ended; the last bytes are written to `out`.
    ///
    /// # Errors
    /// A transform failed: the connection must end so that it is noticed.
    pub fn end(&mut self, way: Way, out: &mut Vec<u8>) -> Result<(), Broken> {
        let mut output = Output::new(&[], out);
        let cut = self.lanes[way as usize].end(&mut output)?;
        self.truncated += u64::from(cut);
        Ok(())
    }

    /// No more has come for now: what changed bodies can tell so far is written to `out`.
    ///
    /// # Errors
    /// As [`Self::end`].
    pub fn flush(&mut self, way: Way, out: &mut Vec<u8>) -> Result<(), Broken> {
        self.lanes[way as usize].flush(&mut Output::new(&[], out))
    }

    /// Whether a flush might bring something.
    #[must_use]
    pub fn is_open(&self, way: Way) -> bool {
        self.lanes[way as usize].is_open()
    }

    /// So many of the next bytes need not be fed, and must not be; `u64::MAX`: none is ever needed again; 0: they are
    /// fewer than `least`.
    pub fn skip(&mut self, way: Way, least: u64) -> u64 {
        self.lanes[way as usize].skip(least)
    }

    /// From here on everything passes; bodies that are being changed are finished first.
    pub fn give_up(&mut self) {
        self.pairing.give_up(Reason::GivenUp);
    }

    /// Why bytes pass without being looked at, if they do.
    #[must_use]
    pub fn opaque(&self) -> Option<Reason> {
        self.pairing.opaque
    }

    /// Whether nothing of either direction is needed any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.pairing.opaque.is_some() && self.lanes.iter().all(|lane| lane.is_opaque() || !lane.is_busy())
    }

    /// Whether the end of this way would be the end of a message, or of a part of one.
    #[must_use]
    pub fn is_busy(&self, way: Way) -> bool {
        self.lanes[way as usize].is_busy()
    }

    /// Whether a body is being changed on this way.
    #[must_use]
    pub fn changes(&self, way: Way) -> bool {
        self.lanes[way as usize].changes()
    }

    /// Requests and final responses so far.
    #[must_use]
    pub fn messages(&self) -> [u64; 2] {
        self.pairing.messages
    }

    /// Messages that ended before their end.
    #[must_use]
    pub fn truncated(&self) -> u64 {
        self.truncated
    }
}

impl Pairing {
    fn give_up(&mut self, reason: Reason) {
        self.opaque.get_or_insert(reason);
        self.waiting = Waiting::default();
    }
}

struct Asker<'a> {
    pairing: &'a mut Pairing,
    judge: &'a mut dyn Judge,
}

struct Requests<'a, 'b>(&'a mut Asker<'b>);
struct Responses<'a, 'b>(&'a mut Asker<'b>);

impl Ask for Requests<'_, '_> {
    fn may_begin(&self) -> Result<(), Reason> {
        let pairing = &self.0.pairing;
        if let Some(reason) = pairing.opaque {
            return Err(reason);
        }
        if pairing.waiting.last().is_some_and(Request::upgrades) {
            return Err(Reason::Early);
        }
        if pairing.waiting.is_full() {
            return Err(Reason::Pipelined);
        }
        Ok(())
    }

    fn head(&mut self, head: &mut Head) -> Result<Next, Reason> {
        if let Some(reason) = self.0.pairing.opaque {
            return Err(reason);
        }
        let framing = framing::of_request(head)?;
        self.0.pairing.messages[0] += 1;
        let room = if framing == Framing::None { Room::Empty } else { Room::Body };
        let is_tunnel = head.method() == b"CONNECT";
        let changed = match self.0.judge.request(head, room) {
            Change::Keep => None,
            Change::Body(body) if room == Room::Body && !is_tunnel => {
                // A request is never delimited by the end. HTTP/1.0 has no chunks, and nobody sends it bodies.
                announce(head, Delimited::Chunks);
                Some(Box::new(Changed::new(body, Delimited::Chunks)))
            }
            Change::Body(_) => None,
            Change::GiveUp => return Err(Reason::GivenUp),
        };
        Ok(Next { framing, changed, last: is_tunnel })
    }

    fn keep(&mut self, request: &Head) {
        let pairing = &mut *self.0.pairing;
        if pairing.opaque.is_none() {
            pairing.waiting.push(request);
        }
    }
}

impl Ask for Responses<'_, '_> {
    fn may_begin(&self) -> Result<(), Reason> {
        match self.0.pairing.opaque {
            Some(reason) => Err(reason),
            None if self.0.pairing.waiting.first().is_none() => Err(Reason::Unasked),
            None => Ok(()),
        }
    }

    fn head(&mut self, head: &mut Head) -> Result<Next, Reason> {
        let pairing = &mut *self.0.pairing;
        if let Some(reason) = pairing.opaque {
            return Err(reason);
        }
        let Some(request) = pairing.waiting.first() else { return Err(Reason::Unasked) };
        let Start::Response { status } = head.start() else { return Err(Reason::BadHead) };
        if status == 101 {
            let reason = if request.upgrades() { Reason::Upgraded } else { Reason::Unasked };
            return Err(reason);
        }
        if status < 200 {
            return Ok(Next { framing: Framing::None, changed: None, last: false });
        }
        if request.is_connect() {
            // Refused or not: the request's direction is not looked at any more.
            return Err(Reason::Tunnel);
        }
        let is_head = request.is_head();
        let framing = framing::of_response(head, is_head)?;
        let by = delimited(request, head, framing);
        let room = match (framing, by) {
            (Framing::None, _) if is_head && status != 204 && status != 304 => Room::Head,
            (Framing::None, _) => Room::Empty,
            (_, None) => Room::Persistent,
            (_, Some(_)) => Room::Body,
        };
        pairing.messages[1] += 1;
        let Some(request) = pairing.waiting.pop() else { return Err(Reason::Unasked) };
        let changed = match (self.0.judge.response(&request, head, room), room, by) {
            (Change::GiveUp, ..) => return Err(Reason::GivenUp),
            (Change::Body(body), Room::Body, Some(by)) => {
                announce(head, by);
                Some(Box::new(Changed::new(body, by)))
            }
            (Change::Body(_), Room::Head, _) => {
                let chunked = head.has("transfer-encoding");
                announce(head, Delimited::Chunks);
                if !chunked {
                    // It may be left out, and then no client waits for chunks.
                    head.remove("transfer-encoding");
                }
                None
            }
            (Change::Keep | Change::Body(_), ..) => None,
        };
        Ok(Next { framing, changed, last: false })
    }

    fn keep(&mut self, _response: &Head) {}
}

/// How a changed body of this response would be delimited; None: it cannot be.
fn delimited(request: &Request, response: &Head, framing: Framing) -> Option<Delimited> {
    if framing == Framing::Close {
        return Some(Delimited::Close);
    }
    if request.minor() == 1 && response.minor() == 1 {
        return Some(Delimited::Chunks);
    }
    // Chunks are not known. Does the connection end with this response?
    let stays = if response.minor() == 0 {
        response.lists("connection", "keep-alive")
    } else {
        !response.lists("connection", "close") && request.head().lists("connection", "keep-alive")
    };
    (!stays).then_some(Delimited::Close)
}
