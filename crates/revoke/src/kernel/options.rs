//! The owner of system calls on the socket that is yanked from.
//!
//! Rules: one call each, no decision; errors are the system's.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `linux/tcp.h`: names of socket options that libc does not have on every target.
#[allow(missing_docs)]
pub mod name {
    pub const MAXSEG: i32 = 2;
    pub const WINDOW_CLAMP: i32 = 10;
    pub const INFO: i32 = 11;
    pub const CONGESTION: i32 = 13;
    pub const REPAIR: i32 = 19;
    pub const REPAIR_QUEUE: i32 = 20;
    pub const QUEUE_SEQ: i32 = 21;
    pub const REPAIR_OPTIONS: i32 = 22;
    pub const TIMESTAMP: i32 = 24;
    pub const REPAIR_WINDOW: i32 = 29;
    pub const ULP: i32 = 31;
    pub const AO_INFO: i32 = 40;
    pub const RTO_MAX_MS: i32 = 44;
    pub const RTO_MIN_US: i32 = 45;
    pub const DELACK_MAX_US: i32 = 46;
    /// Of `SOL_SOCKET`.
    pub const SO_BUF_LOCK: i32 = 72;
    /// Of `SOL_SOCKET`.
    pub const SO_NETNS_COOKIE: i32 = 71;
}

/// Which queue `TCP_REPAIR_QUEUE` selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Queue {
    /// None.
    No = 0,
    /// What was received and not read.
    Receive = 1,
    /// What was written and not acknowledged.
    Send = 2,
}

/// How `TCP_REPAIR` is left or entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Repair {
    /// Enter.
    On = 1,
    /// Leave, and send a window probe: the answer brings what was missed.
    Off = 0,
    /// Leave, and send nothing.
    Silently = -1,
}

/// `struct tcp_repair_window`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// The segment that told `snd_wnd`.
    pub snd_wl1: u32,
    /// What the peer takes.
    pub snd_wnd: u32,
    /// The most it ever took.
    pub max_window: u32,
    /// What we take.
    pub rcv_wnd: u32,
    /// Since where.
    pub rcv_wup: u32,
}

/// `struct tcp_repair_opt`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Negotiated {
    /// The option's number in a SYN.
    pub code: u32,
    /// Its value.
    pub value: u32,
}

/// Types that are the same as their bytes.
///
/// # Safety
/// No padding, and every pattern of bits is a value.
pub unsafe trait Plain: Copy {}
// SAFETY: integers.
unsafe impl Plain for i32 {}
// SAFETY: integers.
unsafe impl Plain for u32 {}
// SAFETY: integers.
unsafe impl Plain for u64 {}
// SAFETY: bytes.
unsafe impl<const N: usize> Plain for [u8; N] {}
// SAFETY: five u32.
unsafe impl Plain for Window {}
// SAFETY: two u32.
unsafe impl Plain for Negotiated {}

