//! Near sockets of pooled pairs towards the next module: which flow has which.
//!
//! The poller knows such a socket by a token of its own, not by its flow's, so that the next flow on it needs no call to say so.
//! A place is numbered by its descriptor. Rules: a number that another socket has got carries another generation, so that a late
//! event finds nobody; what hangs up between two flows is told to the next.

use std::os::fd::RawFd;

use crate::flow::Ready;

/// Descriptor bits of a name.
const FD_BITS: u32 = 28;

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    generation: u32,
    flow: Option<u64>,
    early: Ready,
}

/// By descriptor.
#[derive(Debug, Default)]
pub struct Nears {
    places: Vec<Place>,
}

impl Nears {
    /// A new socket, which has its first flow: its name, to be watched under.
    pub fn add(&mut self, fd: RawFd, flow: u64) -> u64 {
        let index = index(fd);
        if self.places.len() <= index {
            self.places.resize(index + 1, Place::default());
        }
        let generation = self.places[index].generation.wrapping_add(1);
        self.places[index] = Place { generation, flow: Some(flow), early: Ready::default() };
        self.name(fd)
    }

    /// A socket that is watched already has its next flow: what that is to be told at once.
    pub fn again(&mut self, fd: RawFd, flow: u64) -> Option<Ready> {
        let place = self.places.get_mut(index(fd))?;
        place.flow = Some(flow);
        let early = std::mem::take(&mut place.early);
        (early != Ready::default()).then_some(early)
    }

    /// Its flow has left it.
    pub fn leave(&mut self, fd: RawFd) {
        if let Some(place) = self.places.get_mut(index(fd)) {
            place.flow = None;
        }
    }

    /// As the poller knows it.
    pub fn name(&self, fd: RawFd) -> u64 {
        let index = index(fd);
        let generation = self.places.get(index).map_or(0, |place| place.generation);
        u64::from(generation) << FD_BITS | index as u64
    }

    /// The poller saw something. The flow that is to be told; None: it is remembered, or was for a socket that is gone.
    pub fn saw(&mut self, name: u64, ready: Ready) -> Option<u64> {
        let index = usize::try_from(name & ((1 << FD_BITS) - 1)).unwrap_or(usize::MAX);
        let place = self.places.get_mut(index)?;
        if u64::from(place.generation) != name >> FD_BITS {
            return None;
        }
        if place.flow.is_none() {
            // Nothing is written to an idle pair, and a new flow takes its room for granted.
            place.early.half |= ready.half;
            place.early.hang_up |= ready.hang_up;
            place.early.failed |= ready.failed;
        }
        place.flow
    }
}

fn index(fd: RawFd) -> usize {
    usize::try_from(fd).unwrap_or(usize::MAX).min((1 << FD_BITS) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const READABLE: Ready = Ready { readable: true, ..NOTHING };
    const HANG_UP: Ready = Ready { hang_up: true, ..NOTHING };
    const NOTHING: Ready =
        Ready { readable: false, writable: false, half: false, hang_up: false, failed: false, urgent: false };

    #[test]
    fn a_socket_keeps_its_name_from_flow_to_flow() {
        let mut nears = Nears::default();
        let name = nears.add(9, 1);
        assert_eq!(nears.saw(name, READABLE), Some(1));
        nears.leave(9);
        assert_eq!(nears.again(9, 2), None);
        assert_eq!((nears.saw(name, READABLE), nears.name(9)), (Some(2), name));
    }

    #[test]
    fn what_hangs_up_between_two_flows_is_told_to_the_next() {
        let mut nears = Nears::default();
        let name = nears.add(9, 1);
        nears.leave(9);
        assert_eq!((nears.saw(name, READABLE), nears.saw(name, HANG_UP)), (None, None));
        assert_eq!(nears.again(9, 2), Some(HANG_UP));
        nears.leave(9);
        assert_eq!(nears.again(9, 3), None, "told once");
    }

    #[test]
    fn an_event_of_a_socket_that_is_gone_finds_nobody() {
        let mut nears = Nears::default();
        let old = nears.add(9, 1);
        nears.leave(9);
        let new = nears.add(9, 2);
        assert_eq!((nears.saw(old, HANG_UP), nears.saw(new, READABLE)), (None, Some(2)));
        nears.leave(9);
        assert_eq!((nears.again(9, 3), nears.again(12, 4)), (None, None));
    }
}
