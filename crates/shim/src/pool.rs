//! Pairs that outlive a flow: the shim's half of `modnet-pool`, with this process' system calls.
//!
//! While a flow runs, its near socket has the application's number and no other, so that whatever closes that number ends
//! the flow, seen or not. At close it moves to a number of ours ([`numbers`]) and from there to the next descriptor.
//!
//! What makes a pair end with its flow, as every socket does, and which counter says so ([`unpool`] and [`leave`]):
//!
//! | what | because |
//! | --- | --- |
//! | dup, `F_DUPFD`, fork and its like, passing | somebody else may hold it when it is closed |
//! | shutdown | its end is shown, for good |
//! | options and owners of its own, also from its listener | the next flow would have them; SO_LINGER says how it ends |
//! | several epoll sets | which, is not known; a registration would outlive the flow |
//! | a thread inside a call on it | it would go on with the next flow's bytes |
//! | dup2 onto it, `close_range`, fclose, a close that no hook saw | the socket has gone |
//! | `io_uring` | it holds sockets by calls that no hook sees |
//!
//! Rule: what cannot be made certain is not used again, and is counted.

use core::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use modnet_abi::counter::Counter;
use modnet_abi::pool::{PoolPage, ACCEPTED, POOL_BYTES};
use modnet_abi::record::FRESH_PAIRS;
use modnet_pool::{Fate, Lease, System, Taken};

use crate::connection::Held;
use crate::process::{self, Memory};
use crate::{burst, connection, fds, forks, hidden, numbers, record, sys};

/// Idle pairs that were not needed for so long (in seconds) are closed: a pair costs 10 µs to make again.
const IDLE: i64 = 2;
/// Slots need 12 bits of a seat's number.
const SLOT_BITS: u32 = 12;
const _: () = assert!(modnet_pool::SLOTS == 1 << SLOT_BITS);

/// The process uses `io_uring`.
static URING: AtomicBool = AtomicBool::new(false);

/// The book's system calls, for the connection of that index.
pub struct Calls(pub usize);

impl System for Calls {
    fn close(&self, fd: i32) {
        numbers::drop_kept(fd);
    }
    fn holds_bytes(&self, fd: i32) -> bool {
        // What was written the module has read: it says DONE for that.
        sys::asked(fd, libc::FIONREAD) != Ok(0)
    }
    fn is_unread(&self, fd: i32) -> bool {
        sys::asked(fd, libc::TIOCOUTQ).is_ok_and(|count| count > 0)
    }
    fn is_hung_up(&self, fd: i32) -> bool {
        sys::is_hung_up(fd)
    }
    fn ring(&self) {
        sys::ring(numbers::bell(self.0));
    }
    fn count(&self, fate: Fate) {
        let counter = match fate {
            Fate::Dirty => Counter::PairsDirty,
            Fate::Unread => Counter::PairsUnread,
            Fate::Killed => Counter::PairsKilled,
            Fate::Trimmed => Counter::PairsTrimmed,
            Fate::Busy => Counter::PairsBusy,
            Fate::Ended => Counter::PairsAbandoned,
            // Counted by its reason.
            Fate::Ordinary => return,
        };
        record::count(counter, 1);
    }
}

/// What a HELLO takes along.
pub struct Offer {
    /// The memory, here.
    pub page: *mut PoolPage,
    /// The memory's descriptor, for the message; to be closed after it.
    pub memory: i32,
}

impl Offer {
    /// Makes the memory, and the bell at its number. None: no descriptors or memory for it; fresh pairs do.
    pub fn make(bell: i32) -> Option<Self> {
        let eventfd = sys::eventfd().ok()?;
        let placed = hidden::place(eventfd, bell, true, Memory::Own);
        sys::close(eventfd);
        placed.ok()?;
        let page = sys::memory(c"modnet-pool", POOL_BYTES).and_then(|memory| {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            sys::map(memory, 0, POOL_BYTES, access)
                .map(|page| (page, memory))
                .inspect_err(|_| sys::close(memory))
        });
        match page {
            Ok((page, memory)) => Some(Self { page: page.cast(), memory }),
            Err(_) => {
                sys::close(bell);
                None
            }
        }
    }
}

