//! One flow's queue, shared by the worker that fills and drains it and by whoever takes bytes back.
//!
//! | operation | while nobody holds the lock | while the caller holds it | while somebody else does |
//! | --- | --- | --- | --- |
//! | send | what [`super::pace`] allows | nothing | nothing |
//! | pass | from the source to the kernel, where nothing waits | nothing | nothing |
//! | append | at the end | behind the lock: not yanked, at the end when it is over | the same |
//! | peek, yank | the last bytes | the same bytes each time, until yanked | refused: [`Held`] |
//! | lock | taken | kept | refused: [`Held`] |
//!
//! *What the source still has is unsent too.* Bytes that nobody looks at need not be read to wait: the worker lends the
//! [`Source`], and whoever takes the last bytes, looks at them, locks them or writes behind them has read out of it first
//! what is there. So the last bytes are always the last that were written, wherever they lie.
//!
//! Rules: the lock is the flow's and a holder's; it ends with its holder (who calls [`Outlet::forget`]) or with the queue. Each
//! byte leaves once: by [`Outlet::send`], [`Outlet::pass`] or [`Outlet::yank`]. Nothing waits while the mutex is held. The source
//! is recalled before its descriptor is closed or given away.

use std::io::IoSlice;
use std::os::fd::RawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::segments::Segments;

/// Who operates: one number a holder, unique in the process.
pub type Holder = u64;

/// Pieces of one send; at 64 KiB each more than a socket buffer takes.
const PIECES: usize = 16;

/// Somebody else holds the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held;

/// Where the bytes come from, and who makes the calls; neither waits.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// The descriptor.
    pub fd: RawFd,
    /// How many bytes it has.
    pub unread: fn(RawFd) -> usize,
    /// Reads; 0: nothing. Never asked for more than there is, so that an end is not found here.
    pub read: fn(RawFd, &mut [u8]) -> usize,
}

/// The queue.
pub struct Outlet {
    inner: Mutex<Inner>,
    /// Tells the worker that there is room again, that it may send, or that others have read; and how many bytes were taken back.
    wake: Box<dyn Fn(usize) + Send + Sync>,
}

#[derive(Default)]
struct Inner {
    queue: Segments,
    holder: Option<Holder>,
    /// What came in under a lock.
    behind: Segments,
    yanked: u64,
    source: Option<Source>,
    /// Read out of it, and not told to the worker yet.
    fetched: usize,
}

impl std::fmt::Debug for Outlet {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let inner = self.inner();
        formatter
            .debug_struct("Outlet")
            .field("len", &(inner.queue.len() + inner.behind.len()))
            .field("holder", &inner.holder)
            .finish_non_exhaustive()
    }
}

impl Outlet {
    /// An empty one. `wake` is called, by any thread, when bytes were taken back, with their number, a lock has ended, or the source
    /// was read.
    #[must_use]
    pub fn new(wake: Box<dyn Fn(usize) + Send + Sync>) -> Self {
        Self { inner: Mutex::default(), wake }
    }

    // --- the worker's half -------------------------------------------------------------------------------

    /// Bytes waiting, those behind a lock among them.
    #[must_use]
    pub fn len(&self) -> usize {
        let inner = self.inner();
        inner.queue.len() + inner.behind.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is something that may be sent.
    #[must_use]
    pub fn may_send(&self) -> bool {
        let inner = self.inner();
        inner.holder.is_none() && !inner.queue.is_empty()
    }

    /// Whether anybody holds the lock.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.inner().holder.is_some()
    }

    /// Whether that holder has the lock.
    #[must_use]
    pub fn is_held_by(&self, holder: Holder) -> bool {
        self.inner().holder == Some(holder)
    }

    /// Appends a copy.
    pub fn push(&self, data: &[u8]) {
        self.inner().end().push(data);
    }

