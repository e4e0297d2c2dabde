//! A mapped record: the only file that touches the shared memory.
//!
//! Rules: what other processes may write at the same time is read and written by atomics or volatile accesses, never
//! by a reference to plain data; a reader never waits longer than a bound, since a writer can die half way.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{fence, AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use modnet_abi::counter::COUNTERS;
use modnet_abi::name::{unpack, Name};
use modnet_abi::record::{
    ChainPage, CounterPage, COUNTERS_OFFSET, FAIL_CLOSED, FRESH_PAIRS, MAX_CHAIN, NO_INLINE, RECORD_BYTES,
    RECORD_MAGIC, RECORD_VERSION,
};

use super::{Applied, Plan};
use crate::pairs::Pairs;

/// A change takes nanoseconds; whoever needs longer is stopped or dead.
const BOUND: Duration = Duration::from_millis(200);

/// The two pages of a record in memory.
#[derive(Debug)]
pub struct Pages {
    base: NonNull<u8>,
    /// Whether the chain may be changed through this mapping.
    pub writable: bool,
}

// SAFETY: the mapping is shared memory that is only touched through atomics and volatile accesses.
unsafe impl Send for Pages {}
// SAFETY: as for Send.
unsafe impl Sync for Pages {}

impl Pages {
    /// Maps a file of `RECORD_BYTES` bytes (the caller has checked its size).
    pub fn map(file: &File, writable: bool) -> io::Result<Self> {
        let protection = libc::PROT_READ | if writable { libc::PROT_WRITE } else { 0 };
        // SAFETY: a new mapping where the kernel chooses; nothing else is touched.
        let base = unsafe {
            libc::mmap(ptr::null_mut(), RECORD_BYTES, protection, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        match NonNull::new(base.cast::<u8>()) {
            Some(base) if base.as_ptr().cast() != libc::MAP_FAILED => Ok(Self { base, writable }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn page(&self) -> *mut ChainPage {
        self.base.as_ptr().cast()
    }

    fn generation(&self) -> &AtomicU32 {
        // SAFETY: within the mapping, aligned as the struct is, and atomic, so sharing it is sound.
        unsafe { &*ptr::addr_of!((*self.page()).generation) }
    }

    fn flags(&self) -> &AtomicU32 {
        // SAFETY: as in `generation`.
        unsafe { &*ptr::addr_of!((*self.page()).flags) }
    }

    fn length(&self) -> &AtomicU32 {
        // SAFETY: as in `generation`.
        unsafe { &*ptr::addr_of!((*self.page()).length) }
    }

    /// Writes a new record, before anybody else can see it.
    pub fn fill(&self, plan: &Plan<'_>, owner: u32, token: &[u8; 16], chain: &[Name; MAX_CHAIN]) {
        let page = ChainPage {
            magic: RECORD_MAGIC,
            version: RECORD_VERSION,
            generation: AtomicU32::new(2),
            root_pid: plan.root_pid,
            owner_uid: owner,
            flags: AtomicU32::new(flags(plan.fail_closed, plan.pairs, plan.inline)),
            hidden_base: plan.hidden_base,
            length: AtomicU32::new(u32::try_from(plan.chain.len()).unwrap_or(0)),
            shown_hard_limit: plan.shown_hard_limit,
            token: *token,
            chain: *chain,
        };
        // SAFETY: the mapping is page-aligned, writable, larger than the struct, and the file is still private.
        unsafe { ptr::write(self.page(), page) };
    }

    /// Whether magic, version and pid are what they should be.
    pub fn is_valid(&self, root_pid: u32) -> bool {
        // SAFETY: within the mapping; these fields never change after the record has appeared.
        let found = unsafe {
            let page = self.page();
            [
                ptr::addr_of!((*page).magic).read_volatile(),
                ptr::addr_of!((*page).version).read_volatile(),
                ptr::addr_of!((*page).root_pid).read_volatile(),
            ]
        };
        found == [RECORD_MAGIC, RECORD_VERSION, root_pid]
    }

    /// The token.
    pub fn token(&self) -> [u8; 16] {
        // SAFETY: within the mapping; it never changes.
        unsafe { ptr::addr_of!((*self.page()).token).read_volatile() }
    }

    /// Changes the chain. The caller holds the [`WriteLock`].
    pub fn write(&self, chain: &[Name; MAX_CHAIN], length: u32, fail_closed: bool) {
        let now = self.flags().load(Ordering::Relaxed);
        let pairs = if now & FRESH_PAIRS != 0 { Pairs::Fresh } else { Pairs::Pooled };
        // A writer that died left an odd count: it stays odd, and this change makes it even.
        let odd = self.generation().load(Ordering::Relaxed) | 1;
        self.generation().store(odd, Ordering::Relaxed);
        fence(Ordering::Release);
        self.flags().store(flags(fail_closed, pairs, now & NO_INLINE == 0), Ordering::Relaxed);
        self.length().store(length, Ordering::Relaxed);
        // SAFETY: within the mapping, which is writable; readers notice by the generation.
        unsafe { ptr::addr_of_mut!((*self.page()).chain).write_volatile(*chain) };
        self.generation().store(odd.wrapping_add(1), Ordering::Release);
    }

    /// The chain between two changes; None where a change does not end, or names are not names.
    pub fn read(&self) -> Option<Applied> {
        let end = Instant::now() + BOUND;
        loop {
            let before = self.generation().load(Ordering::Acquire);
            if before & 1 == 0 {
                let length = self.length().load(Ordering::Relaxed) as usize;
                let flags = self.flags().load(Ordering::Relaxed);
                // SAFETY: within the mapping; a torn value is thrown away below.
                let chain = unsafe { ptr::addr_of!((*self.page()).chain).read_volatile() };
                fence(Ordering::Acquire);
                if self.generation().load(Ordering::Relaxed) == before {
                    let names = chain.get(..length)?.iter().map(|name| unpack(name).map(str::to_owned));
                    return Some(Applied {
                        chain: names.collect::<Result<_, _>>().ok()?,
                        fail_closed: flags & FAIL_CLOSED != 0,
                        pairs: if flags & FRESH_PAIRS == 0 { Pairs::Pooled } else { Pairs::Fresh },
                        inline: flags & NO_INLINE == 0,
                        generation: before,
                    });
                }
            }
            if Instant::now() >= end {
                return None;
            }
            thread::yield_now();
        }
    }

    /// All counters.
    pub fn counters(&self) -> [u64; COUNTERS] {
        // SAFETY: the second page lies within the mapping and is made of atomics.
        let page = unsafe { &*self.base.as_ptr().add(COUNTERS_OFFSET).cast::<CounterPage>() };
        std::array::from_fn(|index| {
            let counter: &AtomicU64 = &page.counters[index];
            counter.load(Ordering::Relaxed)
        })
    }
}

fn flags(fail_closed: bool, pairs: Pairs, inline: bool) -> u32 {
    let fresh = if pairs == Pairs::Fresh { FRESH_PAIRS } else { 0 };
    let no_inline = if inline { 0 } else { NO_INLINE };
    fresh | no_inline | if fail_closed { FAIL_CLOSED } else { 0 }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map` with this size, and nothing borrows from it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), RECORD_BYTES) };
    }
}

/// Excludes other writers of the same record.
pub struct WriteLock<'a>(&'a File);

impl<'a> WriteLock<'a> {
    /// None where another writer keeps it for longer than a bound.
    pub fn take(file: &'a File) -> Option<Self> {
        let end = Instant::now() + BOUND * 5;
        // SAFETY: a plain system call on a descriptor that is open.
        while unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            if Instant::now() >= end {
                return None;
            }
            thread::sleep(Duration::from_millis(1));
        }
        Some(Self(file))
    }
}

impl Drop for WriteLock<'_> {
    fn drop(&mut self) {
        // SAFETY: a plain system call on a descriptor that is open.
        unsafe { libc::flock(self.0.as_raw_fd(), libc::LOCK_UN) };
    }
}
