//! The system calls on a flow's sockets: receive, send, end, reset. Nobody else makes them.
//!
//! Rules: never blocks (MSG_DONTWAIT, whatever the descriptor says), never raises SIGPIPE.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use modnet_abi::fault;

/// What a call found.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// So many bytes.
    Bytes(usize),
    /// Not now.
    Again,
    /// The end of the stream (reading only).
    End,
    /// The connection is broken: errno.
    Broken(i32),
}

fn outcome(result: isize) -> Outcome {
    match usize::try_from(result) {
        Ok(count) => Outcome::Bytes(count),
        Err(_) => match io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO) {
            libc::EAGAIN | libc::EINTR => Outcome::Again,
            errno => Outcome::Broken(errno),
        },
    }
}

/// Reads what is there, at most `into.len()` bytes.
pub fn receive(fd: &impl AsRawFd, into: &mut [u8]) -> Outcome {
    loop {
        // SAFETY: `into` is writable for its length.
        let result =
            unsafe { libc::recv(fd.as_raw_fd(), into.as_mut_ptr().cast(), into.len(), libc::MSG_DONTWAIT) };
        match outcome(result) {
            Outcome::Bytes(0) => return Outcome::End,
            Outcome::Again if io::Error::last_os_error().raw_os_error() == Some(libc::EINTR) => {}
            other => return other,
        }
    }
}

/// Sends; `more`: the end of the stream follows, so that data and FIN share a segment.
pub fn send(fd: &OwnedFd, data: &[u8], more: bool) -> Outcome {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | if more { libc::MSG_MORE } else { 0 };
    loop {
        // SAFETY: `data` is readable for its length.
        let result = unsafe { libc::send(fd.as_raw_fd(), data.as_ptr().cast(), data.len(), flags) };
        match outcome(result) {
            Outcome::Again if io::Error::last_os_error().raw_os_error() == Some(libc::EINTR) => {}
            other => return other,
        }
    }
}

/// No call on it waits from now on.
pub fn set_nonblocking(fd: &OwnedFd) {
    // SAFETY: no memory is passed.
    unsafe {
        let flags = libc::fcntl(fd.as_raw_fd(), libc::F_GETFL);
        if flags >= 0 && flags & libc::O_NONBLOCK == 0 {
            libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK);
        }
    }
}

/// Keeps at most about `most` bytes in a TCP socket that it has not sent; 0: as the system's setting says.
pub fn limit_unsent(fd: &OwnedFd, most: u32) {
    let size = libc::socklen_t::try_from(size_of::<u32>()).unwrap_or(0);
    let value: *const u32 = &most;
    // SAFETY: the kernel reads `size` bytes of a number. Refused, the socket buffers as before.
    unsafe {
        libc::setsockopt(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, value.cast(), size);
    }
}

/// Moves at most `most` bytes between a socket and a pipe, without copying; `more`: the end of the stream follows. SIGPIPE
/// is the process's to ignore, as Rust's and Python's runtimes do: the call has no flag for it.
pub fn splice(from: &OwnedFd, to: &OwnedFd, most: usize, more: bool) -> Outcome {
    let flags = libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MOVE | if more { libc::SPLICE_F_MORE } else { 0 };
    let none = std::ptr::null_mut();
    loop {
        // SAFETY: no memory is passed.
        let result = unsafe { libc::splice(from.as_raw_fd(), none, to.as_raw_fd(), none, most, flags) };
        match outcome(result) {
            Outcome::Again if io::Error::last_os_error().raw_os_error() == Some(libc::EINTR) => {}
            other => return other,
        }
    }
}

/// Closes the sending half. An error means that the connection is gone, which reading tells.
pub fn shutdown_write(fd: &OwnedFd) {
    // SAFETY: no memory is passed.
    unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_WR) };
}

/// Takes what is unread, and lets nothing more come.
pub fn discard_unread(fd: &OwnedFd) {
    // SAFETY: no memory is passed.
    unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_RD) };
    let mut scrap = [0; 4096];
    while matches!(receive(fd, &mut scrap), Outcome::Bytes(1..)) {}
}

