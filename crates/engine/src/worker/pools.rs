//! Pairs that outlive a flow: the module's half of `modnet-pool`.
//!
//! A client that offers a pool gets one here: its memory, its bell, and which pair has which slot. A pool lives until the
//! client's connection is gone and its last flow has ended: closes are heard as long as there is anything to close.
//! Idle pairs give their descriptors back when those run short. What was not needed for long is closed by a timer that
//! is set only while there is anything idle: a client that sleeps cannot do it, and this module's own pairs towards the next one
//! are its to close.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use modnet_abi::pool::{ACCEPTED, SLOTS};
use modnet_pool::bell;

use super::conn::{Pair, Seat};
use super::{Worker, BELL, KIND_BITS, NEAR};
use crate::flow::{Ready, Side};
use crate::stats::Stats;
use crate::steal::page::Page;
use crate::steal::towards;
use crate::steal::{Left, Offer};

/// The timers' number for the trim: no flow has it.
pub const TRIM: u64 = 0;
/// What is not needed for so long is closed: longer than the pauses of a busy server, and a pair costs 10 µs to make again.
const IDLE: Duration = Duration::from_secs(2);
/// No pair: keys of a slab begin above.
const NONE: u64 = 0;

/// One client's pool.
pub struct Pool {
    page: Arc<Page>,
    _bell: OwnedFd,
    /// Pairs by slot.
    pairs: Box<[u64]>,
    count: usize,
    /// Pairs without a flow, and their smallest number since the last trim.
    idle: usize,
    least: usize,
    /// Whether new flows may come.
    connected: bool,
}

impl Worker {
    /// A client offers a pool: from now on it may use slots.
    pub(super) fn accept_pool(&mut self, client: u64, offer: Offer) {
        let Some(known) = self.clients.get_mut(client) else { return };
        let raw = offer.bell.as_raw_fd();
        let page = Arc::new(offer.page);
        let pairs = vec![NONE; SLOTS].into();
        let pool = Pool {
            page: Arc::clone(&page),
            _bell: offer.bell,
            pairs,
            count: 0,
            idle: 0,
            least: 0,
            connected: true,
        };
        let key = self.pools.insert(pool);
        if self.poller.add(raw, key << KIND_BITS | BELL, false).is_err() {
            // No descriptor that can be watched, or no memory: its pairs stay fresh.
            Stats::add(&self.shared.receiver.stats.not_understood, 1);
            self.pools.remove(key);
            return;
        }
        known.pool = Some(key);
        page.accepted.0.store(ACCEPTED, Ordering::Release);
    }

    /// A place for a new pair; None, and counted: the slot is taken.
    pub(super) fn new_seat(&mut self, pool: Option<u64>, slot: usize) -> Option<Seat> {
        let seat = pool.and_then(|key| {
            let pool = self.pools.get_mut(key)?;
            (pool.pairs[slot] == NONE).then(|| Seat { pool: key, slot, page: Arc::clone(&pool.page) })
        });
        if seat.is_none() {
            Stats::add(&self.shared.receiver.stats.not_understood, 1);
        }
        seat
    }

    /// The pair has its place from now on.
    pub(super) fn take_seat(&mut self, pair: u64) {
        let seat = self.pairs.get_mut(pair).and_then(|pair| pair.seat.as_ref());
        if let Some((pool, slot)) = seat.and_then(|seat| Some((self.pools.get_mut(seat.pool)?, seat.slot))) {
            pool.pairs[slot] = pair;
            pool.count += 1;
        }
    }

    /// The idle pair of a slot, for a new flow; None, and counted: there is none.
    pub(super) fn seated(&mut self, pool: Option<u64>, slot: usize) -> Option<u64> {
        let key = pool.and_then(|key| Some(self.pools.get_mut(key)?.pairs[slot]));
        let found = key.filter(|key| self.pairs.get_mut(*key).is_some_and(|pair| pair.flow.is_none()));
        match (found, pool) {
            (Some(_), Some(pool)) => self.one_less(pool),
            _ => Stats::add(&self.shared.receiver.stats.not_understood, 1),
        }
        found
    }

