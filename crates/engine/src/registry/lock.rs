//! `modules/.lock`: held for the moment of registering, leaving or sweeping.
//!
//! Rules: the wait is bounded, since the holder may be a stopped process, and the error names the holder. The kernel
//! gives the lock back when its holder dies, so there is nothing to repair. The file is never removed: whoever
//! removed it would let two processes lock two files.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::runtime::Runtime;

/// A hold of the lock takes well under a millisecond; fifty at once are through in a few dozen.
pub const BOUND: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_millis(3);

/// The lock, until dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Drop for Lock {
    /// Not by closing alone: a child that another thread forks meanwhile has the file too, until it becomes its command.
    fn drop(&mut self) {
        // SAFETY: a plain system call on a descriptor that is open.
        unsafe { libc::flock(self.file.as_raw_fd(), libc::LOCK_UN) };
    }
}

impl Lock {
    /// Takes the registry's lock.
    ///
    /// # Errors
    /// ETIMEDOUT after [`BOUND`], with the process that holds it; what the system says about the file.
    pub fn take(runtime: &Runtime) -> Result<Self> {
        Self::file(&runtime.modules().join(".lock"), BOUND)
    }

    /// Takes the lock that a file stands for; it is made where it is missing.
    ///
    /// # Errors
    /// As [`Lock::take`].
    pub fn file(path: &Path, bound: Duration) -> Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(path)
            .map_err(|e| Error::system(format!("cannot open {}", path.display()), &e))?;
        let end = Instant::now() + bound;
        while !try_lock(&file).map_err(|e| Error::system(format!("cannot lock {}", path.display()), &e))? {
            if Instant::now() >= end {
                return Err(held(path, &mut file));
            }
            // flock has no time limit of its own, and an alarm signal would be the whole process' business.
            sleep(STEP);
        }
        // For the message of those who wait in vain; a lock without it is as good.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "{}", std::process::id()));
        Ok(Self { file })
    }
}

fn try_lock(file: &File) -> std::io::Result<bool> {
    // SAFETY: a plain system call on a descriptor that is open.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(true);
    }
    let error = std::io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EWOULDBLOCK | libc::EINTR) => Ok(false),
        _ => Err(error),
    }
}

fn held(path: &Path, file: &mut File) -> Error {
    let mut text = String::new();
    let _ = file.rewind().and_then(|()| file.read_to_string(&mut text));
    let remedy = match text.trim().parse::<u32>() {
        Ok(pid) => format!("process {pid} holds it; if it is stopped, continue or end it (kill -CONT {pid})"),
        Err(_) => format!("find who holds it with: fuser {}", path.display()),
    };
    Error::new(libc::ETIMEDOUT, format!("{} stays locked: {remedy}", path.display()))
}
