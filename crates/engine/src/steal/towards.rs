//! This module's pairs towards the next one: the client's half of `modnet-pool`, with this process' system calls.
//!
//! One [`Towards`] per connection. Flows hold a [`Seat`]; a connection that is gone ends the book, and flows that
//! still run end the ordinary way. Used by one worker at a time. Every byte of a near socket passes the worker, which counts it:
//! so memory tells what was read, and the kernel is not asked (`modnet-pool`, `Tally`).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;

use modnet_abi::pool::{ACCEPTED, SLOTS};
use modnet_abi::steal::{Entry, BEGIN, NEW, NO_SLOT};
use modnet_pool::{bell, inline, Book, Fate, Lease, System, Taken, Tally};

use super::page::Page;
use crate::poll::Waker;
use crate::sock;
use crate::stats::Stats;

/// The pairs of one connection.
#[derive(Debug)]
pub struct Towards {
    page: Page,
    bell: Waker,
    book: Book,
    /// What was counted of each slot's pair, while no flow has it.
    tallies: Box<[Counted]>,
    stats: Arc<Stats>,
    /// Descriptors without a flow, of the whole process, and how many of them are here.
    spare: Arc<AtomicU64>,
    counted: AtomicUsize,
}

/// A [`Tally`], of which one flow at a time has the slot.
#[derive(Debug, Default)]
struct Counted {
    written: AtomicU32,
    read: AtomicU32,
}

impl Towards {
    /// An empty pool, and the memory's descriptor, which the HELLO takes along with [`Towards::bell`].
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub fn new(stats: Arc<Stats>, spare: Arc<AtomicU64>) -> io::Result<(Arc<Self>, OwnedFd)> {
        let (page, memory) = Page::new()?;
        let (bell, book, counted) = (Waker::new()?, Book::new(), AtomicUsize::new(0));
        let tallies = (0..SLOTS).map(|_| Counted::default()).collect();
        Ok((Arc::new(Self { page, bell, book, tallies, stats, spare, counted }), memory))
    }

    fn tally(&self, lease: &Lease) -> Tally {
        let Counted { written, read } = &self.tallies[lease.slot() as usize];
        Tally { written: written.load(Ordering::Relaxed), read: read.load(Ordering::Relaxed) }
    }

    fn keep(&self, lease: &Lease, tally: Tally) {
        let Counted { written, read } = &self.tallies[lease.slot() as usize];
        written.store(tally.written, Ordering::Relaxed);
        read.store(tally.read, Ordering::Relaxed);
    }

    /// The eventfd.
    pub fn bell(&self) -> RawFd {
        self.bell.as_raw_fd()
    }

    /// What a new flow takes to the next module; None: it has not accepted (yet), or every slot is used.
    fn take(self: &Arc<Self>) -> Option<Taken> {
        if self.page.accepted.0.load(Ordering::Acquire) != ACCEPTED {
            return None;
        }
        let taken = self.book.take(&*self.page, &**self);
        self.settle();
        taken
    }

    /// Closes what was not needed for long (`all`: everything idle). How many descriptors are still kept.
    pub fn trim(&self, all: bool) -> usize {
        let kept = self.book.trim(&*self.page, self, all);
        self.settle();
        kept
    }

    /// The connection is gone.
    pub fn end(&self) {
        self.book.end(self);
        self.settle();
    }

    fn settle(&self) {
        let now = self.book.kept();
        let before = self.counted.swap(now, Ordering::Relaxed);
        self.spare.fetch_add((now as u64).wrapping_sub(before as u64), Ordering::Relaxed);
    }
}

impl System for Towards {
    fn close(&self, fd: i32) {
        // SAFETY: the book gives away what it kept, once.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }
    fn holds_bytes(&self, _: i32) -> bool {
        // It was given back by a module, which has compared what it wrote with what was read here.
        false
    }
    fn is_unread(&self, fd: i32) -> bool {
        // SAFETY: the book's, and open.
        sock::unsent(unsafe { BorrowedFd::borrow_raw(fd) }).is_some_and(|count| count > 0)
    }
    fn is_hung_up(&self, fd: i32) -> bool {
        // SAFETY: as above.
        sock::has_hung_up(unsafe { BorrowedFd::borrow_raw(fd) })
    }
    fn ring(&self) {
        self.bell.ring();
    }
    fn count(&self, fate: Fate) {
        let stats = &self.stats;
        let counter = match fate {
            Fate::Dirty => &stats.pairs_dirty,
            Fate::Unread => &stats.pairs_unread,
            Fate::Ordinary | Fate::Busy | Fate::Ended => &stats.pairs_ordinary,
            Fate::Killed => &stats.pairs_killed,
            Fate::Trimmed => &stats.pairs_trimmed,
        };
        Stats::add(counter, 1);
    }
}

/// What a flow holds while its right is a pooled pair. Dropped, the pair ends the ordinary way, with its near socket.
#[derive(Debug)]
pub struct Seat {
    towards: Arc<Towards>,
    lease: Option<Lease>,
    tally: Tally,
    /// It had a flow before: the worker watches its near socket already.
    pub again: bool,
}

impl Seat {
    fn new(towards: Arc<Towards>, lease: Lease, again: bool) -> Self {
        let tally = if again { towards.tally(&lease) } else { Tally::default() };
        Self { towards, lease: Some(lease), tally, again }
    }