    /// A flow that does not come to be: the client hears of it by its near socket.
    pub(super) fn refuse(&mut self, left: Left, pool: Option<u64>) {
        match left {
            Left::Fresh(left) => drop(left),
            Left::New(left, slot) => {
                if let Some(seat) = self.new_seat(pool, slot) {
                    Pair::new(left, Some(seat)).free();
                }
            }
            Left::Again(slot) => {
                if let Some(pair) = self.seated(pool, slot) {
                    self.free(pair);
                }
            }
        }
    }

    /// The poller saw something on a pair's left.
    pub(super) fn left_ready(&mut self, key: u64, ready: Ready) {
        let Some(pair) = self.pairs.get_mut(key) else { return };
        if let Some(flow) = pair.saw(ready) {
            self.ready(flow, Side::Left, ready);
        } else if pair.has_hung_up() && pair.withdraw() {
            // The client has thrown it away. Where that fails a BEGIN is on its way.
            self.free_idle(key);
        }
    }

    /// The bell: some flows were closed by word, or bytes for them lie in shared memory.
    pub(super) fn hear(&mut self, key: u64) {
        let Some(pool) = self.pools.get_mut(key) else { return };
        let mut rung = Vec::new();
        bell::hear(&**pool.page, |slot| rung.push(pool.pairs[slot]));
        for pair in rung {
            let Some(pair) = self.pairs.get_mut(pair) else { continue };
            // A slot may ring ahead of its BEGIN, or after its flow has seen the end by itself.
            let Some(flow) = pair.flow else { continue };
            let closed = pair.heed();
            let inline = || pair.has_inline().then(|| Ready { readable: true, ..Ready::default() });
            if let Some(ready) = closed.or_else(inline) {
                self.ready(flow, Side::Left, ready);
            }
        }
    }

    /// A flow has left its pair, which carries another one or ends.
    pub(super) fn give_back(&mut self, key: u64, is_drained: bool) {
        let Some(pair) = self.pairs.get_mut(key) else { return };
        let pool = pair.seat.as_ref().and_then(|seat| self.pools.get_mut(seat.pool));
        let pool = pool.filter(|pool| pair.is_reusable(is_drained) && pool.connected);
        let Some(pool) = pool else { return self.free(key) };
        if std::mem::take(&mut pair.room) {
            let raw = pair.left.as_raw_fd();
            if self.poller.change(raw, key << KIND_BITS | super::LEFT, false).is_err() {
                return self.free(key);
            }
        }
        pool.idle += 1;
        self.shared.receiver.spare.fetch_add(1, Ordering::Relaxed);
        pair.done();
        self.will_trim();
    }

    fn free_idle(&mut self, key: u64) {
        if let Some(pool) = self.pairs.get_mut(key).and_then(|pair| Some(pair.seat.as_ref()?.pool)) {
            self.one_less(pool);
        }
        self.free(key);
    }

    /// An idle pair is none any more.
    fn one_less(&mut self, pool: u64) {
        self.shared.receiver.spare.fetch_sub(1, Ordering::Relaxed);
        if let Some(pool) = self.pools.get_mut(pool) {
            pool.idle -= 1;
            pool.least = pool.least.min(pool.idle);
        }
    }

    fn free(&mut self, key: u64) {
        let Some(pair) = self.pairs.remove(key) else { return };
        let seat = pair.seat.as_ref().map(|seat| (seat.pool, seat.slot));
        if let Some((pool, slot)) = seat {
            self.vacate(pool, slot);
        }
        // After that the client may use the slot again.
        pair.free();
        if let Some((pool, _)) = seat {
            self.close_pool(pool);
        }
    }

    /// Nothing has that place any more, on this side.
    fn vacate(&mut self, pool: u64, slot: usize) {
        if let Some(pool) = self.pools.get_mut(pool) {
            pool.pairs[slot] = NONE;
            pool.count -= 1;
        }
    }

