//! Programs stand at their places while somebody reads, and at no other time: where they stand each packet and each send on the machine
//! pays for them, whoever's it is.
//!
//! `modnet inspect enable` pins the programs without placing them (but the one that takes slots back). Whoever may open a pin can place
//! it, so a process that begins to read does, unless another has; the links are its own, and end with it, however it ends. Which
//! process it is, a lock decides:
//!
//! | lock | held | by |
//! | --- | --- | --- |
//! | on the directory | while it is found out whether a process has placed the programs, and while one does | any |
//! | on `programs/` | as long as it keeps them there | one; the others that read have a thread each that waits for it |
//!
//! So a reader finds the programs placed when [`reader`] returns, and where the one that keeps them dies another places them
//! again, in milliseconds, during which old and new may both stand there: programs bear that. A process none of whose
//! sockets was read for [`REST`] lets go, and begins anew with its next. `disable` is noticed by the pins that go.
//!
//! Rules: the thread takes no signal and owns what it holds: it must not touch a descriptor that it has not opened. Rejected: a set of programs
//! for each process (each costs as much); links that are pinned (they stay when the last reader is killed).

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::answers;
use crate::bpf;
use crate::place::{self, PLACED};

/// After so long without a reader programs leave their places: to put them back takes milliseconds.
const REST: Duration = Duration::from_secs(1);

/// How long the lock on the directory is waited for: some times as long as it takes to place the programs.
const PATIENCE: Duration = Duration::from_millis(50);

/// Sockets that are being read.
static READING: AtomicUsize = AtomicUsize::new(0);
/// Sockets that were, ever.
static EVER: AtomicUsize = AtomicUsize::new(0);
/// What this process keeps, or waits for.
static KEPT: Mutex<Option<Kept>> = Mutex::new(None);

/// Of which `enable` ([`crate::access::Access`]'s number), in which process, by which thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    access: u64,
    process: Option<u64>,
    thread: u64,
}

/// Programs are at their places as long as this lives.
#[derive(Debug)]
pub struct Reader(());

