//! The system calls on a flow's sockets: receive, send, end, reset. Nobody else makes them.
//!
//! Rules: never blocks (MSG_DONTWAIT, whatever the descriptor says), never raises SIGPIPE.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

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
pub fn receive(fd: &OwnedFd, into: &mut [u8]) -> Outcome {
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

/// Sends pieces, as [`send`].
pub fn send_pieces(fd: &OwnedFd, pieces: &[IoSlice<'_>], more: bool) -> Outcome {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | if more { libc::MSG_MORE } else { 0 };
    // SAFETY: zeroes are a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    // The kernel does not write to what is sent; IoSlice has the layout of iovec.
    message.msg_iov = pieces.as_ptr().cast_mut().cast();
    message.msg_iovlen = pieces.len();
    loop {
        // SAFETY: the pieces are readable for their lengths, and live through the call.
        let result = unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, flags) };
        match outcome(result) {
            Outcome::Again if io::Error::last_os_error().raw_os_error() == Some(libc::EINTR) => {}
            other => return other,
        }
    }
}

/// The poller tells of room only where less than `low` bytes are unsent. The kernel compares with twice what is unsent.
pub fn set_low_water(fd: &OwnedFd, low: u32) {
    let value = low.saturating_mul(2);
    // SAFETY: an int, of the length that is passed, is readable. Where it is refused, timers tell.
    unsafe {
        let length = socklen::<u32>();
        let at = (&raw const value).cast();
        libc::setsockopt(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, at, length);
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

/// Tells the next module that the close which follows is a reset: a pair has no such thing, so an out-of-band byte says
/// it (no other is ever on a pair: the shim refuses MSG_OOB), which the poller sees as a failure of that module's left.
/// Where the pair is full it gets more room first: nothing else comes after. Where the kernel was built without
/// it, the next module sees an end in order.
pub fn announce_reset(fd: &OwnedFd) {
    let flags = libc::MSG_OOB | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: one byte is readable.
    let send = || unsafe { libc::send(fd.as_raw_fd(), [0u8].as_ptr().cast(), 1, flags) };
    if send() < 0 {
        // The kernel takes the largest that it allows (net.core.wmem_max), and doubles it.
        let most: libc::c_int = libc::c_int::MAX / 2;
        // SAFETY: an int, of the length that is passed, is readable.
        unsafe {
            let length = socklen::<libc::c_int>();
            let at = (&raw const most).cast();
            libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_SNDBUF, at, length);
        }
        send();
    }
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

/// Whether a close of this socket is a reset: SO_LINGER on, with no time.
#[must_use]
pub fn close_is_reset(fd: &OwnedFd) -> bool {
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
    result == 0 && linger.l_onoff != 0 && linger.l_linger == 0
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