fn check(answer: i32) -> io::Result<()> {
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Reads an option into `value`; answers how many bytes the kernel gave.
///
/// # Errors
/// The system's.
pub fn get<T: Plain>(fd: BorrowedFd<'_>, level: i32, name: i32, value: &mut T) -> io::Result<usize> {
    let mut length = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is `length` bytes, any of which the kernel may set.
    check(unsafe {
        libc::getsockopt(fd.as_raw_fd(), level, name, std::ptr::from_mut(value).cast(), &raw mut length)
    })?;
    Ok(length as usize)
}

/// An option of four bytes.
///
/// # Errors
/// The system's.
pub fn get_u32(fd: BorrowedFd<'_>, level: i32, name: i32) -> io::Result<u32> {
    let mut value = 0u32;
    get(fd, level, name, &mut value).map(|_| value)
}

/// One of TCP's.
///
/// # Errors
/// The system's.
pub fn tcp(fd: BorrowedFd<'_>, name: i32) -> io::Result<u32> {
    get_u32(fd, libc::IPPROTO_TCP, name)
}

/// One of `SOL_SOCKET`.
///
/// # Errors
/// The system's.
pub fn socket(fd: BorrowedFd<'_>, name: i32) -> io::Result<u32> {
    get_u32(fd, libc::SOL_SOCKET, name)
}

/// Sets an option from a slice.
///
/// # Errors
/// The system's.
pub fn set<T: Plain>(fd: BorrowedFd<'_>, level: i32, name: i32, value: &[T]) -> io::Result<()> {
    let length = size_of_val(value) as libc::socklen_t;
    // SAFETY: `value` is `length` bytes and lives through the call.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, value.as_ptr().cast(), length) })
}

/// Sets one of TCP's.
///
/// # Errors
/// The system's.
pub fn set_tcp(fd: BorrowedFd<'_>, name: i32, value: u32) -> io::Result<()> {
    set(fd, libc::IPPROTO_TCP, name, &[value])
}

/// Sets one of `SOL_SOCKET`.
///
/// # Errors
/// The system's.
pub fn set_socket(fd: BorrowedFd<'_>, name: i32, value: u32) -> io::Result<()> {
    set(fd, libc::SOL_SOCKET, name, &[value])
}

/// Enters or leaves repair.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN, or in a state in which there is nothing to repair.
pub fn repair(fd: BorrowedFd<'_>, how: Repair) -> io::Result<()> {
    set(fd, libc::IPPROTO_TCP, name::REPAIR, &[how as i32])
}

/// Selects what reads, writes and `QUEUE_SEQ` mean in repair.
///
/// # Errors
/// EPERM outside of repair.
pub fn select(fd: BorrowedFd<'_>, queue: Queue) -> io::Result<()> {
    set(fd, libc::IPPROTO_TCP, name::REPAIR_QUEUE, &[queue as i32])
}

/// Sends and receive windows.
///
/// # Errors
/// EPERM outside of repair.
pub fn window(fd: BorrowedFd<'_>) -> io::Result<Window> {
    let mut found = Window::default();
    get(fd, libc::IPPROTO_TCP, name::REPAIR_WINDOW, &mut found).map(|_| found)
}

/// Sets them.
///
/// # Errors
/// EPERM outside of repair, EINVAL where they contradict the sequence numbers.
pub fn set_window(fd: BorrowedFd<'_>, window: Window) -> io::Result<()> {
    set(fd, libc::IPPROTO_TCP, name::REPAIR_WINDOW, &[window])
}

/// Copies the selected queue; answers how much it was. The send queue comes whole or not at all (EFAULT).
///
/// # Errors
/// The system's; an empty queue is none.
pub fn peek(fd: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: `into` is writable for its length.
    let got = unsafe { libc::recv(fd.as_raw_fd(), into.as_mut_ptr().cast(), into.len(), flags) };
    match usize::try_from(got) {
        Ok(got) => Ok(got),
        Err(_) => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            error => Err(error),
        },
    }
}

