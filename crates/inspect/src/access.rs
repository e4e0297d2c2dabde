//! The pinned maps as a reader uses them: opened once a process, mapped read-only.
//!
//! Rules: what is pinned is trusted only where its directory is root's (or the reader's own); sizes are compared before
//! anything is mapped, and every slot with the array's length. `disable` clears the version in the control map, which
//! readers look at: a state that nobody writes any more is never taken for a fresh one. A refusal is remembered for a
//! second, so that flows that come by the thousand do not ask the file system each time.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use modnet_abi::sockstate::{STATE_BYTES, STATE_VERSION, WORDS};

use crate::bpf;
use crate::place::{self, Map, CHOSEN_BYTES, NO_SLOT, STOP};
use crate::reason::Reason;

/// How long a refusal counts.
const REMEMBERED: Duration = Duration::from_secs(1);

/// The words of one state in shared memory.
pub type Words = [AtomicU64; WORDS];

/// What the control map holds; `struct control` in `bpf/state.h`.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Control {
    /// [`STATE_VERSION`] while programs write.
    pub version: AtomicU32,
    /// Slots.
    pub capacity: AtomicU32,
    /// The free list's head.
    pub free: AtomicU64,
    /// Slots from here on were never used.
    pub fresh: AtomicU32,
    /// 1: the check word is filled.
    pub debug: AtomicU32,
    /// Slots given to sockets, ever.
    pub taken: AtomicU64,
    /// Slots given back, ever.
    pub given_back: AtomicU64,
    /// Sockets that found no slot.
    pub refused: AtomicU64,
    /// Slots that could not be given back.
    pub lost: AtomicU64,
    /// Writings that found another one going on.
    pub contended: AtomicU64,
    /// Writings given up because the socket was in use.
    pub unsettled: AtomicU64,
    /// Sockets that one round of packets touched beyond what is remembered.
    pub overflow: AtomicU64,
}

/// A read-only mapping of a whole map.
struct Mapping {
    at: NonNull<u8>,
    bytes: usize,
}

// SAFETY: memory that nobody here writes, read through atomics only.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(map: BorrowedFd<'_>, bytes: usize) -> io::Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at = unsafe {
            libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ, libc::MAP_SHARED, map.as_raw_fd(), 0)
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let at = NonNull::new(at.cast::<u8>()).ok_or_else(|| io::Error::from_raw_os_error(libc::EFAULT))?;
        Ok(Self { at, bytes })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our own mapping; who borrows from it borrows from `Access`.
        unsafe { libc::munmap(self.at.as_ptr().cast(), self.bytes) };
    }
}

/// When it was tried to open them, and what came of it.
type Tried = (Instant, Result<Arc<Access>, Reason>);

/// The maps of one `enable`.
pub struct Access {
    states: Mapping,
    control: Mapping,
    capacity: u32,
    chosen: OwnedFd,
    wanted: OwnedFd,
}

impl Access {
    /// Opens what is pinned in `dir`.
    ///
    /// # Errors
    /// The reason why it cannot be used.
    pub fn open(dir: &Path) -> Result<Self, Reason> {
        trusted(dir)?;
        let get = |map: Map| bpf::open(&map.pin(dir), map.is_read_only()).map_err(|error| why(&error));
        let (states, control, chosen, wanted) =
            (get(Map::States)?, get(Map::Control)?, get(Map::Chosen)?, get(Map::Wanted)?);
        let infos = [&states, &control, &chosen, &wanted].map(|map| bpf::info(map.as_fd()));
        let [states_info, control_info, chosen_info, wanted_info] = infos;
        let capacity = states_info.as_ref().map_or(0, |info| info.max_entries);
        let sizes =
            [states_info, control_info, chosen_info, wanted_info].map(|info| info.map(|i| i.value_size));
        let wanted_sizes = [STATE_BYTES, size_of::<Control>(), CHOSEN_BYTES, 4];
        for (size, expected) in sizes.into_iter().zip(wanted_sizes) {
            if size? as usize != expected {
                return Err(Reason::OtherVersion);
            }
        }
        let states = Mapping::new(states.as_fd(), capacity as usize * STATE_BYTES)?;
        let control = Mapping::new(control.as_fd(), size_of::<Control>())?;
        let access = Self { states, control, capacity, chosen, wanted };
        match access.control().version.load(Ordering::Relaxed) {
            STATE_VERSION => Ok(access),
            0 => Err(Reason::NotEnabled),
            _ => Err(Reason::OtherVersion),
        }
    }