/// Breaks a TCP connection: the peer sees a reset, and what was not sent is gone. Does not depend on being the last
/// to hold the socket, as closing with SO_LINGER 0 would: the application's hidden duplicate may live on.
pub fn reset(fd: &OwnedFd) {
    // SAFETY: sockaddr of all zeroes is AF_UNSPEC, of the length that is passed.
    unsafe {
        let address: libc::sockaddr = std::mem::zeroed();
        libc::connect(fd.as_raw_fd(), &raw const address, socklen::<libc::sockaddr>());
    }
}

/// Leaves the error that ended a connection for the application's shim to tell: see `modnet_abi::fault`.
pub fn leave_error(fd: &OwnedFd, errno: i32) {
    let timeout = libc::timeval { tv_sec: modnet_abi::fault::seconds(errno), tv_usec: 0 };
    let at = (&raw const timeout).cast();
    // SAFETY: a timeval, of the length that is passed, is readable.
    unsafe {
        let length = socklen::<libc::timeval>();
        libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_SNDTIMEO, at, length);
    }
}

/// Tells the next module that the close which follows is a reset. A pair has no such thing, so the socket is given a name, for
/// which the other end can still be asked after the close. *(An out-of-band byte is lost where the other end reads on: a
/// read that begins at it takes it away, and the poller tells nothing.)*
pub fn announce_reset(fd: &OwnedFd) {
    let cookie = cookie(fd).to_ne_bytes();
    let (mut name, family) = (no_name(), libc::AF_UNIX as libc::sa_family_t);
    name.sun_family = family;
    let bytes = fault::RESET.iter().chain(&cookie);
    let length = size_of_val(&family) + fault::RESET.len() + cookie.len();
    for (to, byte) in name.sun_path.iter_mut().zip(bytes) {
        *to = *byte as libc::c_char;
    }
    // SAFETY: a name of the length that is passed is readable.
    unsafe { libc::bind(fd.as_raw_fd(), (&raw const name).cast(), length as libc::socklen_t) };
}

/// Of a pair whose other end is closed: whether [`announce_reset`] came before. (A shim gives other names.)
pub fn was_reset(fd: &OwnedFd) -> bool {
    let mut name = no_name();
    let mut length = socklen::<libc::sockaddr_un>();
    // SAFETY: `name` is as large as `length` says.
    let result = unsafe { libc::getpeername(fd.as_raw_fd(), (&raw mut name).cast(), &raw mut length) };
    result == 0 && name.sun_path.iter().zip(&fault::RESET).all(|(is, should)| *is as u8 == *should)
}

fn no_name() -> libc::sockaddr_un {
    // SAFETY: integers.
    unsafe { std::mem::zeroed() }
}

/// SO_COOKIE, which no other socket has; 0 where that cannot be told.
fn cookie(fd: &OwnedFd) -> u64 {
    let (mut cookie, mut length) = (0u64, socklen::<u64>());
    let at = (&raw mut cookie).cast();
    // SAFETY: `cookie` is as large as `length` says.
    unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_COOKIE, at, &raw mut length) };
    cookie
}

/// Bytes that were received and not read; None where that cannot be told.
#[must_use]
pub fn unread(fd: BorrowedFd<'_>) -> Option<usize> {
    count(fd, libc::FIONREAD)
}

/// Of a pair: what was written and not read at the other end, at least 1 if anything was; None where that cannot be told.
#[must_use]
pub fn unsent(fd: BorrowedFd<'_>) -> Option<usize> {
    count(fd, libc::TIOCOUTQ)
}

fn count(fd: BorrowedFd<'_>, request: libc::Ioctl) -> Option<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: both requests write one int.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request, &raw mut count) };
    usize::try_from(count).ok().filter(|_| result == 0)
}

/// Whether both halves are closed.
pub fn has_hung_up(fd: BorrowedFd<'_>) -> bool {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: 0, revents: 0 };
    // SAFETY: one whole pollfd; the call does not wait.
    unsafe { libc::poll(&raw mut poll, 1, 0) == 1 && poll.revents & libc::POLLHUP != 0 }
}

