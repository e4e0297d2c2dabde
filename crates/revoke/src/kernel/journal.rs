//! Where a yank that is under way is written down, so that another process can finish what a killed one began.
//!
//! A folder for each yanker, of three files: `page` says which socket, how far, and all that was negotiated; `output` and
//! `input` are the yanker's memory itself. Whether the yanker lives, a lock on `page` says: it ends with the process, however
//! that ends, and no child inherits it. Rejected: process numbers, which are used again, and flock, which children hold.
//!
//! Rules: a process never opens its own pages a second time, since closing one would end the lock. Who finds a page unlocked
//! locks it: one rescuer at a time. A folder that was removed before its owner had locked it is made again.
//! It must not touch a socket.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::memory::Memory;
use super::snapshot::{now, Snapshot};

/// Environment variable: a folder for journals, on a memory file system, or `off`.
pub const PLACE_ENV: &str = "MODNET_YANK_JOURNAL";
/// Linux's shared memory: a memory file system that every machine has.
const SHARED_MEMORY: &str = "/dev/shm";

/// How far a yank has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Phase {
    /// None is under way.
    Idle = 0,
    /// The socket may be deaf or in repair; the connection is as it was.
    Frozen = 1,
    /// Not before the gap, not after the door is open.
    Rebuilding = 2,
    /// All there but the unsent bytes that stay.
    Keeping = 3,
}

const MAGIC: u32 = 0x6d79_6b02;

#[repr(C)]
struct Page {
    magic: u32,
    phase: AtomicU32,
    cookie: AtomicU64,
    ino: AtomicU64,
    taken: AtomicU64,
    snapshot: Snapshot,
}

/// A folder for journals that is this user's alone.
///
/// # Errors
/// Why there is none, in words.
pub fn place() -> Result<PathBuf, String> {
    let asked = std::env::var_os(PLACE_ENV).filter(|place| !place.is_empty());
    if asked.as_ref().is_some_and(|place| place == "off") {
        return Err(format!("{PLACE_ENV}=off"));
    }
    // SAFETY: takes no argument and cannot fail.
    let user = unsafe { libc::geteuid() };
    let place =
        asked.map_or_else(|| Path::new(SHARED_MEMORY).join(format!("modnet-yank-{user}")), PathBuf::from);
    match DirBuilder::new().mode(0o700).create(&place) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(format!("{}: {error}", place.display()))
        }
        _ => {}
    }
    trusted(&place).map(|()| place)
}

fn trusted(place: &Path) -> Result<(), String> {
    let no = |error: io::Error| format!("{}: {error}", place.display());
    // SAFETY: takes no argument and cannot fail.
    let user = unsafe { libc::geteuid() };
    let meta = fs::symlink_metadata(place).map_err(no)?;
    if !meta.is_dir() || meta.uid() != user || meta.mode() & 0o077 != 0 {
        return Err(format!("{} is not a folder that is this user's alone", place.display()));
    }
    if !is_memory(place).map_err(no)? {
        return Err(format!("{} is on no memory file system", place.display()));
    }
    Ok(())
}

/// Whether what is written there stays in memory.
fn is_memory(place: &Path) -> io::Result<bool> {
    let file = File::open(place)?;
    // SAFETY: a statfs of zeros is valid, and the kernel fills it.
    let found = unsafe {
        let mut found: libc::statfs = std::mem::zeroed();
        if libc::fstatfs(file.as_raw_fd(), &raw mut found) != 0 {
            return Err(io::Error::last_os_error());
        }
        found
    };
    Ok(found.f_type == libc::TMPFS_MAGIC)
}

/// What the names of this process' folders begin with; a child has a beginning of its own.
fn own_names() -> String {
    static STARTED: OnceLock<u64> = OnceLock::new();
    format!("{}-{}-", std::process::id(), STARTED.get_or_init(now))
}

