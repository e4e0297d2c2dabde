//! The record: the chain applied to this process, mapped by the constructor and inherited by fork.
//!
//! Rules: mapped once and never unmapped; every word of it is checked where it is used, since its writer is another
//! process. Without a record [`active`] is false and every hook is libc's function.

use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::ptr::null_mut;
use core::sync::atomic::{fence, AtomicPtr, AtomicU32, Ordering};

use modnet_abi::counter::Counter;
use modnet_abi::name::{Name, NAME_BYTES};
use modnet_abi::path::{MAX_RUNTIME, PROCESSES};
use modnet_abi::record::{
    ChainPage, CounterPage, COUNTERS_OFFSET, FAIL_CLOSED, LEAST_BASE, MAX_CHAIN, RECORD_BYTES, RECORD_MAGIC,
    RECORD_VERSION,
};

use crate::sys;

static PAGE: AtomicPtr<ChainPage> = AtomicPtr::new(null_mut());
static COUNTERS: AtomicPtr<CounterPage> = AtomicPtr::new(null_mut());
/// `hidden_base`, or 0 while there is no record.
static BASE: AtomicU32 = AtomicU32::new(0);
static RUNTIME: Runtime = Runtime(UnsafeCell::new(([0; MAX_RUNTIME + 1], 0)));

/// The runtime directory and its length. Kept here because nginx and redis overwrite their environment.
struct Runtime(UnsafeCell<([u8; MAX_RUNTIME + 1], usize)>);
// SAFETY: written by the constructor only, before PAGE is published.
unsafe impl Sync for Runtime {}

/// A consistent copy of the chain.
pub struct Chain {
    /// The generation it belongs to.
    pub generation: u32,
    /// Modules in it.
    pub length: u32,
    /// `ChainPage::flags`.
    pub flags: u32,
    /// The modules.
    pub names: [Name; MAX_CHAIN],
}

/// The mapped first page, if a record applies.
pub fn page() -> Option<&'static ChainPage> {
    // SAFETY: null, or a page that is never unmapped and whose plain words do not change after the launcher's exec.
    unsafe { PAGE.load(Ordering::Acquire).as_ref() }
}

/// Whether a chain with at least one module applies right now.
pub fn active() -> bool {
    page().is_some_and(|page| page.length.load(Ordering::Relaxed) != 0)
}

/// The hidden duplicate of `n` is `base() + n`; 0 without a record.
pub fn base() -> u32 {
    BASE.load(Ordering::Relaxed)
}

/// One past the last number that the shim uses.
pub fn top() -> u32 {
    2 * base()
}

/// The runtime directory, without NUL (a NUL follows in memory).
pub fn runtime() -> &'static [u8] {
    // SAFETY: written before PAGE was published, never again; this is called only after page() was seen.
    let (bytes, length) = unsafe { &*RUNTIME.0.get() };
    &bytes[..*length]
}

/// The same with its NUL.
pub fn runtime_with_nul() -> &'static [u8] {
    // SAFETY: as above; the buffer has one byte more than the longest directory, and starts zeroed.
    let (bytes, length) = unsafe { &*RUNTIME.0.get() };
    &bytes[..=*length]
}

/// Whether a connection that cannot be stolen is to be refused.
pub fn fail_closed() -> bool {
    page().is_some_and(|page| page.flags.load(Ordering::Relaxed) & FAIL_CLOSED != 0)
}

/// Adds to a counter that `modnet ps` shows.
pub fn count(counter: Counter, by: u64) {
    // SAFETY: null, or the shared second page, which is never unmapped.
    if let Some(page) = unsafe { COUNTERS.load(Ordering::Acquire).as_ref() } {
        page.counters[counter as usize].fetch_add(by, Ordering::Relaxed);
    }
}

/// Copies the chain. None while its owner writes it (or died while writing): try again at the next accept.
pub fn chain() -> Option<Chain> {
    let page = page()?;
    for _ in 0..1000 {
        let generation = page.generation.load(Ordering::Acquire);
        if generation % 2 == 1 {
            core::hint::spin_loop();
            continue;
        }
        let length = page.length.load(Ordering::Relaxed).min(MAX_CHAIN as u32);
        let flags = page.flags.load(Ordering::Relaxed);
        let mut names = [[0; NAME_BYTES]; MAX_CHAIN];
        for (to, from) in names.iter_mut().zip(&page.chain) {
            // SAFETY: a valid reference; volatile because another process may write it just now, which the
            // generation tells afterwards. Any bytes are a Name.
            *to = unsafe { core::ptr::read_volatile(from) };
        }
        fence(Ordering::Acquire);
        if page.generation.load(Ordering::Relaxed) == generation {
            return Some(Chain { generation, length, flags, names });
        }
    }
    None
}

/// Maps the record at `path`. Anything wrong: None, and nothing has happened.
pub fn map(path: &CStr) -> Option<()> {
    let directory = runtime_of(path.to_bytes())?;
    let reading = sys::open(path.as_ptr(), libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK).ok()?;
    let page = map_part(reading, 0, libc::PROT_READ);
    sys::close(reading);
    let writing = sys::open(path.as_ptr(), libc::O_RDWR | libc::O_NOFOLLOW | libc::O_NONBLOCK).ok()?;
    let counters = map_part(writing, COUNTERS_OFFSET, libc::PROT_READ | libc::PROT_WRITE);
    sys::close(writing);
    let (page, counters) = (page?.cast::<ChainPage>(), counters?.cast::<CounterPage>());
    // SAFETY: a page just mapped, big enough by the assertions of modnet_abi::record; any bytes are a ChainPage.
    let found = unsafe { &*page };
    let good = found.magic == RECORD_MAGIC
        && found.version == RECORD_VERSION
        && found.length.load(Ordering::Relaxed) <= MAX_CHAIN as u32
        // Room for ordinary descriptors below and for all hidden ones above, as descriptors are positive integers.
        && (LEAST_BASE..=1 << 29).contains(&found.hidden_base);
    if !good {
        return None;
    }
    // SAFETY: the constructor runs once, before PAGE is published.
    let (bytes, length) = unsafe { &mut *RUNTIME.0.get() };
    bytes[..directory.len()].copy_from_slice(directory);
    *length = directory.len();
    BASE.store(found.hidden_base, Ordering::Relaxed);
    COUNTERS.store(counters, Ordering::Release);
    PAGE.store(page, Ordering::Release);
    Some(())
}

/// `<runtime>` of `<runtime>/processes/<pid>`.
fn runtime_of(path: &[u8]) -> Option<&[u8]> {
    let (directory, _) = path.split_at(path.iter().rposition(|c| *c == b'/')?);
    let runtime = directory.strip_suffix(PROCESSES.as_bytes())?.strip_suffix(b"/")?;
    (runtime.first() == Some(&b'/') && runtime.len() <= MAX_RUNTIME).then_some(runtime)
}

/// Maps one page of the file, if it is a plain file of the right size.
fn map_part(fd: i32, offset: usize, protection: i32) -> Option<*mut u8> {
    let mut stat = core::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the kernel fills stat, whose all-zero value is valid.
    let stat = unsafe {
        sys::call(libc::SYS_fstat, [fd as usize, stat.as_mut_ptr() as usize, 0, 0, 0, 0]).ok()?;
        stat.assume_init()
    };
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG || stat.st_size != RECORD_BYTES as i64 {
        return None;
    }
    sys::map(fd, offset, COUNTERS_OFFSET, protection).ok()
}
