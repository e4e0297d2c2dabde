//! The pinned maps as a reader uses them: opened once a process, mapped read-only.
//!
//! Rules: what is pinned is trusted only where its directory is root's (or the reader's own); sizes are compared before
//! anything is mapped, and every slot with the array's length. `disable` clears the version in the control map, which
//! readers look at: a state that nobody writes any more is never taken for a fresh one. A refusal is remembered for a
//! second, so that flows that come by the thousand do not ask the file system each time.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use modnet_abi::sockstate::{STATE_BYTES, STATE_VERSION, WORDS};

use crate::answers::{self, Answer};
use crate::attend::{self, Reader};
use crate::bpf;
use crate::chosen::{self, Chosen, Row, NO_SLOT};
use crate::place::{self, Map, STOP};
use crate::reason::Reason;
use crate::sample;

/// So often it is asked about a socket that has got no slot and was not refused one: another process asks about it at this moment, and
/// an interrupt has stopped that.
const AGAIN: u32 = 256;

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

    /// What it holds.
    ///
    /// # Safety
    /// It is an array of `T`, whose every pattern of bits is a value, atomic where programs write.
    unsafe fn elements<T>(&self) -> &[T] {
        // SAFETY: so many are mapped, page-aligned; the rest is the caller's word.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr().cast(), self.bytes / size_of::<T>()) }
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
    dir: PathBuf,
    states: Mapping,
    control: Mapping,
    capacity: u32,
    chosen: Mapping,
    wanted: OwnedFd,
    answers: Mapping,
    number: u64,
}

static NUMBERS: AtomicU64 = AtomicU64::new(1);

impl Access {
    /// Opens what is pinned in `dir`.
    ///
    /// # Errors
    /// The reason why it cannot be used.
    pub fn open(dir: &Path) -> Result<Self, Reason> {
        trusted(dir)?;
        let get = |map: Map| bpf::open(&map.pin(dir)).map_err(|error| why(&error));
        let maps = [Map::States, Map::Control, Map::Chosen, Map::Wanted, Map::Answers];
        let sizes = [STATE_BYTES, size_of::<Control>(), size_of::<Row>(), 4, size_of::<Answer>()];
        let mut found = Vec::new();
        for (map, size) in maps.into_iter().zip(sizes) {
            let map = get(map)?;
            let info = bpf::info(map.as_fd())?;
            if info.value_size as usize != size {
                return Err(Reason::OtherVersion);
            }
            found.push((map, info.max_entries));
        }
        let Ok([(states, capacity), (control, _), (chosen, rows), (wanted, _), (answers, cores)]) =
            <[_; 5]>::try_from(found)
        else {
            return Err(Reason::OtherVersion);
        };
        let chosen = Mapping::new(chosen.as_fd(), rows as usize * size_of::<Row>())?;
        let answers = Mapping::new(answers.as_fd(), cores as usize * size_of::<Answer>())?;
        let states = Mapping::new(states.as_fd(), capacity as usize * STATE_BYTES)?;
        let control = Mapping::new(control.as_fd(), size_of::<Control>())?;
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let access = Self { dir: dir.into(), states, control, capacity, chosen, wanted, answers, number };
        match access.control().version.load(Ordering::Relaxed) {
            STATE_VERSION => Ok(access),
            0 => Err(Reason::NotEnabled),
            _ => Err(Reason::OtherVersion),
        }
    }

    /// The process' own, opened at first use, and again where what was enabled has changed since; with programs at their places for
    /// as long as the reader lives.
    ///
    /// # Errors
    /// As [`Self::open`], at most a second old; or why the programs are not at their places.
    pub fn of_process() -> Result<(Arc<Self>, Reader), Reason> {
        static OPENED: Mutex<Option<Tried>> = Mutex::new(None);
        let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match &*opened {
            Some((when, Err(reason))) if when.elapsed() < REMEMBERED => return Err(reason.clone()),
            Some((_, Ok(access))) if access.is_live() => match access.reader() {
                Ok(reader) => return Ok((Arc::clone(access), reader)),
                Err(reason) => Err(reason),
            },
            _ => Self::open(&place::directory()).map(Arc::new),
        };
        let found = found.and_then(|access| access.reader().map(|reader| (access, reader)));
        let access = found.as_ref().map(|(access, _)| Arc::clone(access)).map_err(Clone::clone);
        *opened = Some((Instant::now(), access));
        found
    }

