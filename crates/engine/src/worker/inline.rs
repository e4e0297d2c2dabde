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
        if self.first.from == self.first.to && self.first.behind.is_empty() {
            (self.first.from, self.first.to) = (0, inline::take(&**seat.page, seat.slot).unwrap_or(0));
        }
        if let Some(count) = self.read_first(into) {
            return (Outcome::Bytes(count), count + usize::from(!self.has_more()));
        }
        let Some(seat) = self.area() else { return (Outcome::Again, into.len()) };
        let before = self.taken;
        inline::enter(&**seat.page, seat.slot);
        let found = sock::receive(&self.left, into);
        if let Outcome::Bytes(count) = found {
            self.took(count);
        }
        let Some(seat) = self.area() else { return (found, into.len()) };
        inline::leave(&**seat.page, seat.slot);
        match found {
            Outcome::Bytes(count) => {
                let first = if inline::goes_before(&**seat.page, seat.slot, before) {
                    inline::take(&**seat.page, seat.slot)
                } else {
                    None
                };
                self.first.socket &= count == into.len();
                if let Some(first) = first {
                    self.first.behind = Unread::new(into[..count].to_vec());
                    (self.first.from, self.first.to) = (0, first);
                    return (self.read_first(into).map_or(Outcome::Again, Outcome::Bytes), 0);
                }
            }
            Outcome::Again => self.first.socket = false,
            Outcome::End | Outcome::Broken(_) => {}
        }
        (found, into.len())
    }

    /// Whether bytes lie in the area.
    pub fn has_inline(&self) -> bool {
        self.area().is_some_and(|seat| inline::is_full(&**seat.page, seat.slot))
    }

    /// Whether the socket is all there is to read, until [`Pair::open`].
    pub fn shuts(&mut self) -> bool {
        let is_empty = self.first.from == self.first.to && self.first.behind.is_empty();
        is_empty && self.area().is_none_or(|seat| inline::shut(&**seat.page, seat.slot))
    }

    /// Nothing comes by the area any more until [`Pair::open`]. What did, which comes before what the socket has.
    pub fn shut(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut room = [0; 4096];
        while let Some(count) = self.read_first(&mut room) {
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

    fn has_more(&self) -> bool {
        let first = &self.first;
        first.from < first.to || !first.behind.is_empty() || first.socket || self.is_closed()
    }

    fn read_first(&mut self, into: &mut [u8]) -> Option<usize> {
        let First { from, to, behind, .. } = &self.first;
        let count = (to - from).min(into.len());
        if count == 0 {
            return if behind.is_empty() { None } else { self.first.behind.read(into) };
        }
        let seat = self.area()?;
        seat.page.copy_out(seat.slot, *from, &mut into[..count]);
        if from + count == *to {
            inline::free(&**seat.page, seat.slot);
        }
        self.first.from += count;
        Some(count)
    }
}
