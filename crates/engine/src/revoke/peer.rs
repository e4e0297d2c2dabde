//! The other end of a pair, by its inode: what the kernel tells of UNIX sockets (sock_diag).
//!
//! One question a yank, 5 µs. Rejected: a number for each flow in the steal queue's messages, which every flow would pay for.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::PathBuf;

use crate::error::{Error, Result};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SHOW_PEER: u32 = 4;
const PEER: u16 = 2;
const ANY_COOKIE: u32 = u32::MAX;

#[repr(C)]
struct Question {
    header: libc::nlmsghdr,
    family: u8,
    protocol: u8,
    pad: u16,
    states: u32,
    ino: u32,
    show: u32,
    cookie: [u32; 2],
}

/// Bytes of `struct unix_diag_msg`.
const ANSWER: usize = 16;

/// The inode of a socket.
///
/// # Errors
/// EBADF; ENOTSOCK.
pub fn inode(fd: BorrowedFd<'_>) -> Result<u32> {
    // SAFETY: zeroes are a value of stat, which the call fills.
    let stat = unsafe {
        let mut stat: libc::stat = zeroed();
        if libc::fstat(fd.as_raw_fd(), &raw mut stat) < 0 {
            return Err(Error::last("cannot look at the socket"));
        }
        stat
    };
    if stat.st_mode & libc::S_IFMT != libc::S_IFSOCK {
        return Err(Error::new(libc::ENOTSOCK, "not a socket"));
    }
    // Numbers of sockfs have 32 bits.
    u32::try_from(stat.st_ino).map_err(|_| Error::new(libc::EOVERFLOW, "a socket's inode beyond 32 bits"))
}

/// The inode of the other end of the pair whose one end is `ino`.
///
/// # Errors
/// ENOTCONN: it has none any more, or it is no UNIX socket; EOPNOTSUPP: the kernel does not tell.
pub fn of(ino: u32) -> Result<u32> {
    let system = |e: io::Error| match e.raw_os_error() {
        Some(libc::ENOENT) => Error::new(libc::ENOTCONN, "the flow is over"),
        Some(libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT) => Error::new(
            libc::EOPNOTSUPP,
            "the kernel does not tell the other end of a UNIX socket: load the module unix_diag",
        ),
        _ => Error::system("cannot ask for the other end of a UNIX socket", &e),
    };
    ask(ino).map_err(system)?.ok_or_else(|| Error::new(libc::ENOTCONN, "the flow is over"))
}

/// The inodes of all sockets of this process; None where /proc does not tell.
#[must_use]
pub fn own() -> Option<HashSet<u32>> {
    let links =
        fs::read_dir("/proc/self/fd").ok()?.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    let number =
        |link: PathBuf| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u32>().ok();
    Some(links.filter_map(number).collect())
}

fn ask(ino: u32) -> io::Result<Option<u32>> {
    // SAFETY: no memory is passed; the descriptor is ours when the call succeeds.
    let link = unsafe {
        let fd = libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_SOCK_DIAG);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd)
    };
    #[allow(clippy::cast_possible_truncation)] // 36 bytes
    let length = size_of::<Question>() as u32;
    let question = Question {
        header: libc::nlmsghdr {
            nlmsg_len: length,
            nlmsg_type: SOCK_DIAG_BY_FAMILY,
            nlmsg_flags: libc::NLM_F_REQUEST as u16,
            nlmsg_seq: 1,
            nlmsg_pid: 0,
        },
        family: libc::AF_UNIX as u8,
        protocol: 0,
        pad: 0,
        states: u32::MAX,
        ino,
        show: SHOW_PEER,
        cookie: [ANY_COOKIE; 2],
    };
    let mut answer = [0u8; 512];
    // SAFETY: the question is readable and the answer writable for their lengths.
    let got = unsafe {
        if libc::send(link.as_raw_fd(), (&raw const question).cast(), size_of::<Question>(), 0) < 0 {
            return Err(io::Error::last_os_error());
        }
        libc::recv(link.as_raw_fd(), answer.as_mut_ptr().cast(), answer.len(), 0)
    };
    let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
    parse(&answer[..got])
}

fn parse(answer: &[u8]) -> io::Result<Option<u32>> {
    let word = |at: usize| Some(u32::from_ne_bytes(answer.get(at..at + 4)?.try_into().ok()?));
    let half = |at: usize| Some(u16::from_ne_bytes(answer.get(at..at + 2)?.try_into().ok()?));
    let nonsense = || io::Error::from_raw_os_error(libc::EPROTO);
    let header = size_of::<libc::nlmsghdr>();
    if half(4).ok_or_else(nonsense)? == libc::NLMSG_ERROR as u16 {
        let errno = word(header).ok_or_else(nonsense)?.cast_signed();
        return Err(io::Error::from_raw_os_error(-errno));
    }
    let mut at = header + ANSWER;
    while let (Some(length), Some(kind)) = (half(at), half(at + 2)) {
        if kind == PEER {
            return Ok(word(at + 4).filter(|peer| *peer != 0));
        }
        if length < 4 {
            return Err(nonsense());
        }
        at += usize::from(length).next_multiple_of(4);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_two_ends_of_a_pair_name_each_other() {
        let (one, other) = UnixStream::pair().unwrap();
        let inodes = (inode(one.as_fd()).unwrap(), inode(other.as_fd()).unwrap());
        assert_ne!(inodes.0, inodes.1);
        assert_eq!((of(inodes.0), of(inodes.1)), (Ok(inodes.1), Ok(inodes.0)));
    }

    #[test]
    fn an_end_whose_other_is_closed_has_none() {
        let (one, other) = UnixStream::pair().unwrap();
        let near = inode(one.as_fd()).unwrap();
        drop(other);
        assert_eq!(of(near).unwrap_err().errno, libc::ENOTCONN);
        drop(one);
        assert_eq!(of(near).unwrap_err().errno, libc::ENOTCONN);
    }

    #[test]
    fn what_is_no_socket_is_told_apart() {
        let file = std::fs::File::open("/proc/self/stat").unwrap();
        assert_eq!(inode(file.as_fd()).unwrap_err().errno, libc::ENOTSOCK);
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(of(inode(tcp.as_fd()).unwrap()).unwrap_err().errno, libc::ENOTCONN);
    }
}
