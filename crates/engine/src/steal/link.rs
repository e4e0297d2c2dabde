//! The way to the next module of a chain: one connection to its steal queue, kept as long as the client's own.
//!
//! A module that cannot be reached is passed over and counted, and the one after it is tried; where none is left,
//! this module serves the real socket itself (or resets the flow, where the chain says fail closed). The application
//! pays for one module however long its chain is. Where pairs are pooled, each connection has a pool of its own.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use modnet_abi::steal::MAX_ENTRIES;

use super::carried::Carried;
use super::doors::{Doors, Parcel};
use super::outbox;
use super::towards::{Place, Towards};
use super::{Left, Receiver, Stolen};
use crate::hooks::Origin;
use crate::pairs::Pairs;
use crate::registry::connect_queue;
use crate::sock;
use crate::stats::Stats;

/// A connection to a later module of the chain, made when it is first needed.
#[derive(Default)]
pub struct Link {
    open: Option<Open>,
    /// The same for flows that were yielded, each of which may have a chain of its own.
    doors: Option<Doors>,
}

#[derive(Debug)]
struct Open {
    fd: OwnedFd,
    /// The receiver's place in the chain.
    position: usize,
    origin: Arc<Origin>,
    /// None: pairs are fresh.
    pool: Option<Arc<Towards>>,
}

impl Open {
    fn connect(receiver: &Receiver, cpu: u32, origin: &Arc<Origin>, position: usize) -> io::Result<Self> {
        let fd = connect_queue(&receiver.runtime, &origin.chain[position], cpu)?;
        // Without descriptors or memory for a pool, fresh pairs do.
        let pool = (receiver.pairs == Pairs::Pooled)
            .then(|| Towards::new(Arc::clone(&receiver.stats), Arc::clone(&receiver.spare)).ok())
            .flatten();
        let offer = pool.as_ref().map(|(pool, memory)| [memory.as_raw_fd(), pool.bell()]);
        outbox::greet(&fd, origin, position, offer)?;
        Ok(Self { fd, position, origin: Arc::clone(origin), pool: pool.map(|(pool, _)| pool) })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            pool.end();
        }
    }
}

impl Link {
    /// Passes on the network's sides of `flows[first..]` (all of one client), which get a pair to the next module
    /// instead. Flows that must not live are removed; their lefts go to `refused`.
    pub fn pass_on(
        &mut self,
        receiver: &Receiver,
        cpu: u32,
        flows: &mut Vec<Stolen>,
        first: usize,
        refused: &mut Vec<Left>,
    ) {
        let mut at = first;
        while at < flows.len() {
            let origin = Arc::clone(&flows[at].origin);
            // A later HELLO in the same batch changes the chain for the flows after it. A yielded flow goes alone.
            let alike = |flow: &&Stolen| flow.carried.is_none() && Arc::ptr_eq(&flow.origin, &origin);
            let count = flows[at..].iter().take_while(alike).count().clamp(1, MAX_ENTRIES);
            let goes_on = origin.position + 1 < origin.until;
            let settled = match &mut flows[at..at + count] {
                _ if !goes_on => true,
                [flow] if flow.carried.is_some() => self.hand_over_yielded(receiver, cpu, flow),
                flows => self.hand_over(receiver, cpu, &origin, flows),
            };
            if !settled && origin.fail_closed {
                for flow in flows.drain(at..at + count) {
                    if flow.right_is_tcp {
                        sock::reset(&flow.right);
                    } else {
                        sock::announce_reset(&flow.right);
                    }
                    // A fresh pair is heard when it is closed, a pooled one when the worker says so.
                    refused.extend(Some(flow.left).filter(|left| !matches!(left, Left::Fresh(_))));
                }
                Stats::add(&receiver.stats.refused, count as u64);
                continue;
            }
            at += count;
        }
        if !receiver.keeps_real {
            for flow in &mut flows[first..] {
                flow.real = None;
            }
        }
    }

