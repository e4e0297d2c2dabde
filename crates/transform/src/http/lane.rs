//! One direction of a connection: heads and bodies in turn, found in bytes that come in any pieces.
//!
//! It knows nothing of the other direction; [`super::connection`] does, and is asked for each head. Must not: hold a body.

use std::cell::Cell;
use std::ops::Range;

use super::body::{Broken, Changed};
use super::chunked::{Chunks, Part};
use super::framing::Framing;
use super::head::{end_of, may_be_request, may_be_response, Head};
use super::output::Output;
use super::reason::Reason;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client: requests.
    Request,
    /// From the server: responses.
    Response,
}

/// What a lane is told about a head: what follows it, and whether it is changed.
pub struct Next {
    /// How the body is delimited.
    pub framing: Framing,
    /// None: the body passes. Boxed, since most do: a lane is then two cache lines, which have to come from memory where
    /// many connections take turns.
    pub changed: Option<Box<Changed>>,
    /// From behind this head on, nobody looks: a tunnel.
    pub last: bool,
}

/// Who is asked about heads.
pub trait Ask {
    /// A head has come, which is written after the call, edited or not. An error: it is, and then whatever comes.
    fn head(&mut self, head: &mut Head) -> Result<Next, Reason>;
    /// The head is written; the lane needs it no more.
    fn keep(&mut self, head: &Head);
    /// Whether the lane may begin another message.
    fn may_begin(&self) -> Result<(), Reason>;
}

thread_local! {
    /// The head that is decided about, for all lanes of the thread, by way: a plain one needs no memory of its own, what many
    /// connections take turns with is still near the processor, and the next head has most of its lines in common with it.
    static DESK: [Cell<Option<Box<Head>>>; 2] = const { [Cell::new(None), Cell::new(None)] };
}

enum State {
    /// A head, or what may come before one.
    Head,
    Length(u64),
    Chunked(Chunks),
    Close,
    /// Nobody looks any more.
    Opaque,
}

/// One direction.
pub struct Lane {
    way: Way,
    /// Whether heads are held back until they are decided about; else they pass while they are read.
    hold: bool,
    state: State,
    changed: Option<Box<Changed>>,
    /// Of a head: what has come so far.
    head: Vec<u8>,
    /// So much of it was searched for its end.
    searched: usize,
}

/// A lane cannot go on.
#[derive(Debug)]
pub enum Stop {
    /// From here on bytes pass.
    Opaque(Reason),
    /// A changed message cannot be ended: its receiver must see that.
    Broken(Broken),
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl Lane {
    /// A new one. `hold`: heads may be edited.
    pub fn new(way: Way, hold: bool) -> Self {
        Self { way, hold, state: State::Head, changed: None, head: Vec::new(), searched: 0 }
    }

    /// Whether nobody looks any more.
    pub fn is_opaque(&self) -> bool {
        matches!(self.state, State::Opaque)
    }

    /// Whether a message, or a part of a head, is under way.
    pub fn is_busy(&self) -> bool {
        !matches!(self.state, State::Head | State::Opaque) || !self.head.is_empty()
    }

    /// Whether a body is being changed.
    pub fn changes(&self) -> bool {
        self.changed.is_some()
    }

    /// From here on bytes pass. What is held back goes first.
    pub fn give_up(&mut self, out: &mut Output<'_>) {
        if self.hold {
            out.put(&self.head);
        }
        self.head = Vec::new();
        self.state = State::Opaque;
    }

    /// Bytes came.
    ///
    /// # Errors
    /// The rest of the direction is not this lane's: where [`Stop::Opaque`], it has been passed already.
    pub fn feed(&mut self, input: &[u8], out: &mut Output<'_>, ask: &mut impl Ask) -> Result<(), Stop> {
        let mut at = 0;
        let result = self.run(input, &mut at, out, ask);
        if let Err(Stop::Opaque(reason)) = result {
            if self.changed.take().is_some() {
                return Err(Stop::Broken(Broken(format!(
                    "a body that was being changed: {}",
                    reason.name()
                ))));
            }
            self.give_up(out);
            out.pass(at..input.len());
        }
        result
    }

    fn run(
        &mut self,
        input: &[u8],
        at: &mut usize,
        out: &mut Output<'_>,
        ask: &mut impl Ask,
    ) -> Result<(), Stop> {
        while *at < input.len() {
            let rest = &input[*at..];
            match &mut self.state {
                State::Head => self.head(input, at, out, ask)?,
                State::Length(left) => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= count as u64;
                    let over = *left == 0;
                    self.data(*at, &rest[..count], out)?;
                    *at += count;
                    if over {
                        self.over(out)?;
                    }
                }
                State::Chunked(chunks) => {
                    let (part, count) = chunks.next(rest).map_err(Stop::Opaque)?;
                    let over = chunks.is_over();
                    match (&mut self.changed, part) {
                        (_, Part::Data) => self.data(*at, &rest[..count], out)?,
                        (None, _) => out.pass(*at..*at + count),
                        (Some(changed), Part::Trailer) => changed.trailers.extend_from_slice(&rest[..count]),
                        (Some(_), Part::Framing) => {}
                    }
                    *at += count;
                    if over {
                        self.over(out)?;
                    }
                }
                State::Close => {
                    self.data(*at, rest, out)?;
                    *at = input.len();
                }
                State::Opaque => {
                    out.pass(*at..input.len());
                    *at = input.len();
                }
            }
        }
        Ok(())
    }