impl Reader {
    fn new() -> Self {
        READING.fetch_add(1, Ordering::SeqCst);
        EVER.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        READING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Has the programs pinned in `dir`, which are those of `access`, stand at their places.
///
/// # Errors
/// What the system says; then they may not stand there.
pub fn reader(dir: &Path, access: u64) -> io::Result<Reader> {
    static THREADS: AtomicU64 = AtomicU64::new(1);
    // Before the lock: who lets go looks at it under the lock.
    let reader = Reader::new();
    let mut kept = kept();
    let process = answers::process();
    if kept.is_some_and(|kept| process.is_some() && (kept.access, kept.process) == (access, process)) {
        return Ok(reader);
    }
    let mut post = Post::new(dir)?;
    {
        let _entrance = Lock::take(dir)?;
        if post.turn.try_take()? {
            post.place()?;
        }
    }
    let ours = Kept { access, process, thread: THREADS.fetch_add(1, Ordering::Relaxed) };
    spawn(move || post.keep(ours))?;
    *kept = Some(ours);
    Ok(reader)
}

/// Whether programs stand at their places now.
///
/// # Errors
/// What the system says.
pub fn is_attended(dir: &Path) -> io::Result<bool> {
    // Or a process that begins to read would take this look for one that has placed them.
    let _entrance = Lock::take(dir)?;
    Lock::open(&place::programs(dir))?.flock(libc::LOCK_SH | libc::LOCK_NB).map(|is_free| !is_free)
}

fn kept() -> MutexGuard<'static, Option<Kept>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A lock on a directory, which a process that dies leaves.
struct Lock(File);

impl Lock {
    fn open(dir: &Path) -> io::Result<Self> {
        File::open(dir).map(Self)
    }

    /// Waits for it, [`PATIENCE`] at most: a worker stands still meanwhile, and who has it may have been stopped.
    fn take(dir: &Path) -> io::Result<Self> {
        let (lock, begun) = (Self::open(dir)?, Instant::now());
        while !lock.try_take()? {
            if begun.elapsed() >= PATIENCE {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            thread::sleep(PATIENCE / 50);
        }
        Ok(lock)
    }

    fn try_take(&self) -> io::Result<bool> {
        self.flock(libc::LOCK_EX | libc::LOCK_NB)
    }

    /// False: another has it.
    fn flock(&self, operation: i32) -> io::Result<bool> {
        loop {
            // SAFETY: takes no pointer.
            if unsafe { libc::flock(self.0.as_raw_fd(), operation) } == 0 {
                return Ok(true);
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EWOULDBLOCK) => return Ok(false),
                Some(libc::EINTR) => {}
                _ => return Err(error),
            }
        }
    }
}

/// What the thread owns.
struct Post {
    dir: PathBuf,
    turn: Lock,
    /// What tells of pins that go; there with the links.
    watch: Option<OwnedFd>,
    links: Vec<OwnedFd>,
}

impl Post {
    fn new(dir: &Path) -> io::Result<Self> {
        let turn = Lock::open(&place::programs(dir))?;
        Ok(Self { dir: dir.into(), turn, watch: None, links: Vec::new() })
    }

    /// Places the programs; it is this process' turn. The last of them is what begins everything.
    fn place(&mut self) -> io::Result<()> {
        let programs = place::programs(&self.dir);
        // Before the pins are opened: of one that goes afterwards it tells.
        self.watch = Some(watch(&programs)?);
        self.links.clear();
        for (name, _) in PLACED {
            self.links.push(bpf::place(bpf::open(&programs.join(name))?.as_fd())?);
        }
        Ok(())
    }

    /// Keeps them there, waiting for its turn first where it is another's.
    fn keep(mut self, ours: Kept) {
        if self.links.is_empty() {
            let is_ours = self.turn.flock(libc::LOCK_EX).is_ok();
            if !is_ours || self.rests(ours) || self.place_again().is_err() {
                return self.leave(ours);
            }
        }
        let mut before = EVER.load(Ordering::SeqCst);
        while !self.is_over() {
            let now = EVER.load(Ordering::SeqCst);
            if now == before && self.rests(ours) {
                return;
            }
            before = now;
        }
        self.leave(ours);
    }

    /// Places the programs for those who read already: whoever has the lock on the directory, they are wanted.
    fn place_again(&mut self) -> io::Result<()> {
        loop {
            match Lock::take(&self.dir).and_then(|_entrance| self.place()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
    }

    /// Lets go if nobody reads.
    fn rests(&mut self, ours: Kept) -> bool {
        let mut kept = kept();
        if READING.load(Ordering::SeqCst) > 0 {
            return false;
        }
        self.let_go(&mut kept, ours);
        true
    }

    fn leave(&mut self, ours: Kept) {
        self.let_go(&mut kept(), ours);
    }

    /// Under the lock: whoever reads next finds the turn free.
    fn let_go(&mut self, kept: &mut Option<Kept>, ours: Kept) {
        if *kept == Some(ours) {
            *kept = None;
        }
        self.links.clear();
        // An error would mean that it is not ours.
        let _ = self.turn.flock(libc::LOCK_UN);
    }

    /// Waits for [`REST`], or until a pin has gone.
    fn is_over(&self) -> bool {
        let Some(watch) = &self.watch else { return true };
        let mut event = libc::pollfd { fd: watch.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let patience = i32::try_from(REST.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: one struct, which lives through the call.
        unsafe { libc::poll(&mut event, 1, patience) != 0 }
    }
}

/// Tells of what is removed from `dir`.
fn watch(dir: &Path) -> io::Result<OwnedFd> {
    let name = CString::new(dir.as_os_str().as_bytes())?;
    // SAFETY: takes no pointer.
    let watch = unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) };
    if watch < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: new, and ours alone.
    let watch = unsafe { OwnedFd::from_raw_fd(watch) };
    // SAFETY: a string that lives through the call.
    match unsafe { libc::inotify_add_watch(watch.as_raw_fd(), name.as_ptr(), libc::IN_DELETE) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(watch),
    }
}

/// A thread that no signal of the program's reaches.
fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    const STACK: usize = 64 * 1024;
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = all;
    // SAFETY: both are written before they are read; a thread begins with its maker's mask.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    let made = thread::Builder::new().name("modnet-inspect".to_owned()).stack_size(STACK).spawn(work);
    // SAFETY: as above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    made.map(drop)
}
