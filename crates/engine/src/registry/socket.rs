//! SEQPACKET sockets with a path: listen, connect, and who is at the other end.
//!
//! Rules: every socket is non-blocking and close-on-exec. It must not know what is said on them.

use std::fs;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The kernel cuts it to net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// Who is at the other end of a connection, as the kernel says: for a client, who called `listen`.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its process, 0 where that is not visible from here (another PID namespace).
    pub pid: u32,
    /// Its effective user.
    pub uid: u32,
}

/// Binds a path, gives it `mode`, then listens.
///
/// # Errors
/// What the system says; a bound path is not removed.
pub fn listen(path: &Path, mode: u32) -> io::Result<OwnedFd> {
    let fd = new()?;
    let (address, length) = address(path)?;
    // SAFETY: `address` is a whole sockaddr_un of which `length` bytes are meant.
    check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) })?;
    // Before listen, so that nobody connects while the umask's mode stands. (umask itself is the whole process'.)
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    // SAFETY: a plain system call on a descriptor that is open.
    check(unsafe { libc::listen(fd.as_raw_fd(), BACKLOG) })?;
    Ok(fd)
}

/// Connects without ever waiting.
///
/// # Errors
/// EAGAIN where somebody listens whose backlog is full, ECONNREFUSED where nobody does.
pub fn connect(path: &Path) -> io::Result<OwnedFd> {
    let fd = new()?;
    let (address, length) = address(path)?;
    // SAFETY: as in `listen`.
    check(unsafe { libc::connect(fd.as_raw_fd(), (&raw const address).cast(), length) })?;
    Ok(fd)
}

/// A connection that waits on a listening socket, non-blocking.
///
/// # Errors
/// EAGAIN: none waits; EMFILE and its like.
pub fn accept(listener: &OwnedFd) -> io::Result<OwnedFd> {
    // SAFETY: a plain system call that is given no address to fill.
    let fd = unsafe {
        libc::accept4(
            listener.as_raw_fd(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Who is at the other end.
///
/// # Errors
/// ENOTCONN and the like.
pub fn peer(fd: &impl AsRawFd) -> io::Result<Peer> {
    let mut cred = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut length = socklen::<libc::ucred>();
    // SAFETY: `cred` is as large as `length` says.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut cred).cast(),
            &raw mut length,
        )
    })?;
    Ok(Peer { pid: u32::try_from(cred.pid).unwrap_or(0), uid: cred.uid })
}

fn new() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: a plain system call.
    let fd: RawFd = check(unsafe { libc::socket(libc::AF_UNIX, kind, 0) })?;
    // SAFETY: the descriptor was just made and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn address(path: &Path) -> io::Result<(libc::sockaddr_un, libc::socklen_t)> {
    // SAFETY: a sockaddr_un of zeros is valid: family 0 and an empty path.
    let mut address: libc::sockaddr_un = unsafe { mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let bytes = path.as_os_str().as_bytes();
    // One byte is kept for the NUL.
    if bytes.len() >= address.sun_path.len() {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    Ok((address, socklen::<libc::sockaddr_un>()))
}

fn socklen<T>() -> libc::socklen_t {
    mem::size_of::<T>() as libc::socklen_t
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}