    fn head(
        &mut self,
        input: &[u8],
        at: &mut usize,
        out: &mut Output<'_>,
        ask: &mut impl Ask,
    ) -> Result<(), Stop> {
        if self.head.is_empty() {
            // Empty lines before a request are to be ignored (RFC 9112 §2.2): they pass. Half of one waits.
            ask.may_begin().map_err(Stop::Opaque)?;
        }
        let rest = &input[*at..];
        let rest = &rest[..rest.len().min(super::head::MOST + 1)];
        let before = self.head.len();
        if before == 0 {
            let decided = DESK.with(|desks| {
                let desk = &desks[self.way as usize];
                // Whoever decides may play another connection meanwhile: then that has a head of its own.
                let mut head = desk.take().unwrap_or_default();
                let decided = head.read_plain(rest, self.way == Way::Request).then(|| {
                    let range = *at..*at + head.as_sent().len();
                    *at = range.end;
                    self.decided(&mut head, range, false, out, ask)
                });
                desk.set(Some(head));
                decided
            });
            if let Some(decided) = decided {
                return decided;
            }
        }
        // Where a head begins here, its end is looked for in place: what lies behind, a body or a thousand requests, is not copied.
        let count = if before == 0 { rest.len() } else { self.gather(rest) };
        let text = if before == 0 { rest } else { &self.head[..] };
        if self.way == Way::Request && text.starts_with(b"\r") {
            match text.get(1) {
                Some(b'\n') => {
                    let count = 2 - before;
                    if self.hold && before > 0 {
                        out.put(b"\r");
                    }
                    out.pass(*at..*at + count);
                    *at += count;
                    self.head.clear();
                    return Ok(());
                }
                Some(_) => {
                    self.head.truncate(before);
                    return Err(Stop::Opaque(Reason::BareLineEnd));
                }
                None => {
                    if before == 0 {
                        self.head.extend_from_slice(rest);
                    }
                    if !self.hold {
                        out.pass(*at..*at + 1);
                    }
                    *at += 1;
                    return Ok(());
                }
            }
        }
        let plausible = match self.way {
            Way::Request => may_be_request(text),
            Way::Response => may_be_response(text),
        };
        let found = plausible.and_then(|()| end_of(text, &mut self.searched));
        match found {
            Err(reason) => {
                self.head.truncate(before);
                Err(Stop::Opaque(reason))
            }
            Ok(None) => {
                if before == 0 {
                    self.head.extend_from_slice(rest);
                }
                if !self.hold {
                    out.pass(*at..*at + count);
                }
                *at += count;
                Ok(())
            }
            Ok(Some(length)) => {
                let range = *at..*at + (length - before);
                self.searched = 0;
                let held = self.head[..before].to_vec();
                let bytes = text[..length].to_vec();
                self.head = Vec::new();
                let mut head = match Head::parse(bytes, self.way == Way::Request) {
                    Ok(head) => head,
                    Err(reason) => {
                        self.head = held;
                        return Err(Stop::Opaque(reason));
                    }
                };
                *at = range.end;
                self.decided(&mut head, range, before > 0, out, ask)
            }
        }
    }

