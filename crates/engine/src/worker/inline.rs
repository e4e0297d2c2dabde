//! What is read of a pair: its socket, and small writes that its client has put into shared memory (`modnet_pool::inline`).
//!
//! Whoever reads left reads by [`Pair::read`], or shuts the area before: [`Pair::shuts`] for one splice, [`Pair::shut`] until the flow is over.
//! Only bytes of the socket are counted.

use modnet_abi::pool::AREAS;
use modnet_pool::inline;

use super::conn::{Pair, Seat, Unread};
use crate::sock::{self, Outcome};

/// What comes before the socket's bytes.
#[derive(Default)]
pub struct First {
    /// Bytes of the area that are this module's.
    from: usize,
    to: usize,
    /// Bytes of the socket that were read before those were seen, and come behind them.
    behind: Unread,
    /// The poller has told of the socket, and no read has found it empty since.
    pub socket: bool,
}

impl Pair {
    /// Reads, whatever is next. What was found, and how many bytes that might have been: fewer are the last for now.
    pub fn read(&mut self, into: &mut [u8]) -> (Outcome, usize) {
        let Some(seat) = self.area() else {
            let found = sock::receive(&self.left, into);
            if let Outcome::Bytes(count) = found {
                self.took(count);
            }
            return (found, into.len());
        };
        if self.has_no_first() {
            (self.first.from, self.first.to) = (0, inline::take(&**seat.page, seat.slot).unwrap_or(0));
        }
        let first = self.read_first(into);
        // The socket has more, or nothing follows what it has: then the last bytes and the end go on together.
        let goes_on = self.has_no_first() && (self.first.socket || self.is_closed());
        if first > 0 && !goes_on {
            return (Outcome::Bytes(first), first + usize::from(self.has_no_first()));
        }
        if first == into.len() {
            return (Outcome::Bytes(first), first);
        }
        let (found, count) = match self.read_socket(&mut into[first..]) {
            Outcome::Bytes(count) => (Outcome::Bytes(first + count), first + count),
            found if first == 0 => return (found, into.len()),
            Outcome::Again => (Outcome::Bytes(first), first),
            // The next read finds the same.
            Outcome::End | Outcome::Broken(_) => return (Outcome::Bytes(first), first),
        };
        (found, if self.has_no_first() { into.len() } else { count })
    }

    /// Reads from the socket; and what turns out to come before that, first.
    fn read_socket(&mut self, into: &mut [u8]) -> Outcome {
        let before = self.taken;
        let Some(seat) = self.area() else { return Outcome::Again };
        inline::enter(&**seat.page, seat.slot);
        let found = sock::receive(&self.left, into);
        if let Outcome::Bytes(count) = found {
            self.took(count);
        }
        let Some(seat) = self.area() else { return found };
        inline::leave(&**seat.page, seat.slot);
        match found {
            Outcome::Bytes(count) => {
                let passed = inline::goes_before(&**seat.page, seat.slot, before);
                let first = passed.then(|| inline::take(&**seat.page, seat.slot)).flatten();
                self.first.socket &= count == into.len();
                if let Some(first) = first {
                    self.first.behind = Unread::new(into[..count].to_vec());
                    (self.first.from, self.first.to) = (0, first);
                    return Outcome::Bytes(self.read_first(into));
                }
            }
            Outcome::Again => self.first.socket = false,
            Outcome::End | Outcome::Broken(_) => {}
        }
        found
    }

    /// Whether bytes lie in the area.
    pub fn has_inline(&self) -> bool {
        self.area().is_some_and(|seat| inline::is_full(&**seat.page, seat.slot))
    }

    /// Whether the socket is all there is to read, until [`Pair::open`].
    pub fn shuts(&mut self) -> bool {
        self.has_no_first() && self.area().is_none_or(|seat| inline::shut(&**seat.page, seat.slot))
    }

    /// Nothing comes by the area any more until [`Pair::open`]. What did, which comes before what the socket has.
    pub fn shut(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut room = [0; 4096];
        while !self.has_no_first() {
            let count = self.read_first(&mut room);
            bytes.extend_from_slice(&room[..count]);
        }
        if let Some(seat) = self.area() {
            let more = inline::shut_for_good(&**seat.page, seat.slot);
            let at = bytes.len();
            bytes.resize(at + more, 0);
            seat.page.copy_out(seat.slot, 0, &mut bytes[at..]);
        }
        bytes
    }

    /// The client may use the area.
    pub fn open(&mut self) {
        if let Some(seat) = self.area() {
            inline::free(&**seat.page, seat.slot);
        }
    }

    /// Its place, if that has an area.
    fn area(&self) -> Option<&Seat> {
        self.seat.as_ref().filter(|seat| seat.slot < AREAS)
    }

    fn has_no_first(&self) -> bool {
        self.first.from == self.first.to && self.first.behind.is_empty()
    }

    /// Reads what comes before the socket; 0: nothing does.
    fn read_first(&mut self, into: &mut [u8]) -> usize {
        let First { from, to, behind, .. } = &mut self.first;
        let count = (*to - *from).min(into.len());
        if count == 0 {
            return behind.read(into).unwrap_or(0);
        }
        let at = *from;
        *from += count;
        let is_last = *from == *to;
        if let Some(seat) = self.area() {
            seat.page.copy_out(seat.slot, at, &mut into[..count]);
            if is_last {
                inline::free(&**seat.page, seat.slot);
            }
        }
        count
    }
}
