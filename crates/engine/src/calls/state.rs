//! The TCP state of a descriptor, whatever it is of: the paper's `mmap` of a socket (§3.3).
//!
//! | descriptor | whose state |
//! | --- | --- |
//! | a TCP socket | its own |
//! | a module's right, where that is a pair to the next module | the real socket's, chosen when the flow was taken: eBPF only |
//! | the application's intermediate socket | the real socket's, by the hidden duplicate |
//!
//! Rules: in an application the shim answers for the real socket whatever is asked of an intermediate one, so whether there
//! is a hidden duplicate is looked at first; its own number is the kernel's. A pair to the next module is known by its cookie, which no other socket ever gets; the real socket itself is not kept, since nobody
//! would notice when the program closes its end.

use std::collections::HashMap;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{fence, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use modnet_abi::name::unpack;
use modnet_abi::path::PROCESSES;
use modnet_abi::record::{ChainPage, FAIL_CLOSED, RECORD_MAGIC, RECORD_VERSION};
use modnet_inspect::mode::Mode;
use modnet_inspect::watch::Watch;

use crate::error::{Error, Result};

/// Real sockets of flows that were passed on, by the cookie of the pair that stands for them.
static BEHIND: Mutex<Option<Behind>> = Mutex::new(None);

#[derive(Default)]
struct Behind {
    flows: HashMap<u64, Arc<Watch>>,
    /// When the ended ones are looked for again.
    swept_at: usize,
}

/// Least number of flows before the ended ones are looked for.
const SWEEP: usize = 1024;

/// The state of a descriptor. It is borrowed: when it has been closed, the last sample stands, or there is none.
///
/// # Errors
/// EBADF, ENOTSOCK; EOPNOTSUPP: it is neither TCP nor a pair whose real socket is known.
pub fn map(fd: RawFd) -> Result<Arc<Watch>> {
    if let Some(hidden) = Mapped::of_process().and_then(|mapped| mapped.real(fd)) {
        return Ok(Arc::new(Watch::new(hidden)));
    }
    if is_tcp(fd).map_err(|e| Error::system("not a socket", &e))? {
        return Ok(Arc::new(Watch::new(fd)));
    }
    if let Some(found) = cookie(fd).and_then(|cookie| lock(|behind| behind.flows.get(&cookie).cloned())) {
        return Ok(found);
    }
    Err(Error::new(
        libc::EOPNOTSUPP,
        "not a TCP socket, and none is known behind it (in the middle of a chain that needs eBPF: modnet doctor)",
    ))
}

/// Whether it is a pair that leads to a module: an application's intermediate socket, or a module's right.
pub fn intermediate(fd: RawFd) -> bool {
    let real = Mapped::of_process().and_then(|mapped| mapped.real(fd));
    real.is_some() || number(fd, libc::SO_DOMAIN).is_ok_and(|domain| domain == libc::AF_UNIX)
}

/// `right` is a pair to the next module, which has the socket `real` now.
pub fn remember(right: &OwnedFd, real: OwnedFd) {
    if matches!(Mode::of_process(), Mode::Sampled | Mode::Off) {
        return;
    }
    let Some(cookie) = cookie(right.as_raw_fd()) else { return };
    let watch = Watch::new(real.as_raw_fd());
    // What cannot be mapped is not remembered: `map` says so.
    if !watch.choose() {
        return;
    }
    watch.let_go();
    lock(|behind| {
        if behind.flows.len() >= behind.swept_at.max(SWEEP) {
            behind.flows.retain(|_, watch| watch.mapped().is_some());
            behind.swept_at = 2 * behind.flows.len();
        }
        behind.flows.insert(cookie, Arc::new(watch));
    });
    drop(real);
}

fn lock<T>(work: impl FnOnce(&mut Behind) -> T) -> T {
    work(BEHIND.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

/// A whole number that is known of a descriptor.
pub fn number(fd: RawFd, name: i32) -> std::io::Result<i32> {
    let (mut value, mut length) = (0i32, 4u32);
    // SAFETY: four bytes of room, which live through the call.
    let answer =
        unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, name, (&raw mut value).cast(), &raw mut length) };
    if answer == 0 {
        Ok(value)
    } else {
        Err(std::io::Error::last_os_error())
    }
}

/// The socket's own number, which no other ever gets.
pub fn cookie(fd: RawFd) -> Option<u64> {
    if fd < 0 {
        return None;
    }
    // SAFETY: the caller's, open during its call.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    modnet_inspect::sample::cookie(fd.as_fd()).ok()
}

/// The record of the chain that applies to this process, as its shim has mapped it when the process began.
pub struct Mapped {
    page: &'static ChainPage,
    /// The runtime directory that it stands in.
    pub runtime: PathBuf,
}

/// What it says now.
pub struct Applied {
    /// Names, nearest to the application first.
    pub chain: Vec<String>,
    /// Its number.
    pub record: u32,
    /// Its token.
    pub token: [u8; 16],
    /// Whether flows are refused that its chain cannot take.
    pub fail_closed: bool,
}

impl Mapped {
    /// None: no chain was ever applied to this process.
    pub fn of_process() -> Option<&'static Self> {
        static MAPPED: OnceLock<Option<Mapped>> = OnceLock::new();
        MAPPED.get_or_init(Self::find).as_ref()
    }

    fn find() -> Option<Self> {
        let maps = fs::read_to_string("/proc/self/maps").ok()?;
        maps.lines().find_map(|line| {
            let path = Path::new(line.get(line.find('/')?..)?);
            let mut fields = line.split_ascii_whitespace();
            let (range, mode, offset) = (fields.next()?, fields.next()?, fields.next()?);
            let directory = path.parent()?;
            if directory.file_name()? != PROCESSES || !mode.starts_with('r') {
                return None;
            }
            if !offset.trim_start_matches('0').is_empty() {
                return None;
            }
            let at = usize::from_str_radix(range.split('-').next()?, 16).ok()?;
            // SAFETY: the shim maps the record's first page for the process' whole life; the mapping was just seen readable.
            let page = unsafe { &*(at as *const ChainPage) };
            let known = page.magic == RECORD_MAGIC && page.version == RECORD_VERSION;
            known.then(|| Self { page, runtime: directory.parent().unwrap_or(directory).to_owned() })
        })
    }

    /// The real socket of a descriptor that was stolen.
    pub fn real(&self, fd: RawFd) -> Option<RawFd> {
        let hidden = fd.checked_add(self.page.hidden_base.cast_signed()).filter(|_| fd >= 0)?;
        is_tcp(hidden).unwrap_or(false).then_some(hidden)
    }

    /// The chain, whole. None: its owner is in the middle of a change, for long.
    pub fn applied(&self) -> Option<Applied> {
        let page = self.page;
        (0..1000).find_map(|_| {
            let before = page.generation.load(Ordering::Acquire);
            let length = page.length.load(Ordering::Relaxed) as usize;
            // SAFETY: a name is bytes; the owner may write them now, which the count tells.
            let names = unsafe { std::ptr::addr_of!(page.chain).read_volatile() };
            fence(Ordering::Acquire);
            if !before.is_multiple_of(2) || page.generation.load(Ordering::Relaxed) != before {
                return None;
            }
            let chain: Option<Vec<String>> =
                names.iter().take(length).map(|name| unpack(name).ok().map(str::to_owned)).collect();
            Some(Applied {
                chain: chain?,
                record: page.root_pid,
                token: page.token,
                fail_closed: page.flags.load(Ordering::Relaxed) & FAIL_CLOSED != 0,
            })
        })
    }
}

/// # Errors
/// EBADF, ENOTSOCK.
/// Whether it is a TCP socket, or stands for one.
pub fn is_tcp(fd: RawFd) -> std::io::Result<bool> {
    number(fd, libc::SO_PROTOCOL).map(|protocol| protocol == libc::IPPROTO_TCP)
}