    /// The flow of a pair is to be yielded, with the pair, on which no other flow follows. What is to be read before its bytes.
    /// None: the client has closed by word.
    pub(super) fn leave_pool(&mut self, key: u64) -> Option<Vec<u8>> {
        let pair = self.pairs.get_mut(key)?;
        let bytes = pair.leave_pool()?;
        if let Some(seat) = pair.seat.take() {
            Stats::add(&self.shared.receiver.stats.pairs_yielded, 1);
            self.vacate(seat.pool, seat.slot);
            self.close_pool(seat.pool);
        }
        Some(bytes)
    }

    fn close_pool(&mut self, key: u64) {
        if self.pools.get_mut(key).is_some_and(|pool| !pool.connected && pool.count == 0) {
            self.pools.remove(key);
        }
    }

    /// A client's connection is gone, and everything that it has sent was taken.
    pub(super) fn forget(&mut self, client: u64) {
        let Some(key) = self.clients.remove(client).and_then(|client| client.pool) else { return };
        let Some(pool) = self.pools.get_mut(key) else { return };
        pool.connected = false;
        for pair in self.pairs_of(key) {
            if self.pairs.get_mut(pair).is_some_and(|pair| pair.flow.is_none()) {
                self.free_idle(pair);
            }
        }
        self.close_pool(key);
    }

    fn pairs_of(&mut self, pool: u64) -> Vec<u64> {
        let Some(pool) = self.pools.get_mut(pool) else { return Vec::new() };
        pool.pairs.iter().copied().filter(|pair| *pair != NONE).collect()
    }

    /// Descriptors run short: idle pairs give theirs back. O(slots) for each client.
    pub(super) fn relieve(&mut self) {
        for key in self.clients.keys() {
            if let Some(client) = self.clients.get_mut(key) {
                client.trim(true);
            }
        }
        for pool in self.pools.keys() {
            self.withdraw(pool, SLOTS);
        }
    }

    /// Takes up to `most` idle pairs away from a client.
    fn withdraw(&mut self, pool: u64, most: usize) {
        let mut left = most;
        for pair in self.pairs_of(pool) {
            if left == 0 {
                return;
            }
            // Where that fails it is in use, or a BEGIN is on its way.
            if self.pairs.get_mut(pair).is_some_and(|pair| pair.withdraw()) {
                self.free_idle(pair);
                left -= 1;
            }
        }
    }

    /// A flow leaves its pair towards the next module in order; `room`: the poller tells about room there.
    pub(super) fn leave(&mut self, seat: towards::Seat, near: OwnedFd, room: bool) {
        let raw = near.as_raw_fd();
        self.nears.leave(raw);
        if room && self.poller.change(raw, self.nears.name(raw) << KIND_BITS | NEAR, false).is_err() {
            // Out of kernel memory: it ends with its flow.
            drop(seat);
            return;
        }
        seat.close(near);
        self.will_trim();
    }

    pub(super) fn will_trim(&mut self) {
        if !std::mem::replace(&mut self.trims, true) {
            self.set_trim();
        }
    }

    /// Closes what was not needed since the last time; comes back while anything is left.
    pub(super) fn trim(&mut self) {
        let mut kept = 0;
        for key in self.clients.keys() {
            kept += self.clients.get_mut(key).map_or(0, |client| client.trim(false));
        }
        for key in self.pools.keys() {
            let Some(pool) = self.pools.get_mut(key) else { continue };
            let surplus = pool.least;
            self.withdraw(key, surplus);
            if let Some(pool) = self.pools.get_mut(key) {
                pool.least = pool.idle;
                kept += pool.idle;
            }
        }
        kept += self.pipes.trim();
        self.trims = kept > 0;
        if self.trims {
            self.set_trim();
        }
    }

    fn set_trim(&mut self) {
        let idle = u64::try_from(IDLE.as_nanos()).unwrap_or(u64::MAX);
        self.timers.set(self.now().saturating_add(idle), TRIM);
    }
}