    /// The process' own, opened at first use, and again where what was enabled has changed since.
    ///
    /// # Errors
    /// As [`Self::open`], at most a second old.
    pub fn of_process() -> Result<Arc<Self>, Reason> {
        static OPENED: Mutex<Option<Tried>> = Mutex::new(None);
        let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
        match &*opened {
            Some((_, Ok(access))) if access.is_live() => return Ok(Arc::clone(access)),
            Some((when, Err(reason))) if when.elapsed() < REMEMBERED => return Err(reason.clone()),
            _ => {}
        }
        let found = Self::open(&place::directory()).map(Arc::new);
        *opened = Some((Instant::now(), found.clone()));
        found
    }

    /// The slots' counters.
    #[must_use]
    pub fn control(&self) -> &Control {
        // SAFETY: the mapping holds one, and mappings are page-aligned.
        unsafe { self.control.at.cast().as_ref() }
    }

    /// Whether programs write.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.control().version.load(Ordering::Relaxed) == STATE_VERSION
    }

    /// The state in a slot; None where there is no such slot.
    #[must_use]
    pub fn state(&self, slot: u32) -> Option<&Words> {
        if slot >= self.capacity {
            return None;
        }
        // SAFETY: below the mapping's length, aligned as 256 divides it.
        Some(unsafe { self.states.at.cast::<Words>().add(slot as usize).as_ref() })
    }

    /// The slot in which the kernel writes `socket`'s state; from now on, if it did not before.
    ///
    /// # Errors
    /// [`Reason::NoSlot`], [`Reason::NotConnected`], or what the system says.
    pub fn choose(&self, socket: BorrowedFd<'_>) -> Result<u32, Reason> {
        match self.chosen(socket) {
            Ok(Some(slot)) => return Ok(slot),
            Ok(None) => {}
            Err(error) => return Err(error.into()),
        }
        bpf::set(self.wanted.as_fd(), socket, 1)?;
        ask(socket);
        self.chosen(socket)?.ok_or(Reason::NoSlot)
    }

    /// Has the programs say that they end; root only.
    ///
    /// # Errors
    /// What the system says.
    pub fn stop(&self) -> io::Result<()> {
        // Any socket will do.
        let (socket, _other) = UnixStream::pair()?;
        bpf::set(self.wanted.as_fd(), socket.as_fd(), STOP)?;
        ask(socket.as_fd());
        if self.is_live() {
            return Err(io::Error::from_raw_os_error(libc::EPERM));
        }
        Ok(())
    }

    /// The slot that `socket` has.
    ///
    /// # Errors
    /// What the system says.
    pub fn chosen(&self, socket: BorrowedFd<'_>) -> io::Result<Option<u32>> {
        match bpf::get::<{ CHOSEN_BYTES / 4 }>(self.chosen.as_fd(), socket) {
            Ok([slot, ..]) => Ok(Some(slot).filter(|slot| *slot != NO_SLOT)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The call by which the program `received` notices a wanted socket: there is no urgent byte, and if there is one, it stays.
fn ask(socket: BorrowedFd<'_>) {
    let mut byte = 0u8;
    // SAFETY: one byte of room. The answer means nothing.
    unsafe {
        libc::recv(
            socket.as_raw_fd(),
            std::ptr::from_mut(&mut byte).cast(),
            1,
            libc::MSG_OOB | libc::MSG_PEEK | libc::MSG_DONTWAIT,
        )
    };
}

fn trusted(dir: &Path) -> Result<(), Reason> {
    let meta = fs::symlink_metadata(dir).map_err(|error| why(&error))?;
    // SAFETY: takes no argument and cannot fail.
    let own = unsafe { libc::geteuid() };
    if meta.is_dir() && (meta.uid() == 0 || meta.uid() == own) {
        Ok(())
    } else {
        Err(Reason::Untrusted)
    }
}

fn why(error: &io::Error) -> Reason {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => Reason::NotEnabled,
        Some(libc::EACCES) => Reason::NotInGroup,
        Some(libc::EPERM) => Reason::Refused,
        errno => Reason::System(errno.unwrap_or(libc::EIO)),
    }
}