/// What SO_LINGER makes of a close: it waits for so many seconds; 0: it is a reset; None: neither.
#[must_use]
pub fn linger(fd: &OwnedFd) -> Option<i32> {
    let mut linger = libc::linger { l_onoff: 0, l_linger: 0 };
    let mut length = socklen::<libc::linger>();
    // SAFETY: `linger` is as large as `length` says.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw mut linger).cast(),
            &raw mut length,
        )
    };
    (result == 0 && linger.l_onoff != 0).then_some(linger.l_linger)
}

/// A close does not wait from now on: the kernel sends what is unsent, as it does behind a close that has waited in vain.
pub fn set_no_linger(fd: &OwnedFd) {
    let off = libc::linger { l_onoff: 0, l_linger: 0 };
    let at = (&raw const off).cast();
    // SAFETY: a linger, of the length that is passed, is readable.
    unsafe {
        let length = socklen::<libc::linger>();
        libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, at, length);
    }
}

/// Asks for room for many messages, as the shim does (the kernel gives what `net.core.wmem_max` allows): a burst fits.
pub fn widen(fd: &OwnedFd) {
    let bytes: libc::c_int = 512 << 10;
    // SAFETY: an int, of the length that is passed, is readable.
    unsafe {
        let length = socklen::<libc::c_int>();
        let at = (&raw const bytes).cast();
        libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_SNDBUF, at, length);
    }
}

/// A pair of connected intermediate sockets.
///
/// # Errors
/// EMFILE, ENFILE, ENOMEM.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: `fds` has room for two descriptors, which are ours when the call succeeds.
    unsafe {
        if libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok((OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])))
    }
}

/// Whether a socket has a peer.
#[must_use]
pub fn is_connected(fd: BorrowedFd<'_>) -> bool {
    let mut length = 0;
    // SAFETY: no byte is written.
    unsafe { libc::getpeername(fd.as_raw_fd(), (&raw mut length).cast(), &raw mut length) == 0 }
}

/// Sends whatever is written at once.
pub fn set_nodelay(fd: BorrowedFd<'_>) {
    let on: libc::c_int = 1;
    // SAFETY: an int, of the length that is passed, is readable.
    unsafe {
        let length = socklen::<libc::c_int>();
        let at = (&raw const on).cast();
        libc::setsockopt(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NODELAY, at, length);
    }
}

/// The network's address of a socket; None for a pair, or where the connection is gone.
#[must_use]
pub fn peer(fd: BorrowedFd<'_>) -> Option<SocketAddr> {
    name(fd, libc::getpeername)
}

/// The own address of a socket.
#[must_use]
pub fn local(fd: BorrowedFd<'_>) -> Option<SocketAddr> {
    name(fd, libc::getsockname)
}

type Ask = unsafe extern "C" fn(i32, *mut libc::sockaddr, *mut libc::socklen_t) -> i32;

fn name(fd: BorrowedFd<'_>, ask: Ask) -> Option<SocketAddr> {
    // SAFETY: zeroes are a valid sockaddr_storage; `length` is its size; the family says which struct was filled.
    unsafe {
        let mut storage: libc::sockaddr_storage = std::mem::zeroed();
        let mut length = socklen::<libc::sockaddr_storage>();
        if ask(fd.as_raw_fd(), (&raw mut storage).cast(), &raw mut length) < 0 {
            return None;
        }
        match i32::from(storage.ss_family) {
            libc::AF_INET => {
                let v4 = *(&raw const storage).cast::<libc::sockaddr_in>();
                let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
                Some(SocketAddr::new(IpAddr::V4(ip), u16::from_be(v4.sin_port)))
            }
            libc::AF_INET6 => {
                let v6 = *(&raw const storage).cast::<libc::sockaddr_in6>();
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                Some(SocketAddr::new(IpAddr::V6(ip), u16::from_be(v6.sin6_port)))
            }
            _ => None,
        }
    }
}

/// Whether a socket is TCP (else it is a pair to the next module).
#[must_use]
pub fn is_tcp(fd: &OwnedFd) -> bool {
    let mut domain: libc::c_int = 0;
    let mut length = socklen::<libc::c_int>();
    // SAFETY: `domain` is as large as `length` says.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_DOMAIN,
            (&raw mut domain).cast(),
            &raw mut length,
        )
    };
    result == 0 && domain != libc::AF_UNIX
}

#[allow(clippy::cast_possible_truncation)] // small structs
const fn socklen<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}
