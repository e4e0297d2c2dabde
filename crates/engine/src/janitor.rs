//! Removes what killed processes leave in a runtime directory, and ends when nothing is left to watch.
//!
//! A process that dies by kill -9 cannot clean up after itself, and the next `modnet` command may not come. So one
//! small process per runtime directory watches all modules and the oldest process of each record by pidfd, new ones
//! by inotify, and sweeps when one goes. Nothing depends on it: names of the dead are free, records of the dead
//! are overwritten, with or without it.
//!
//! Rules: one at a time (a lock that is gone with its holder); it ends with the last record and the last module,
//! and looks once more after it has given the lock back, so that nobody who counted on it is left alone.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::census;
use crate::error::{Error, Result};
use crate::pidfd::{open, Poller};
use crate::registry::{self, connect_control, socket};
use crate::runtime::Runtime;

/// Between an event and the look at it: others of the same tree come and go in the same moment.
const PAUSE: Duration = Duration::from_millis(100);
/// After a look that failed (a lock that stays held, no descriptors): try again.
const RETRY: Duration = Duration::from_secs(5);
/// Byte of the registry's lock file that says that there is a janitor; far from those of the starting modules.
const BYTE: i64 = 1 << 40;
/// Marks the inotify descriptor among the pids.
const CHANGES: u32 = u32::MAX;

/// Whether a janitor is at work. It may be about to end: whoever starts one anyway does no harm.
///
/// # Errors
/// What the system says about the lock file.
pub fn is_there(runtime: &Runtime) -> Result<bool> {
    let (file, mut range) = lock_file(runtime)?;
    // Asked, not tried: one that starts at this moment must not find the lock taken by a question.
    // SAFETY: `range` is a whole flock, and the kernel writes the answer into it.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut range) } < 0 {
        return Err(lock_failed(runtime, &io::Error::last_os_error()));
    }
    Ok(range.l_type != libc::F_UNLCK as libc::c_short)
}

/// Works until nothing is left. Returns at once where there is another one.
///
/// # Errors
/// EPERM and the like: the runtime directory cannot be trusted or watched.
pub fn work(runtime: &Runtime) -> Result<()> {
    runtime.prepare()?;
    while anything(runtime)? {
        let Some(held) = lock(runtime)? else { return Ok(()) };
        watch(runtime)?;
        drop(held);
    }
    Ok(())
}

fn anything(runtime: &Runtime) -> Result<bool> {
    Ok(!census::sweep(runtime)?.is_empty() || !registry::list(runtime)?.is_empty())
}

fn watch(runtime: &Runtime) -> Result<()> {
    let refused = |e: io::Error| Error::system(format!("cannot watch {}", runtime.path.display()), &e);
    let poller = Poller::new().map_err(refused)?;
    let changes = inotify(&[&runtime.modules(), &runtime.processes()]).map_err(refused)?;
    poller.add(changes.as_raw_fd(), CHANGES).map_err(refused)?;
    let mut watched: BTreeMap<u32, OwnedFd> = BTreeMap::new();
    loop {
        drain(&changes);
        let wait = match look(runtime) {
            Ok(pids) if pids.is_empty() => return Ok(()),
            Ok(pids) => renew(&poller, &mut watched, &pids),
            Err(_) => Some(RETRY),
        };
        let gone = poller.wait(wait);
        for pid in gone.iter().filter(|pid| **pid != CHANGES) {
            // Closing the pidfd takes it out of the epoll set.
            watched.remove(pid);
        }
        thread::sleep(PAUSE);
    }
}

/// Sweeps, and says which processes to watch: each module, and the oldest of each record.
fn look(runtime: &Runtime) -> Result<Vec<u32>> {
    let census = census::sweep(runtime)?;
    // A record without users is a launcher's that has not become its command yet: the launcher is watched.
    let mut pids: Vec<u32> = census.iter().map(|(number, users)| *users.first().unwrap_or(number)).collect();
    for name in registry::list(runtime)? {
        let peer = connect_control(runtime, &name).and_then(|fd| socket::peer(&fd));
        pids.extend(peer.ok().map(|peer| peer.pid).filter(|pid| *pid != 0));
    }
    Ok(pids)
}

/// None: everybody is watched; else when to look again.
fn renew(poller: &Poller, watched: &mut BTreeMap<u32, OwnedFd>, pids: &[u32]) -> Option<Duration> {
    watched.retain(|pid, _| pids.contains(pid));
    let mut again = None;
    for pid in pids {
        if !watched.contains_key(pid) {
            match open(*pid).and_then(|fd| poller.add(fd.as_raw_fd(), *pid).map(|()| fd)) {
                Ok(fd) => drop(watched.insert(*pid, fd)),
                // Gone since, most likely.
                Err(e) if e.raw_os_error() == Some(libc::ESRCH) => again = Some(PAUSE),
                Err(_) => again = again.or(Some(RETRY)),
            }
        }
    }
    again
}

fn inotify(directories: &[&Path]) -> io::Result<OwnedFd> {
    // SAFETY: a plain system call; the result is checked.
    let fd = unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and nobody else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    for directory in directories {
        let path = CString::new(directory.as_os_str().as_bytes())?;
        // What it removes itself is no news, so deletions are not asked for.
        let events = libc::IN_CREATE | libc::IN_MOVED_TO | libc::IN_ONLYDIR;
        // SAFETY: `path` is a NUL-terminated string that outlives the call.
        if unsafe { libc::inotify_add_watch(fd.as_raw_fd(), path.as_ptr(), events) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(fd)
}

fn drain(fd: &OwnedFd) {
    let mut buffer = [0u8; 4096];
    // SAFETY: the kernel writes at most `buffer.len()` bytes into it; the descriptor is non-blocking.
    while unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) } > 0 {}
}

/// None: somebody else has it.
fn lock(runtime: &Runtime) -> Result<Option<File>> {
    let (file, mut range) = lock_file(runtime)?;
    // SAFETY: `range` is a whole flock.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw mut range) } == 0 {
        return Ok(Some(file));
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Ok(None),
        _ => Err(lock_failed(runtime, &error)),
    }
}

/// The registry's lock file, and the byte of it that is the janitor's.
fn lock_file(runtime: &Runtime) -> Result<(File, libc::flock)> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(runtime.modules().join(".lock"))
        .map_err(|e| lock_failed(runtime, &e))?;
    // SAFETY: a flock of zeros is valid.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = libc::F_WRLCK as libc::c_short;
    range.l_whence = libc::SEEK_SET as libc::c_short;
    range.l_start = BYTE;
    range.l_len = 1;
    Ok((file, range))
}

fn lock_failed(runtime: &Runtime, error: &io::Error) -> Error {
    Error::system(format!("cannot lock {}", runtime.modules().join(".lock").display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registration;
    use crate::scratch::Scratch;

    #[test]
    fn it_ends_at_once_where_nothing_is() {
        let scratch = Scratch::new();
        let runtime = scratch.runtime();
        work(&runtime).unwrap();
        assert!(!is_there(&runtime).unwrap());
    }

    #[test]
    fn a_living_module_keeps_it() {
        let scratch = Scratch::new();
        let runtime = scratch.runtime();
        let module = Registration::bind(&runtime, "m", &[]).unwrap();
        assert_eq!(look(&runtime).unwrap(), [std::process::id()]);
        drop(module);
        assert!(look(&runtime).unwrap().is_empty());
    }
}