    /// Appends what `read` writes into the room that it is given, at most `most` bytes: it returns how many, and
    /// whatever else is to be returned here.
    pub fn fill<T>(&self, most: usize, read: impl FnOnce(&mut [u8]) -> (usize, T)) -> T {
        let mut inner = self.inner();
        let end = inner.end();
        let (count, result) = read(end.room(most));
        end.filled(count);
        result
    }

    /// Sends at most `most` of the first bytes by `send`, which is given the pieces, and whether they are all there is; it returns
    /// how many have gone, and whatever else is to be returned here. None: nothing may be sent.
    pub fn send<T>(
        &self,
        most: usize,
        send: impl FnOnce(&[IoSlice<'_>], usize, bool) -> (usize, T),
    ) -> Option<T> {
        let mut inner = self.inner();
        if inner.holder.is_some() {
            return None;
        }
        let mut slices = [IoSlice::new(&[]); PIECES];
        let (bytes, pieces) = inner.queue.front(most, &mut slices);
        if bytes == 0 {
            return None;
        }
        let (count, result) = send(&slices[..pieces], bytes, bytes == inner.queue.len());
        inner.queue.advance(count);
        Some(result)
    }

    /// Takes everything, a lock notwithstanding: the flow goes elsewhere.
    pub fn take(&self) -> Vec<u8> {
        let mut inner = self.inner();
        let mut bytes = inner.queue.yank(usize::MAX);
        bytes.extend(inner.behind.yank(usize::MAX));
        bytes
    }

    /// Lends what the bytes come from, until [`Outlet::recall`].
    pub fn lend(&self, source: Source) {
        self.inner().source = Some(source);
    }

    /// Takes it back: from here on nobody else reads from it.
    pub fn recall(&self) {
        self.inner().source = None;
    }

    /// Bytes that others have read out of the source since this was asked last.
    #[must_use]
    pub fn fetched(&self) -> usize {
        std::mem::take(&mut self.inner().fetched)
    }

    /// Lets bytes pass by: `pass` moves them from the source to where they go, and returns what it could not get rid of, which
    /// waits here, and whatever else is to be returned. None: something waits, or somebody holds the lock.
    pub fn pass<T>(&self, pass: impl FnOnce() -> (Vec<u8>, T)) -> Option<T> {
        let mut inner = self.inner();
        if inner.holder.is_some() || !inner.queue.is_empty() {
            return None;
        }
        let (rest, result) = pass();
        inner.queue.push(&rest);
        Some(result)
    }

    /// Throws everything away; nobody gets it any more, nor what the source has.
    pub fn clear(&self) {
        let mut inner = self.inner();
        inner.source = None;
        inner.queue.clear();
        inner.behind.clear();
    }

    // --- the other half ----------------------------------------------------------------------------------

    /// Takes the last bytes back, at most `most`.
    ///
    /// # Errors
    /// Somebody else holds the lock.
    pub fn yank(&self, holder: Holder, most: usize) -> Result<Vec<u8>, Held> {
        let mut inner = self.inner();
        inner.admit(holder)?;
        let fetched = inner.fetch();
        let bytes = inner.queue.yank(most);
        inner.yanked += bytes.len() as u64;
        drop(inner);
        if fetched || !bytes.is_empty() {
            (self.wake)(bytes.len());
        }
        Ok(bytes)
    }

    /// The same by the worker itself, for somebody who has not said yet how many of them he keeps: not counted.
    ///
    /// # Errors
    /// Somebody else holds the lock.
    pub fn withdraw(&self, holder: Holder, most: usize) -> Result<Vec<u8>, Held> {
        let mut inner = self.inner();
        inner.admit(holder)?;
        inner.fetch();
        Ok(inner.queue.yank(most))
    }

    /// Copies the last bytes, at most `most`.
    ///
    /// # Errors
    /// Somebody else holds the lock.
    pub fn peek(&self, holder: Holder, most: usize) -> Result<Vec<u8>, Held> {
        let mut inner = self.inner();
        inner.admit(holder)?;
        let fetched = inner.fetch();
        let bytes = inner.queue.peek(most);
        drop(inner);
        if fetched {
            (self.wake)(0);
        }
        Ok(bytes)
    }

    /// Nothing is sent, and the last bytes stay the last, until [`Outlet::unlock`].
    ///
    /// # Errors
    /// Somebody else holds it.
    pub fn lock(&self, holder: Holder) -> Result<(), Held> {
        let mut inner = self.inner();
        inner.admit(holder)?;
        let fetched = inner.fetch();
        inner.holder = Some(holder);
        drop(inner);
        if fetched {
            (self.wake)(0);
        }
        Ok(())
    }

    /// Ends a lock; without one, does nothing.
    ///
    /// # Errors
    /// Somebody else holds it.
    pub fn unlock(&self, holder: Holder) -> Result<(), Held> {
        let mut inner = self.inner();
        inner.admit(holder)?;
        if inner.holder.take().is_some() {
            let mut behind = std::mem::take(&mut inner.behind);
            inner.queue.append(&mut behind);
            drop(inner);
            (self.wake)(0);
        }
        Ok(())
    }

    /// A holder has gone: its lock ends.
    pub fn forget(&self, holder: Holder) {
        // Somebody else's lock is not touched.
        let _ = self.unlock(holder);
    }

    /// Ends the lock, whoever holds it: the connection is closed.
    pub fn free(&self) {
        let holder = self.inner().holder;
        if let Some(holder) = holder {
            self.forget(holder);
        }
    }

    /// Puts bytes at the end that come before what is behind the caller's lock: what replaces a yank under it.
    ///
    /// # Errors
    /// Somebody else holds the lock.
    pub fn write(&self, holder: Holder, data: &[u8]) -> Result<(), Held> {
        let mut inner = self.inner();
        inner.admit(holder)?;
        inner.fetch();
        inner.queue.push(data);
        drop(inner);
        (self.wake)(0);
        Ok(())
    }

    /// Bytes that wait, here and in the source.
    #[must_use]
    pub fn unsent(&self) -> usize {
        let inner = self.inner();
        let source = inner.source.map_or(0, |source| (source.unread)(source.fd));
        inner.queue.len() + inner.behind.len() + source
    }

    /// Bytes that were ever taken back.
    #[must_use]
    pub fn yanked(&self) -> u64 {
        self.inner().yanked
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A send or a read that panics has counted nothing: the bytes are as they were.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn admit(&self, holder: Holder) -> Result<(), Held> {
        if self.holder.is_none_or(|other| other == holder) {
            return Ok(());
        }
        Err(Held)
    }

    /// What the source has goes to the end; under a lock it stays, as all that is behind. Whether anything was there.
    fn fetch(&mut self) -> bool {
        let Some(source) = self.source.filter(|_| self.holder.is_none()) else { return false };
        let before = self.fetched;
        let mut left = (source.unread)(source.fd);
        while left > 0 {
            let room = self.queue.room(left);
            let asked = room.len();
            let count = (source.read)(source.fd, room);
            self.queue.filled(count);
            self.fetched += count;
            left -= count;
            if count < asked {
                break;
            }
        }
        self.fetched > before
    }

    fn end(&mut self) -> &mut Segments {
        if self.holder.is_some() {
            return &mut self.behind;
        }
        &mut self.queue
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::Arc;

    fn outlet() -> (Outlet, Arc<AtomicUsize>) {
        let rung = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&rung);
        let wake = move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        (Outlet::new(Box::new(wake)), rung)
    }

    fn send(outlet: &Outlet, most: usize) -> Option<Vec<u8>> {
        outlet.send(most, |slices, bytes, _| {
            let sent: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            assert_eq!(sent.len(), bytes);
            (bytes, sent)
        })
    }

    #[test]
    fn the_first_bytes_go_and_the_last_come_back() {
        let (outlet, rung) = outlet();
        outlet.push(b"abcdef");
        assert_eq!(send(&outlet, 2), Some(b"ab".to_vec()));
        assert_eq!(outlet.peek(1, 2), Ok(b"ef".to_vec()));
        assert_eq!(outlet.yank(1, 3), Ok(b"def".to_vec()));
        assert_eq!((outlet.len(), outlet.yanked(), rung.load(Ordering::Relaxed)), (1, 3, 1));
        assert_eq!(send(&outlet, 9), Some(b"c".to_vec()));
        assert_eq!(send(&outlet, 9), None);
        assert_eq!(outlet.yank(1, 9), Ok(Vec::new()));
    }

    #[test]
    fn what_is_withdrawn_is_gone_and_not_counted() {
        let (outlet, rung) = outlet();
        outlet.push(b"abcdef");
        assert_eq!(outlet.withdraw(1, 4), Ok(b"cdef".to_vec()));
        assert_eq!((outlet.len(), outlet.yanked(), rung.load(Ordering::Relaxed)), (2, 0, 0));
        outlet.lock(1).unwrap();
        assert_eq!(outlet.withdraw(2, 1), Err(Held));
    }

    #[test]
    fn a_lock_holds_the_bytes_and_their_end() {
        let (outlet, _) = outlet();
        outlet.push(b"abc");
        outlet.lock(1).unwrap();
        outlet.push(b"def");
        assert_eq!((send(&outlet, 9), outlet.len()), (None, 6));
        assert_eq!(outlet.peek(1, 2), Ok(b"bc".to_vec()));
        assert_eq!(outlet.yank(1, 2), Ok(b"bc".to_vec()));
        outlet.write(1, b"X").unwrap();
        outlet.unlock(1).unwrap();
        assert_eq!(send(&outlet, 9), Some(b"aXdef".to_vec()));
    }

    #[test]
    fn a_lock_is_one_holders_until_it_ends_or_its_holder_does() {
        let (outlet, rung) = outlet();
        outlet.push(b"abc");
        outlet.lock(1).unwrap();
        assert_eq!(outlet.lock(1), Ok(()));
        assert_eq!((outlet.lock(2), outlet.yank(2, 1), outlet.peek(2, 1)), (Err(Held), Err(Held), Err(Held)));
        assert_eq!((outlet.unlock(2), outlet.write(2, b"x")), (Err(Held), Err(Held)));
        outlet.forget(2);
        assert!(outlet.is_locked());
        outlet.forget(1);
        assert_eq!((outlet.is_locked(), rung.load(Ordering::Relaxed)), (false, 1));
        outlet.lock(3).unwrap();
        outlet.free();
        outlet.free();
        assert_eq!((outlet.is_locked(), rung.load(Ordering::Relaxed)), (false, 2));
        assert_eq!(outlet.yank(2, 1), Ok(b"c".to_vec()));
    }

    #[test]
    fn a_flow_that_goes_elsewhere_takes_all_along_whoever_holds_the_lock() {
        let (outlet, _) = outlet();
        outlet.push(b"abc");
        outlet.lock(1).unwrap();
        outlet.push(b"def");
        assert_eq!((outlet.take(), outlet.len(), outlet.yanked()), (b"abcdef".to_vec(), 0, 0));
        assert_eq!(outlet.yank(1, 9), Ok(Vec::new()));
    }

    /// A source that is a real descriptor.
    fn source(socket: &UnixStream) -> Source {
        let unread = |fd| {
            let mut count: libc::c_int = 0;
            // SAFETY: the request writes one int.
            assert_eq!(unsafe { libc::ioctl(fd, libc::FIONREAD, &raw mut count) }, 0);
            usize::try_from(count).unwrap()
        };
        let read = |fd, room: &mut [u8]| {
            // SAFETY: `room` is writable for its length.
            let count = unsafe { libc::recv(fd, room.as_mut_ptr().cast(), room.len(), libc::MSG_DONTWAIT) };
            usize::try_from(count).unwrap()
        };
        Source { fd: socket.as_raw_fd(), unread, read }
    }

    #[test]
    fn what_the_source_has_is_the_last_for_whoever_asks_until_it_is_recalled() {
        let (outlet, _) = outlet();
        let (mut application, left) = UnixStream::pair().unwrap();
        outlet.push(b"ab");
        application.write_all(b"cdef").unwrap();
        assert_eq!(outlet.yank(1, 1), Ok(b"b".to_vec()), "nothing is lent");
        outlet.lend(source(&left));
        assert_eq!((outlet.len(), outlet.unsent(), outlet.fetched()), (1, 5, 0));
        assert_eq!(outlet.yank(1, 2), Ok(b"ef".to_vec()));
        assert_eq!((outlet.len(), outlet.unsent(), outlet.fetched(), outlet.fetched()), (3, 3, 4, 0));
        application.write_all(b"gh").unwrap();
        outlet.write(1, b"X").unwrap();
        application.write_all(b"ij").unwrap();
        outlet.lock(1).unwrap();
        application.write_all(b"behind").unwrap();
        assert_eq!(outlet.peek(1, 9), Ok(b"acdghXij".to_vec()));
        outlet.unlock(1).unwrap();
        outlet.recall();
        assert_eq!(outlet.peek(1, 9), Ok(b"acdghXij".to_vec()));
        outlet.lend(source(&left));
        outlet.clear();
        assert_eq!((outlet.yank(1, 9), outlet.unsent()), (Ok(Vec::new()), 0));
    }

    #[test]
    fn the_worker_is_told_of_what_others_have_read() {
        let (outlet, rung) = outlet();
        let (mut application, left) = UnixStream::pair().unwrap();
        outlet.lend(source(&left));
        let told = || rung.swap(0, Ordering::Relaxed);
        assert_eq!((outlet.peek(1, 9), outlet.yank(1, 0), told()), (Ok(Vec::new()), Ok(Vec::new()), 0));
        application.write_all(b"a").unwrap();
        assert_eq!((outlet.peek(1, 9), outlet.peek(1, 9), told()), (Ok(b"a".to_vec()), Ok(b"a".to_vec()), 1));
        application.write_all(b"b").unwrap();
        assert_eq!((outlet.yank(1, 0), told()), (Ok(Vec::new()), 1));
        application.write_all(b"c").unwrap();
        assert_eq!((outlet.lock(1), outlet.lock(1), told()), (Ok(()), Ok(()), 1));
    }

    #[test]
    fn more_than_a_segment_comes_out_of_the_source_in_order() {
        let (outlet, _) = outlet();
        let (mut application, left) = UnixStream::pair().unwrap();
        let data: Vec<u8> = (0..150_000_usize).map(|at| (at.wrapping_mul(167) >> 3) as u8).collect();
        application.write_all(&data).unwrap();
        outlet.lend(source(&left));
        assert_eq!(outlet.yank(1, 140_000), Ok(data[10_000..].to_vec()));
        assert_eq!((send(&outlet, usize::MAX), outlet.fetched()), (Some(data[..10_000].to_vec()), 150_000));
    }

    #[test]
    fn bytes_pass_by_where_nothing_waits_and_nobody_holds_the_lock() {
        let (outlet, _) = outlet();
        assert_eq!(outlet.pass(|| (b"rest".to_vec(), "passed")), Some("passed"));
        assert_eq!(outlet.pass(|| unreachable!() as (Vec<u8>, ())), None);
        assert_eq!(send(&outlet, 9), Some(b"rest".to_vec()));
        outlet.lock(1).unwrap();
        assert_eq!(outlet.pass(|| unreachable!() as (Vec<u8>, ())), None);
    }

    #[test]
    fn a_read_goes_in_and_a_read_that_fails_leaves_nothing() {
        let (outlet, _) = outlet();
        let found = outlet.fill(100, |room| {
            room[..2].copy_from_slice(b"ab");
            (2, "two")
        });
        assert_eq!((found, outlet.len()), ("two", 2));
        assert_eq!(outlet.fill(100, |_| (0, "nothing")), "nothing");
        assert_eq!(send(&outlet, 9), Some(b"ab".to_vec()));
    }
}