/// Whether the pair of a new flow may be used again; else the counter that says why not, or None where that is the setting.
pub fn allowed(listener: u32) -> Result<(), Option<Counter>> {
    if record::page().is_none_or(|page| page.flags.load(Ordering::Relaxed) & FRESH_PAIRS != 0) {
        return Err(None);
    }
    if listener & fds::INHERIT != 0 {
        return Err(Some(Counter::PairsOptions));
    }
    if URING.load(Ordering::Relaxed) {
        return Err(Some(Counter::PairsIoUring));
    }
    if forks::are_under_way() {
        return Err(Some(Counter::PairsForked));
    }
    Ok(())
}

/// What a new flow gets; None: the module has not accepted the pool, or all its slots are used.
pub fn take(held: &Held) -> Option<Taken> {
    let page = held.page()?;
    if page.accepted.0.load(Ordering::Acquire) != ACCEPTED {
        return None;
    }
    let calls = Calls(held.index());
    tend();
    let taken = held.book.take(page, &calls)?;
    let slot = taken.lease.slot() as usize;
    if let Some(written) = held.written.get(slot) {
        // Of an idle pair everything was read.
        let read = page.slots[slot].taken.load(Ordering::Relaxed);
        written.store(if taken.near.is_some() { read } else { 0 }, Ordering::Relaxed);
    }
    Some(taken)
}

/// What was taken is not used: its message was not sent.
pub fn undo(held: &Held, taken: Taken) {
    if let Some(page) = held.page() {
        held.book.undo(page, taken, &Calls(held.index()));
    }
}

/// Closes now and then what was not needed: there is no thread of ours, so whoever comes by does it.
fn tend() {
    static LAST: AtomicI64 = AtomicI64::new(0);
    let (now, last) = (sys::seconds(), LAST.load(Ordering::Relaxed));
    if now - last >= IDLE && LAST.compare_exchange(last, now, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
        trim(false);
    }
}

/// Descriptors run short: idle pairs give theirs back.
pub fn relieve() {
    if numbers::any_kept() {
        trim(true);
    }
}

fn trim(all: bool) {
    for held in connection::all() {
        if let Some(page) = held.page() {
            held.book.trim(page, &Calls(held.index()), all);
        }
    }
}

/// A call that may sleep for `timeout` milliseconds (negative: for ever): while pairs are kept it wakes now and then to close what
/// is not needed, so that a program that has nothing to do keeps none.
pub fn sleeping(timeout: i32, sleep: impl Fn(i32) -> i32) -> i32 {
    const TURN: i32 = 1000 * IDLE as i32;
    let mut left = timeout;
    // A short look (0) comes often, and is none of it.
    while left != 0 && numbers::any_kept() && !process::shares_memory() {
        tend();
        if (0..=TURN).contains(&left) {
            break;
        }
        let result = sleep(TURN);
        if result != 0 {
            return result;
        }
        left = if left < 0 { left } else { left - TURN };
    }
    sleep(left)
}

/// Which connection and slot a seat's number means; None: none.
pub fn place(number: u32) -> Option<(usize, usize)> {
    let number = number.checked_sub(1)?;
    Some(((number >> SLOT_BITS) as usize, (number & ((1 << SLOT_BITS) - 1)) as usize))
}

/// A flow's right to its pair.
pub struct Seat {
    connection: Held,
    lease: Lease,
}

impl Seat {
    /// Of that connection.
    pub fn new(connection: Held, lease: Lease) -> Self {
        Self { connection, lease }
    }

    /// To be kept as a number, never 0.
    pub fn into_number(self) -> u32 {
        ((self.connection.into_index() as u32) << SLOT_BITS | self.lease.into_slot()) + 1
    }

    /// Back from the number that [`Seat::into_number`] gave, once.
    fn from_number(number: u32) -> Option<Self> {
        let (index, slot) = place(number)?;
        let connection = Held::from_index(index)?;
        let lease = Lease::from_slot(slot as u32)?;
        Some(Self { connection, lease })
    }

