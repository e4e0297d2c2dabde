//! What a killed yanker leaves on a socket that others hold, and the way back.
//!
//! | killed | the socket | way back |
//! | --- | --- | --- |
//! | before repair | deaf | hears again by itself when the filter's time is over |
//! | frozen | in repair: it sends nothing | leave repair: as it was |
//! | in the gap, or half rebuilt | in repair, without connection or without its queues | the journal: rebuilt, unsent bytes included. Without one it is dead, and told so. Until then a segment of the peer's is answered with a reset if the socket is out of the hash: the guard is dead too |
//! | open, kept bytes not all written | an ordinary one with a hole where unsent bytes were | the journal: the rest is written. Without one: close it |
//!
//! Rules: [`Yanker::rescue`] is for a holder who knows that the yanker is dead. Leaving repair needs CAP_NET_ADMIN: holders without it can
//! only close, which in repair sends nothing.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::failure::{lost, untouched, Failure};
use super::info::{state, Info};
use super::memory::Memory;
use super::options::{self, name, Queue, Repair};
use super::snapshot::{self, Snapshot};
use super::tuple::Connection;
use super::yank::{bury, hear, keep, Yanker};

/// How far a yank has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Phase {
    /// None is under way.
    Idle = 0,
    /// Not before the gap, not after the door is open.
    Rebuilding = 1,
    /// All there but the unsent bytes that stay.
    Keeping = 2,
}

const MAGIC: u32 = 0x6d79_6b01;

#[repr(C)]
struct Page {
    magic: u32,
    phase: AtomicU32,
    cookie: u64,
    taken: u64,
    snapshot: Snapshot,
}

/// A yank that is under way, in a file or, without a folder, nowhere.
#[derive(Debug)]
pub struct Journal {
    dir: Option<PathBuf>,
    page: Option<Memory>,
}

static NUMBER: AtomicU64 = AtomicU64::new(0);

impl Journal {
    /// Below `dir`, in a folder of its own.
    ///
    /// # Errors
    /// The system's.
    pub fn new(dir: Option<&Path>) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let Some(dir) = dir else { return Ok(Self { dir: None, page: None }) };
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = dir.join(format!("{}-{number}", std::process::id()));
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let mut page = Memory::new(size_of::<Page>(), Some(&dir.join("page")))?;
        page.ready(size_of::<Page>())?;
        Ok(Self { dir: Some(dir), page: Some(page) })
    }

    /// A file beside the page.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.dir.as_ref().map(|dir| dir.join(name))
    }

    fn page(memory: &Memory) -> Option<&Page> {
        let bytes = memory.bytes();
        if bytes.len() < size_of::<Page>() {
            return None;
        }
        // SAFETY: large enough, aligned as a page of memory is, and every pattern of bits is a value.
        Some(unsafe { &*bytes.as_ptr().cast::<Page>() })
    }

    /// The gap is about to begin.
    pub(super) fn write(&mut self, cookie: u64, snapshot: &Snapshot, taken: usize) {
        let Some(memory) = self.page.as_mut().filter(|memory| memory.bytes().len() >= size_of::<Page>())
        else {
            return;
        };
        let phase = AtomicU32::new(Phase::Idle as u32);
        let page = Page { magic: MAGIC, phase, cookie, taken: taken as u64, snapshot: *snapshot };
        // SAFETY: large enough and aligned; nobody reads before the phase says so.
        unsafe { memory.bytes_mut().as_mut_ptr().cast::<Page>().write(page) };
        self.phase(Phase::Rebuilding);
    }

    /// So far it has come.
    pub(super) fn phase(&self, phase: Phase) {
        if let Some(page) = self.page.as_ref().and_then(Self::page) {
            page.phase.store(phase as u32, Ordering::Release);
        }
    }

    /// The journal below `dir` of the socket with this cookie.
    fn find(dir: &Path, cookie: u64) -> Option<Found> {
        let folders = std::fs::read_dir(dir).ok()?.flatten();
        folders.map(|folder| folder.path()).find_map(|folder| {
            let memory = Memory::open(&folder.join("page")).ok()?;
            let page = Self::page(&memory)?;
            let phase = page.phase.load(Ordering::Acquire);
            if page.magic != MAGIC || page.cookie != cookie || phase == Phase::Idle as u32 {
                return None;
            }
            let keeping = phase == Phase::Keeping as u32;
            Some(Found { folder, snapshot: page.snapshot, taken: page.taken as usize, keeping })
        })
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Some(dir) = &self.dir {
            // It ends with its yanker; what cannot be removed now is removed by whoever rescues next.
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}

struct Found {
    folder: PathBuf,
    snapshot: Snapshot,
    taken: usize,
    keeping: bool,
}

/// What a rescue found and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rescued {
    /// Nothing to do, a forgotten filter aside.
    Whole,
    /// It was in repair, and is as it was before the yank.
    Left,
    /// It was half rebuilt, and is as it was before the yank.
    Rebuilt,
    /// All was there but unsent bytes: those that were to stay are, the yanked ones are gone with the yanker.
    Refilled,
    /// It was half rebuilt and no journal tells how to go on: dead.
    Dead,
}

