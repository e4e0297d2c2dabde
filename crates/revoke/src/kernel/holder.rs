//! Who has a socket: some process that lives, and a descriptor of it, for a rescue by somebody who has not.
//!
//! Rules: /proc is looked at, and nothing else; the descriptor is duplicated (pidfd_getfd), which needs the right to trace its
//! process. It must not wait, nor keep what it found.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::options;

/// A process that has the socket with this inode and cookie, and its socket. None: nobody has it any more. O(descriptors of the
/// machine): only for sockets that a killed yanker has left.
///
/// # Errors
/// A process may have it that this one may not look into.
pub fn of(ino: u64, cookie: u64) -> io::Result<Option<(u32, OwnedFd)>> {
    let name = format!("socket:[{ino}]");
    let mut hidden = None;
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        match in_process(pid, &name, cookie) {
            Ok(Some(socket)) => return Ok(Some((pid, socket))),
            Ok(None) => {}
            // It has ended meanwhile.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => {}
            Err(error) => hidden = Some(error),
        }
    }
    hidden.map_or(Ok(None), Err)
}

fn in_process(pid: u32, name: &str, cookie: u64) -> io::Result<Option<OwnedFd>> {
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))?.flatten() {
        let is_it = fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == name);
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(number) = number.filter(|_| is_it) else { continue };
        let socket = duplicate(pid, number)?;
        if options::cookie(socket.as_fd()).is_ok_and(|found| found == cookie) {
            return Ok(Some(socket));
        }
    }
    Ok(None)
}

fn duplicate(pid: u32, number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointer.
    let process = descriptor(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: takes no pointer.
    descriptor(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) })
}

fn descriptor(answer: libc::c_long) -> io::Result<OwnedFd> {
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: new, and ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(answer as RawFd) })
}

#[cfg(test)]
mod tests {
    use super::super::testing::pair;
    use super::*;

    #[test]
    fn a_socket_of_this_process_is_found_and_one_that_is_closed_is_not() {
        let (ours, _peer) = pair();
        let cookie = options::cookie(ours.as_fd()).unwrap();
        let ino = options::inode(ours.as_fd()).unwrap();
        // Where processes of other users are running, an ordinary user may not be told.
        let found = of(ino, cookie).unwrap().unwrap();
        assert_eq!(found.0, std::process::id());
        assert_eq!(options::cookie(found.1.as_fd()).unwrap(), cookie);
        assert!(of(ino, cookie + 1).ok().flatten().is_none());
        drop((ours, found));
        assert!(of(ino, cookie).ok().flatten().is_none());
    }
}