    /// The flow has ended in order, and its socket may carry the next.
    fn close(self, near: i32) {
        let Self { connection, lease } = self;
        match connection.page() {
            Some(page) => connection.book.close(page, lease, near, None, &Calls(connection.index())),
            None => numbers::drop_kept(near),
        }
    }

    /// From here on the flow ends with its near socket.
    fn ordinary(self, reason: Counter) {
        record::count(reason, 1);
        if let Some(page) = self.connection.page() {
            self.connection.book.ordinary(page, self.lease, &Calls(self.connection.index()));
        }
    }
}

/// The begin of the flow at `fd` will not be sent: its module takes the pair back when its near socket is closed.
pub fn unsent(fd: i32) {
    let Some(seat) = Seat::from_number(fds::take_seat(fd)) else { return };
    record::count(Counter::PairsAbandoned, 1);
    if let Some(page) = seat.connection.page() {
        seat.connection.book.unsent(page, seat.lease);
    }
}

/// From here on the flow at `fd` ends with its socket, as if it had a pair of its own. Nothing where it has.
pub fn unpool(fd: i32, reason: Counter) {
    burst::touch(fd);
    if fds::seat(fd) == 0 || process::shares_memory() {
        return;
    }
    if let Some(seat) = Seat::from_number(fds::take_seat(fd)) {
        seat.ordinary(reason);
    }
}

/// The same for all flows. O(highest stolen descriptor).
pub fn unpool_all(reason: Counter) {
    for fd in 0..fds::high() {
        unpool(fd as i32, reason);
    }
}

/// The connection is gone, or another takes its place: its flows end with their sockets.
pub fn end(held: &Held) {
    held.book.end(&Calls(held.index()));
    for fd in 0..fds::high() as i32 {
        let number = fds::seat(fd);
        if number != 0 && ((number - 1) >> SLOT_BITS) as usize == held.index() {
            unpool(fd, Counter::PairsAbandoned);
        }
    }
}

/// Sockets may be held by calls that no hook sees, from now on.
pub fn uses_io_uring() {
    if record::page().is_some() && !process::shares_memory() {
        URING.store(true, Ordering::Relaxed);
        unpool_all(Counter::PairsIoUring);
    }
}

/// A flow that is being closed.
pub struct Leaving {
    seat: Seat,
    near: i32,
    epoch: u32,
}

/// Before `fd` is closed, its hidden duplicate having been: whatever makes its pair unfit for another flow is found here, or by
/// [`Leaving::finish`]. None: the pair ends with `fd`.
pub fn leave(fd: i32) -> Option<Leaving> {
    let epoch = forks::epoch();
    let seat = Seat::from_number(fds::leave_seat(fd))?;
    let reason = if fds::cookie(fd) != Some(fds::recorded_cookie(fd)) {
        Counter::PairsReplaced
    } else if !fds::leave_set(fd) {
        Counter::PairsEpoll
    } else {
        match numbers::keep(fd) {
            Some(near) => return Some(Leaving { seat, near, epoch }),
            None => Counter::PairsNoRoom,
        }
    };
    fds::left(fd);
    seat.ordinary(reason);
    None
}

impl Leaving {
    /// After `fd` was closed: nobody can come to the socket by it any more.
    pub fn finish(self, fd: i32) {
        let reason = if fds::is_busy(fd) {
            Some(Counter::PairsBusy)
        } else if forks::epoch() != self.epoch {
            // A child may have been made while it had its number, but no seat.
            Some(Counter::PairsForked)
        } else {
            None
        };
        fds::left(fd);
        match reason {
            None => self.seat.close(self.near),
            Some(reason) => {
                self.seat.ordinary(reason);
                numbers::drop_kept(self.near);
            }
        }
        tend();
    }
}

/// Unmaps a connection's memory, which nobody uses any more.
pub fn unmap(page: *mut PoolPage) {
    // SAFETY: mapped by Offer::make with this length; the last holder of its connection calls this.
    unsafe { sys::unmap(page.cast(), POOL_BYTES) };
}