impl Yanker {
    /// The way back for a socket whose yanker was killed. `journal` is the dead one's folder ([`super::yank::Settings`]).
    ///
    /// # Errors
    /// [`Failure`]
    pub fn rescue(&mut self, fd: BorrowedFd<'_>, journal: Option<&Path>) -> Result<Rescued, Failure> {
        let cookie = options::cookie(fd).map_err(untouched("read the socket's cookie"))?;
        let in_repair = options::tcp(fd, name::REPAIR).map_err(untouched("look at the socket"))? != 0;
        let found = journal.and_then(|dir| Journal::find(dir, cookie));
        match (in_repair, found) {
            (_, Some(found)) if !found.keeping => self.rebuild_from(fd, &found).map(|()| {
                // Its bytes are in the connection again.
                let _ = std::fs::remove_dir_all(&found.folder);
                Rescued::Rebuilt
            }),
            (false, Some(found)) => self.refill(fd, &found).map(|()| {
                let _ = std::fs::remove_dir_all(&found.folder);
                Rescued::Refilled
            }),
            (true, _) => leave(fd),
            (false, None) => {
                // ENOENT: there is none.
                let _ = hear(fd);
                Ok(Rescued::Whole)
            }
        }
    }

    fn rebuild_from(&mut self, fd: BorrowedFd<'_>, found: &Found) -> Result<(), Failure> {
        self.load(found)?;
        let snapshot = &found.snapshot;
        let guard = self.guards.of(fd)?;
        let connection = Connection::new(&snapshot.local, &snapshot.peer);
        guard.cover(&connection)?;
        options::repair(fd, Repair::On).map_err(untouched("enter repair"))?;
        // The dead yanker's may be open again; ours takes its place.
        let deaf = guard.deafen(fd, self.settings.deaf).map_err(untouched("attach the guard's filter"));
        let built = deaf.and_then(|()| {
            self.journal.write(options::cookie(fd).unwrap_or(0), snapshot, 0);
            self.rebuilt(fd, &guard, &connection, snapshot, 0).inspect_err(|_| bury(fd))
        });
        self.journal.phase(Phase::Idle);
        guard.uncover(&connection);
        built.map(|_| ())
    }

    fn refill(&mut self, fd: BorrowedFd<'_>, found: &Found) -> Result<(), Failure> {
        self.load(found)?;
        let (snapshot, output) = (&found.snapshot, &self.output.bytes()[..found.snapshot.output as usize]);
        options::repair(fd, Repair::On).map_err(untouched("enter repair"))?;
        let end = options::select(fd, Queue::Send).and_then(|()| options::tcp(fd, name::QUEUE_SEQ));
        options::select(fd, Queue::No)
            .and_then(|()| snapshot::leave(fd, snapshot.reuse))
            .map_err(lost("leave repair"))?;
        let end = end.map_err(untouched("read a sequence number"))?;
        let written = end.wrapping_sub(snapshot.send_seq()) as usize;
        match output.get(written..output.len() - found.taken) {
            Some(rest) => keep(fd, rest),
            None => {
                Err(untouched("tell which bytes are missing")(io::Error::other("others have written since")))
            }
        }
    }

    fn load(&mut self, found: &Found) -> Result<(), Failure> {
        let no = untouched("read the journal");
        let queues = [("output", found.snapshot.output), ("input", found.snapshot.input)];
        let copied = queues.into_iter().zip([&mut self.output, &mut self.input]).try_for_each(
            |((name, length), to)| {
                let from = Memory::open(&found.folder.join(name))?;
                let length = length as usize;
                to.ready(length)?;
                let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
                let from = from.bytes().get(..length).ok_or_else(short)?;
                to.bytes_mut().get_mut(..length).ok_or_else(short)?.copy_from_slice(from);
                Ok(())
            },
        );
        copied.map_err(no)
    }
}

/// In repair, and no journal: frozen, or half rebuilt. A rebuilt connection has received nothing yet, a frozen one has.
fn leave(fd: BorrowedFd<'_>) -> Result<Rescued, Failure> {
    let info = Info::read(fd).map_err(untouched("read TCP_INFO"))?;
    let alive = matches!(info.state(), state::ESTABLISHED | state::CLOSE_WAIT) && info.segments_in() > 0;
    if !alive {
        bury(fd);
        return Ok(Rescued::Dead);
    }
    let reuse = options::socket(fd, libc::SO_REUSEADDR).map_err(untouched("look at the socket"))?;
    options::select(fd, Queue::No).map_err(untouched("leave the queues"))?;
    let _ = hear(fd);
    snapshot::leave(fd, reuse.min(1)).map_err(untouched("leave repair"))?;
    Ok(Rescued::Left)
}

#[cfg(test)]
#[path = "rescue_tests.rs"]
mod tests;