/// Writes some of `bytes` without waiting and without a signal.
///
/// # Errors
/// EAGAIN where the buffer is full, or the system's.
pub fn send(fd: BorrowedFd<'_>, bytes: &[u8], flags: i32) -> io::Result<usize> {
    let flags = flags | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: `bytes` is readable for its length.
    let sent = unsafe { libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Bytes in a queue: `FIONREAD` or `TIOCOUTQ`.
///
/// # Errors
/// The system's.
pub fn queued(fd: BorrowedFd<'_>, which: libc::Ioctl) -> io::Result<usize> {
    let mut bytes: i32 = 0;
    // SAFETY: both write one int.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), which, &raw mut bytes) })?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// What `poll` finds of `events` at this moment.
///
/// # Errors
/// The system's.
pub fn poll(fd: BorrowedFd<'_>, events: i16) -> io::Result<i16> {
    let mut one = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    // SAFETY: one entry, which lives through the call.
    check(unsafe { libc::poll(&raw mut one, 1, 0) })?;
    Ok(one.revents)
}

/// An address of a socket, as the kernel has it.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    bytes: [u8; 28],
    length: u32,
}

impl Address {
    /// Nothing yet.
    pub const EMPTY: Self = Self { bytes: [0; 28], length: 28 };

    /// Of one in the standard library's words.
    #[must_use]
    pub fn of(address: SocketAddr) -> Self {
        let mut made = Self::EMPTY;
        made.bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        let family = match address {
            SocketAddr::V4(address) => {
                made.bytes[4..8].copy_from_slice(&address.ip().octets());
                made.length = 16;
                libc::AF_INET
            }
            SocketAddr::V6(address) => {
                made.bytes[8..24].copy_from_slice(&address.ip().octets());
                made.bytes[24..28].copy_from_slice(&address.scope_id().to_ne_bytes());
                libc::AF_INET6
            }
        };
        made.bytes[..2].copy_from_slice(&(family as u16).to_ne_bytes());
        made
    }

    /// `AF_INET` or `AF_INET6`.
    #[must_use]
    pub fn family(&self) -> i32 {
        u16::from_ne_bytes([self.bytes[0], self.bytes[1]]).into()
    }

    /// In network order.
    #[must_use]
    pub fn port(&self) -> [u8; 2] {
        [self.bytes[2], self.bytes[3]]
    }

    /// The bytes of the host: 4 or 16.
    #[must_use]
    pub fn host(&self) -> &[u8] {
        if self.family() == libc::AF_INET {
            &self.bytes[4..8]
        } else {
            &self.bytes[8..24]
        }
    }

    /// The same host, whatever port.
    #[must_use]
    pub fn without_port(mut self) -> Self {
        self.bytes[2..4].fill(0);
        self
    }

    /// Of a mapped one (`::ffff:1.2.3.4`), the IPv4 address; any port.
    #[must_use]
    pub fn as_ipv4(&self) -> Self {
        let mut made = Self { bytes: [0; 28], length: 16 };
        made.bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
        let host = self.host();
        made.bytes[4..8].copy_from_slice(&host[host.len() - 4..]);
        made
    }

    fn read(
        fd: BorrowedFd<'_>,
        call: unsafe extern "C" fn(i32, *mut libc::sockaddr, *mut libc::socklen_t) -> i32,
    ) -> io::Result<Self> {
        let mut found = Self::EMPTY;
        // SAFETY: both calls write at most `length` bytes.
        check(unsafe { call(fd.as_raw_fd(), found.bytes.as_mut_ptr().cast(), &raw mut found.length) })?;
        Ok(found)
    }

    /// Our own.
    ///
    /// # Errors
    /// The system's.
    pub fn local(fd: BorrowedFd<'_>) -> io::Result<Self> {
        Self::read(fd, libc::getsockname)
    }

    /// The peer's.
    ///
    /// # Errors
    /// ENOTCONN.
    pub fn peer(fd: BorrowedFd<'_>) -> io::Result<Self> {
        Self::read(fd, libc::getpeername)
    }

    /// As system calls want it.
    #[must_use]
    pub fn raw(&self) -> (*const libc::sockaddr, libc::socklen_t) {
        (self.bytes.as_ptr().cast(), self.length)
    }
}

/// Binds.
///
/// # Errors
/// EINVAL where it is bound already.
pub fn bind(fd: BorrowedFd<'_>, to: &Address) -> io::Result<()> {
    let (at, length) = to.raw();
    // SAFETY: an address of that length.
    check(unsafe { libc::bind(fd.as_raw_fd(), at, length) })
}

/// Connects: in repair at once, with nothing sent.
///
/// # Errors
/// The system's.
pub fn connect(fd: BorrowedFd<'_>, to: &Address) -> io::Result<()> {
    let (at, length) = to.raw();
    // SAFETY: an address of that length.
    check(unsafe { libc::connect(fd.as_raw_fd(), at, length) })
}

/// Takes the connection away from the socket: queues emptied, out of the hash. In repair nothing is sent.
///
/// # Errors
/// The system's.
pub fn disconnect(fd: BorrowedFd<'_>) -> io::Result<()> {
    let none = libc::sockaddr { sa_family: libc::AF_UNSPEC as u16, sa_data: [0; 14] };
    let length = size_of_val(&none) as libc::socklen_t;
    // SAFETY: an address of that length.
    check(unsafe { libc::connect(fd.as_raw_fd(), &raw const none, length) })
}

/// `shutdown(SHUT_RD)`: sends nothing.
///
/// # Errors
/// The system's.
pub fn shut_reading(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes no pointer.
    check(unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_RD) })
}

/// The number of the socket's file, by which /proc names it.
///
/// # Errors
/// The system's.
pub fn inode(fd: BorrowedFd<'_>) -> io::Result<u64> {
    // SAFETY: a stat of zeros is valid, and the kernel fills it.
    let mut found: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `found` is a whole stat that lives through the call.
    if unsafe { libc::fstat(fd.as_raw_fd(), &raw mut found) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(found.st_ino)
}

/// The socket's number, which it keeps for life.
///
/// # Errors
/// The system's.
pub fn cookie(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut found = 0u64;
    get(fd, libc::SOL_SOCKET, libc::SO_COOKIE, &mut found).map(|_| found)
}