    /// So many bytes were read from near: every one has to be told.
    pub fn read(&mut self, count: usize) {
        self.tally.read = self.tally.read.wrapping_add(wrapped(count));
    }

    /// So many bytes were written to near: every one has to be told.
    pub fn wrote(&mut self, count: usize) {
        self.tally.written = self.tally.written.wrapping_add(wrapped(count));
    }

    /// Writes without the socket, if everything that went there was read; `data` is small. False: nothing was written.
    pub fn write_inline(&mut self, data: &[u8]) -> bool {
        let Some(lease) = &self.lease else { return false };
        let (towards, slot) = (&self.towards, lease.slot() as usize);
        // The kernel has nothing to say: every byte is counted here.
        let Ok(room) = inline::begin(&*towards.page, slot, data.len(), self.tally.written, || false) else {
            return false;
        };
        towards.page.copy_in(slot, room.at(), data);
        if room.publish(&*towards.page, data.len()).is_err() {
            return false;
        }
        if bell::ring(&*towards.page, slot) {
            towards.bell.ring();
        }
        Stats::add(&towards.stats.inline_writes, 1);
        true
    }

    /// The flow has ended in order and everything was written to `near`, which goes back into the book.
    pub fn close(mut self, near: OwnedFd) {
        if let Some(lease) = self.lease.take() {
            let towards = &self.towards;
            towards.keep(&lease, self.tally);
            towards.book.close(&*towards.page, lease, near.into_raw_fd(), Some(self.tally), &**towards);
            towards.settle();
        }
    }
}

/// A count as tallies have it.
#[allow(clippy::cast_possible_truncation)] // they wrap
pub fn wrapped(count: usize) -> u32 {
    count as u32
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.towards.book.ordinary(&*self.towards.page, lease, &*self.towards);
        }
    }
}

/// One flow's way to the next module, before the message that says so is sent.
pub struct Place {
    seat: Option<Seat>,
    near: OwnedFd,
    /// The end that the next module gets; None: it has it already.
    far: Option<OwnedFd>,
}

impl Place {
    /// A pair of the pool if there is one, else a fresh one.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub fn take(towards: Option<&Arc<Towards>>) -> io::Result<Self> {
        let Some((towards, taken)) = towards.and_then(|towards| Some((towards, towards.take()?))) else {
            let (near, far) = sock::pair()?;
            return Ok(Self { seat: None, near, far: Some(far) });
        };
        let towards = Arc::clone(towards);
        if let Some(near) = taken.near {
            // SAFETY: the book gives away what it kept, once.
            let near = unsafe { OwnedFd::from_raw_fd(near) };
            return Ok(Self { seat: Some(Seat::new(towards, taken.lease, true)), near, far: None });
        }
        match sock::pair() {
            Ok((near, far)) => {
                Ok(Self { seat: Some(Seat::new(towards, taken.lease, false)), near, far: Some(far) })
            }
            Err(error) => {
                towards.book.undo(&*towards.page, taken, &*towards);
                Err(error)
            }
        }
    }

    /// What the message says.
    pub fn entry(&self) -> Entry {
        let slot = self.seat.as_ref().and_then(|seat| seat.lease.as_ref()).map_or(NO_SLOT, Lease::slot);
        Entry { slot, kind: if self.far.is_some() { NEW } else { BEGIN } }
    }

    /// The descriptor that goes along, before the network's.
    pub fn far(&self) -> Option<RawFd> {
        self.far.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// The message was sent: what the flow has on its right.
    pub fn sent(self, stats: &Stats) -> (OwnedFd, Option<Seat>) {
        let counter = if self.far.is_some() { &stats.pairs_new } else { &stats.pairs_reused };
        Stats::add(counter, 1);
        (self.near, self.seat)
    }

    /// The message was not sent.
    pub fn undo(self) {
        let Some(mut seat) = self.seat else { return };
        if let Some(lease) = seat.lease.take() {
            let near = self.far.is_none().then(|| self.near.into_raw_fd());
            let towards = &seat.towards;
            towards.book.undo(&*towards.page, Taken { lease, near }, &**towards);
            towards.settle();
        }
    }
}