/// Locks a page; false: somebody else has it.
fn lock(page: &File) -> io::Result<bool> {
    // SAFETY: a flock of zeros is valid.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = libc::F_WRLCK as libc::c_short;
    range.l_whence = libc::SEEK_SET as libc::c_short;
    // SAFETY: `range` is a whole flock that lives through the call.
    if unsafe { libc::fcntl(page.as_raw_fd(), libc::F_SETLK, &raw const range) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Ok(false),
        _ => Err(error),
    }
}

fn page(memory: &Memory) -> Option<&Page> {
    let bytes = memory.bytes();
    if bytes.len() < size_of::<Page>() {
        return None;
    }
    // SAFETY: large enough, aligned as a page of memory is, and every pattern of bits is a value.
    Some(unsafe { &*bytes.as_ptr().cast::<Page>() })
}

/// A yanker's journal, or, without a folder, none.
#[derive(Debug)]
pub struct Journal {
    dir: Option<PathBuf>,
    page: Option<Memory>,
    owner: u32,
}

/// One at a time in a process looks at others' pages: who closes one that another thread has locked would end its lock.
pub(super) static ONE: Mutex<()> = Mutex::new(());
/// Folders of the dead that are for other rescuers: they do not wait for this process.
static FOR_OTHERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// How often a folder is made anew that somebody took for a dead one's.
const TRIES: usize = 8;

impl Journal {
    /// Below `dir`, in a folder of its own.
    ///
    /// # Errors
    /// The system's.
    pub fn new(dir: Option<&Path>) -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let owner = std::process::id();
        let Some(place) = dir else { return Ok(Self { dir: None, page: None, owner }) };
        DirBuilder::new().recursive(true).mode(0o700).create(place)?;
        for _ in 0..TRIES {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let dir = place.join(format!("{}{number}", own_names()));
            DirBuilder::new().mode(0o700).create(&dir)?;
            match Self::begin(&dir) {
                Ok(Some(page)) => return Ok(Self { dir: Some(dir), page: Some(page), owner }),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("its folder is removed again and again"))
    }

    fn begin(dir: &Path) -> io::Result<Option<Memory>> {
        let mut page = Memory::new(size_of::<Page>(), Some(&dir.join("page")))?;
        page.ready(size_of::<Page>())?;
        Ok((lock(page.file())? && page.file().metadata()?.nlink() > 0).then_some(page))
    }

    /// A file beside the page.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.dir.as_ref().map(|dir| dir.join(name))
    }

    /// A socket is about to be frozen.
    pub(super) fn begins(&self, cookie: u64, ino: u64) {
        let Some(page) = self.page.as_ref().and_then(page) else { return };
        page.cookie.store(cookie, Ordering::Relaxed);
        page.ino.store(ino, Ordering::Relaxed);
        self.phase(Phase::Frozen);
    }

    /// The gap is about to begin.
    pub(super) fn write(&mut self, snapshot: &Snapshot, taken: usize) {
        let Some(memory) = self.page.as_mut() else { return };
        let Some(page) = page(memory) else { return };
        let [cookie, ino] = [&page.cookie, &page.ino].map(|field| field.load(Ordering::Relaxed).into());
        let phase = AtomicU32::new(Phase::Frozen as u32);
        let page =
            Page { magic: MAGIC, phase, cookie, ino, taken: (taken as u64).into(), snapshot: *snapshot };
        // SAFETY: as large as `page` has found it, and aligned; nobody reads the snapshot before the phase says so.
        unsafe { memory.bytes_mut().as_mut_ptr().cast::<Page>().write(page) };
        self.phase(Phase::Rebuilding);
    }

    /// So far it has come.
    pub(super) fn phase(&self, phase: Phase) {
        if let Some(page) = self.page.as_ref().and_then(page) {
            page.phase.store(phase as u32, Ordering::Release);
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // A child that inherited it leaves it alone.
        if let Some(dir) = self.dir.as_ref().filter(|_| self.owner == std::process::id()) {
            // It ends with its yanker; what cannot be removed now is removed by whoever rescues next.
            let _ = fs::remove_dir_all(dir);
        }
    }
}

/// The journal of a yanker that is dead. It is locked: nobody else rescues by it meanwhile.
pub struct Dead {
    folder: PathBuf,
    page: Memory,
    snapshot: Snapshot,
}