    /// All of a head is there, its last bytes in `range` of the input, others perhaps `held` back: it is decided about.
    fn decided(
        &mut self,
        head: &mut Head,
        range: Range<usize>,
        held: bool,
        out: &mut Output<'_>,
        ask: &mut impl Ask,
    ) -> Result<(), Stop> {
        let next = ask.head(head);
        if self.hold && (head.is_edited() || held) {
            out.put(&head.written());
        } else {
            out.pass(range);
        }
        ask.keep(head);
        let next = next.map_err(Stop::Opaque)?;
        self.changed = next.changed;
        self.state = match next.framing {
            _ if next.last => State::Opaque,
            Framing::None => State::Head,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(Chunks::default()),
            Framing::Close => State::Close,
        };
        Ok(())
    }

    /// More of a head that has begun: up to its end, or all there is. How much that was.
    fn gather(&mut self, rest: &[u8]) -> usize {
        let mut taken = 0;
        for at in memchr::memchr_iter(b'\n', rest) {
            self.head.extend_from_slice(&rest[taken..=at]);
            taken = at + 1;
            if self.head.ends_with(b"\r\n\r\n") {
                return taken;
            }
        }
        self.head.extend_from_slice(&rest[taken..]);
        rest.len()
    }

    fn data(&mut self, at: usize, data: &[u8], out: &mut Output<'_>) -> Result<(), Broken> {
        match &mut self.changed {
            Some(changed) => changed.data(data, out.vec()),
            None => {
                out.pass(at..at + data.len());
                Ok(())
            }
        }
    }

    fn over(&mut self, out: &mut Output<'_>) -> Result<(), Broken> {
        self.state = State::Head;
        match self.changed.take() {
            Some(mut changed) => changed.end(out.vec()),
            None => Ok(()),
        }
    }

    /// The source has ended. Whether a message was cut short.
    ///
    /// # Errors
    /// A transform failed.
    pub fn end(&mut self, out: &mut Output<'_>) -> Result<bool, Broken> {
        let state = std::mem::replace(&mut self.state, State::Opaque);
        let held = std::mem::take(&mut self.head);
        if self.hold {
            out.put(&held);
        }
        match (state, self.changed.take()) {
            (State::Close, Some(mut changed)) => changed.end(out.vec()).map(|()| false),
            // No terminator: the receiver is to notice.
            (_, Some(mut changed)) => changed.flush(out.vec()).map(|()| true),
            (State::Length(_) | State::Chunked(_), None) => Ok(true),
            (_, None) => Ok(!held.is_empty()),
        }
    }

    /// No more has come for now: what a changed body can tell so far.
    ///
    /// # Errors
    /// A transform failed.
    pub fn flush(&mut self, out: &mut Output<'_>) -> Result<(), Broken> {
        match &mut self.changed {
            Some(changed) => changed.flush(out.vec()),
            None => Ok(()),
        }
    }

    /// Whether a flush might bring something.
    pub fn is_open(&self) -> bool {
        self.changed.as_ref().is_some_and(|changed| changed.is_open())
    }

    /// How many bytes pass from here on without being looked at, and are taken as passed; 0 if they are fewer than `least`.
    pub fn skip(&mut self, least: u64) -> u64 {
        if self.changed.is_some() {
            return 0;
        }
        match &mut self.state {
            State::Length(left) if *left >= least => {
                let left = *left;
                self.state = State::Head;
                left
            }
            State::Chunked(chunks) if chunks.in_data() && chunks.data_left() >= least => {
                let left = chunks.data_left();
                chunks.skipped();
                left
            }
            State::Close | State::Opaque => u64::MAX,
            State::Head | State::Length(_) | State::Chunked(_) => 0,
        }
    }
}
