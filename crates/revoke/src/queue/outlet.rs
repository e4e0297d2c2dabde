//! One flow's queue, shared by the worker that fills and drains it and by whoever takes bytes back.
//!
//! | operation | while nobody holds the lock | while the caller holds it | while somebody else does |
//! | --- | --- | --- | --- |
//! | send | what [`super::pace`] allows | nothing | nothing |
//! | append | at the end | behind the lock: not yanked, at the end when it is over | the same |
//! | peek, yank | the last bytes | the same bytes each time, until yanked | refused: [`Held`] |
//! | lock | taken | kept | refused: [`Held`] |
//!
//! Rules: the lock is the flow's and a holder's; it ends with its holder (who calls [`Outlet::forget`]) or with the queue. Each
//! byte leaves once: by [`Outlet::send`] or by [`Outlet::yank`]. Nothing waits while the mutex is held.

use std::io::IoSlice;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::segments::Segments;

/// Who operates: one number a holder, unique in the process.
pub type Holder = u64;

/// Pieces of one send; at 64 KiB each more than a socket buffer takes.
const PIECES: usize = 16;

/// Somebody else holds the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held;

/// The queue.
pub struct Outlet {
    inner: Mutex<Inner>,
    /// Tells the worker that there is room again, or that it may send; and how many bytes were taken back.
    wake: Box<dyn Fn(usize) + Send + Sync>,
}

#[derive(Default)]
struct Inner {
    queue: Segments,
    holder: Option<Holder>,
    /// What came in under a lock.
    behind: Segments,
    yanked: u64,
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
    /// An empty one. `wake` is called, by any thread, when bytes were taken back, with their number, or a lock has ended.
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

    /// Throws everything away; nobody gets it any more.
    pub fn clear(&self) {
        let mut inner = self.inner();
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
        let bytes = inner.queue.yank(most);
        inner.yanked += bytes.len() as u64;
        drop(inner);
        if !bytes.is_empty() {
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
        Ok(inner.queue.yank(most))
    }

    /// Copies the last bytes, at most `most`.
    ///
    /// # Errors
    /// Somebody else holds the lock.
    pub fn peek(&self, holder: Holder, most: usize) -> Result<Vec<u8>, Held> {
        let inner = self.inner();
        inner.admit(holder)?;
        Ok(inner.queue.peek(most))
    }

    /// Nothing is sent, and the last bytes stay the last, until [`Outlet::unlock`].
    ///
    /// # Errors
    /// Somebody else holds it.
    pub fn lock(&self, holder: Holder) -> Result<(), Held> {
        let mut inner = self.inner();
        inner.admit(holder)?;
        inner.holder = Some(holder);
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
        inner.queue.push(data);
        drop(inner);
        (self.wake)(0);
        Ok(())
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