/// Whether a killed yanker's journal below `dir` waits for somebody. Some microseconds, and two more for each other process that has
/// one: it is asked before each yank.
#[must_use]
pub fn waits(dir: &Path) -> bool {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let own = own_names();
    let Ok(folders) = fs::read_dir(dir) else { return false };
    let others = folders.flatten().filter(|folder| !folder.file_name().to_string_lossy().starts_with(&own));
    others.into_iter().any(|folder| {
        let Ok(page) = File::options().read(true).write(true).open(folder.path().join("page")) else {
            return false;
        };
        let mut phase = [0; 4];
        let at = std::mem::offset_of!(Page, phase) as u64;
        let is_idle =
            page.read_exact_at(&mut phase, at).is_err() || u32::from_ne_bytes(phase) == Phase::Idle as u32;
        // Most are, or are held by those that live.
        !is_idle && lock(&page).unwrap_or(false) && !for_others().contains(&folder.path())
    })
}

fn for_others() -> MutexGuard<'static, Vec<PathBuf>> {
    FOR_OTHERS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Dead {
    /// All that are below `dir`; of a yank or of none.
    #[must_use]
    pub fn all(dir: &Path) -> Vec<Self> {
        let own = own_names();
        let Ok(folders) = fs::read_dir(dir) else { return Vec::new() };
        let folders =
            folders.flatten().filter(|folder| !folder.file_name().to_string_lossy().starts_with(&own));
        folders.filter_map(|folder| Self::open(folder.path())).collect()
    }

    fn open(folder: PathBuf) -> Option<Self> {
        let memory = match Memory::open(&folder.join("page")) {
            Ok(memory) => memory,
            Err(_) => return None,
        };
        if !lock(memory.file()).ok()? {
            return None;
        }
        let Some(found) = page(&memory) else {
            // Killed while it was made.
            let _ = fs::remove_dir_all(&folder);
            return None;
        };
        let snapshot = found.snapshot;
        Some(Self { folder, page: memory, snapshot })
    }

    fn field<T: Default>(&self, read: impl FnOnce(&Page) -> T) -> T {
        page(&self.page).map(read).unwrap_or_default()
    }

    /// How far its yank had come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        let (phase, magic) = self.field(|page| (page.phase.load(Ordering::Acquire), page.magic));
        match phase {
            1 => Phase::Frozen,
            2 if magic == MAGIC => Phase::Rebuilding,
            3 if magic == MAGIC => Phase::Keeping,
            _ => Phase::Idle,
        }
    }

    /// Which socket it was: its cookie.
    #[must_use]
    pub fn cookie(&self) -> u64 {
        self.field(|page| page.cookie.load(Ordering::Relaxed))
    }

    /// … and its inode.
    #[must_use]
    pub fn ino(&self) -> u64 {
        self.field(|page| page.ino.load(Ordering::Relaxed))
    }

    /// The connection; of use once it was being rebuilt.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Bytes that the dead one had taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.field(|page| page.taken.load(Ordering::Relaxed)) as usize
    }

    /// A queue's bytes: `output` or `input`.
    ///
    /// # Errors
    /// The system's.
    pub fn queue(&self, name: &str) -> io::Result<Memory> {
        Memory::open(&self.folder.join(name))
    }

    /// It is the rescuer's own from here on: all bytes go back, and who is killed in turn leaves the same way back. It ends
    /// with what is returned.
    #[must_use]
    pub(super) fn adopt(self) -> Journal {
        if let Some(page) = page(&self.page) {
            page.taken.store(0, Ordering::Relaxed);
        }
        let journal = Journal { dir: Some(self.folder), page: Some(self.page), owner: std::process::id() };
        journal.phase(Phase::Rebuilding);
        journal
    }

    /// This process cannot help.
    pub(super) fn leave_to_others(self) {
        for_others().push(self.folder.clone());
    }

    /// It is of no more use.
    pub fn remove(self) {
        // It may be gone; what stays is looked at by who rescues next.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