    /// The same for a flow that was yielded. Its right has bytes of its own, and may be a pair to a module beyond.
    fn hand_over_yielded(&mut self, receiver: &Receiver, cpu: u32, flow: &mut Stolen) -> bool {
        let doors = self.doors.get_or_insert_with(|| Doors::new(&receiver.runtime, cpu));
        let stats = &receiver.stats;
        let Ok((near, far)) = sock::pair() else {
            Stats::add(&stats.no_descriptor, 1);
            return false;
        };
        let bytes = flow.carried.as_mut().map(|carried| std::mem::take(&mut carried.right));
        let passed = flow.carried.as_ref().map_or(Vec::new(), |carried| carried.passed.clone());
        let carried = Carried { right: bytes.unwrap_or_default(), passed, ..Carried::default() };
        let real = flow.real.as_ref().map(AsFd::as_fd);
        let parcel = Parcel { left: far.as_fd(), right: flow.right.as_fd(), real, carried: &carried };
        let sent = (flow.origin.position + 1..flow.origin.until).any(|position| {
            let sent = doors.send(&flow.origin, position, &parcel);
            let counter =
                sent.as_ref().map_or_else(|e| stats.unsent(e.raw_os_error()), |()| &stats.pairs_new);
            Stats::add(counter, 1);
            sent.is_ok()
        });
        if !sent {
            if let Some(own) = &mut flow.carried {
                own.right = carried.right;
            }
            return false;
        }
        let right = std::mem::replace(&mut flow.right, near);
        if std::mem::replace(&mut flow.right_is_tcp, false) {
            flow.real = Some(right);
        }
        true
    }

    /// Closes pooled pairs that were not needed for long (`all`: that are idle). How many descriptors are still kept.
    pub fn trim(&self, all: bool) -> usize {
        self.open.as_ref().and_then(|open| open.pool.as_ref()).map_or(0, |pool| pool.trim(all))
    }

    /// Whether a later module of the chain has the flows now.
    fn hand_over(
        &mut self,
        receiver: &Receiver,
        cpu: u32,
        origin: &Arc<Origin>,
        flows: &mut [Stolen],
    ) -> bool {
        // Another chain, or a module was passed over: it may be back. (A refused connect costs 3 µs a batch.)
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.origin != *origin || open.position != origin.position + 1)
        {
            self.open = None;
        }
        let mut fresh = self.open.is_none();
        let mut position = origin.position + 1;
        while position < origin.until {
            if self.open.is_none() {
                match Open::connect(receiver, cpu, origin, position) {
                    Ok(open) => self.open = Some(open),
                    Err(_) => {
                        Stats::add(&receiver.stats.skipped, flows.len() as u64);
                        position += 1;
                        continue;
                    }
                }
            }
            let Some(open) = &self.open else { return false };
            let Some(places) = places(open.pool.as_ref(), flows.len()) else {
                Stats::add(&receiver.stats.no_descriptor, flows.len() as u64);
                return false;
            };
            match outbox::send(&open.fd, flows, &places) {
                Ok(()) => {
                    for (flow, place) in flows.iter_mut().zip(places) {
                        let (near, seat) = place.sent(&receiver.stats);
                        let real = std::mem::replace(&mut flow.right, near);
                        flow.seat = seat;
                        flow.real = receiver.keeps_real.then_some(real);
                        flow.right_is_tcp = false;
                    }
                    return true;
                }
                Err(e)
                    if matches!(e.raw_os_error(), Some(libc::EPIPE | libc::ECONNRESET | libc::ENOTCONN)) =>
                {
                    // Gone; perhaps there is a new one of that name.
                    self.open = None;
                    if fresh {
                        Stats::add(&receiver.stats.skipped, flows.len() as u64);
                        position += 1;
                    }
                    fresh = true;
                }
                Err(e) => {
                    places.into_iter().for_each(Place::undo);
                    Stats::add(receiver.stats.unsent(e.raw_os_error()), flows.len() as u64);
                    return false;
                }
            }
        }
        false
    }
}

/// A place for each flow, or none at all.
fn places(pool: Option<&Arc<Towards>>, count: usize) -> Option<Vec<Place>> {
    let mut places = Vec::with_capacity(count);
    for _ in 0..count {
        let Ok(place) = Place::take(pool) else {
            places.into_iter().for_each(Place::undo);
            return None;
        };
        places.push(place);
    }
    Some(places)
}