    /// Whether some process reads, and the programs stand at their places.
    ///
    /// # Errors
    /// Why that cannot be found out.
    pub fn is_attended(&self) -> Result<bool, Reason> {
        attend::is_attended(&self.dir).map_err(|error| why(&error))
    }

    /// Has the programs stand at their places.
    ///
    /// # Errors
    /// Why they cannot.
    pub fn reader(&self) -> Result<Reader, Reason> {
        attend::reader(&self.dir, self.number).map_err(|error| why(&error))
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
    /// [`Reason::NoSlot`], [`Reason::Unattended`], or what the system says.
    pub fn choose(&self, socket: BorrowedFd<'_>) -> Result<Chosen, Reason> {
        for _ in 0..AGAIN {
            let refused = self.control().refused.load(Ordering::Relaxed);
            if let Some(chosen) = self.ask_for(socket)? {
                return Ok(chosen);
            }
            if self.control().refused.load(Ordering::Relaxed) != refused {
                return Err(Reason::NoSlot);
            }
        }
        Err(Reason::Unattended)
    }

    /// Asks once; None: the socket has got no slot.
    fn ask_for(&self, socket: BorrowedFd<'_>) -> Result<Option<Chosen>, Reason> {
        let member = answers::member(self.number);
        if member.is_none() {
            bpf::set(self.wanted.as_fd(), socket, 1)?;
        }
        ask(socket);
        let told = member.and_then(|member| answers::answer(self.answers(), member));
        if let Some(chosen) = told {
            return Ok(Some(chosen).filter(|chosen| chosen.slot != NO_SLOT));
        }
        let chosen = self.chosen(socket)?;
        if let Some(chosen) = chosen {
            answers::learn(self.answers(), self.number, chosen);
        }
        Ok(chosen)
    }

    fn answers(&self) -> &[Answer] {
        // SAFETY: of these the map was made, and all their fields are atomic or unused.
        unsafe { self.answers.elements() }
    }

    /// Has the programs say that they end; root only.
    ///
    /// # Errors
    /// What the system says.
    pub fn stop(&self) -> io::Result<()> {
        // Any socket of TCP's will do.
        // SAFETY: takes no pointer.
        let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: new, and ours alone.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
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
    pub fn chosen(&self, socket: BorrowedFd<'_>) -> io::Result<Option<Chosen>> {
        // SAFETY: of these the map was made, and they are atomic.
        let rows = unsafe { self.chosen.elements::<Row>() };
        let cookie = sample::cookie(socket)?;
        Ok(chosen::slot(rows, cookie).map(|slot| Chosen { slot, cookie }))
    }
}

/// The call by which the program `called` notices a wanted socket. TCP refuses Fast Open to an address of no family before it looks
/// at the connection: nothing is sent, and no error is taken from whoever waits for it.
fn ask(socket: BorrowedFd<'_>) {
    let nowhere = libc::AF_UNSPEC as libc::sa_family_t;
    let flags = libc::MSG_FASTOPEN | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: no bytes, and an address that lives through the call. The answer means nothing.
    unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            std::ptr::null(),
            0,
            flags,
            std::ptr::from_ref(&nowhere).cast(),
            size_of_val(&nowhere) as libc::socklen_t,
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
        // Pinned there is no program, but what an older version keeps there.
        Some(libc::EINVAL) => Reason::OtherVersion,
        // Another process is at it.
        None if error.kind() == io::ErrorKind::WouldBlock => Reason::Unattended,
        errno => Reason::System(errno.unwrap_or(libc::EIO)),
    }
}
