//! Stolen sockets that are passed to another process (SCM_RIGHTS), as node's cluster does with every connection.
//!
//! They arrive without their hidden duplicate. So that the receiver's shim can say whose connection it is, the sender binds
//! the intermediate socket to an abstract name that holds both addresses; nothing is paid before that. Sending the real socket
//! along was rejected: a receiver without the shim would keep a descriptor that it does not know of.
//!
//! Rule: believed only as the socket's own name, which whoever passed it could have given to any socket.

use core::mem::offset_of;

use libc::{c_int, msghdr, sockaddr, socklen_t};
use modnet_abi::counter::Counter;

use crate::answer::{errno, fail};
use crate::sys::{self, Errno};
use crate::{fds, pool, record};

/// Room for either family's address: a `sockaddr_in6`.
const ADDRESS: usize = size_of::<libc::sockaddr_in6>();
const MARK: [u8; 8] = *b"\0modnet:";

/// The abstract name.
#[repr(C)]
#[derive(Clone, Copy)]
struct Name {
    family: [u8; 2],
    mark: [u8; 8],
    /// The intermediate socket's: no two names are the same.
    cookie: [u8; 8],
    own: [u8; ADDRESS],
    peer: [u8; ADDRESS],
}

const _: () = assert!(size_of::<Name>() <= size_of::<libc::sockaddr_un>());
const _: () = assert!(offset_of!(libc::sockaddr_un, sun_path) == offset_of!(Name, mark));

/// Which address.
#[derive(Clone, Copy)]
pub enum Whose {
    /// getsockname's.
    Own,
    /// getpeername's.
    Peer,
}

/// Names the stolen sockets that a message is about to pass.
///
/// # Safety
/// `message` is null or what sendmsg takes.
#[inline]
pub unsafe fn name_all(message: *const msghdr) {
    // SAFETY: the caller's.
    if let Some(message) = unsafe { message.as_ref() } {
        if message.msg_controllen != 0 && record::page().is_some() {
            // SAFETY: the caller's.
            unsafe { name_rights(message) };
        }
    }
}

/// The same for many.
///
/// # Safety
/// `messages` points at `count` headers, as sendmmsg demands.
pub unsafe fn name_all_of(messages: *const libc::mmsghdr, count: u32) {
    if messages.is_null() || record::page().is_none() {
        return;
    }
    for index in 0..count as usize {
        // SAFETY: the caller's.
        unsafe { name_all(&raw const (*messages.add(index)).msg_hdr) };
    }
}

/// # Safety
/// As [`name_all`].
#[cold]
unsafe fn name_rights(message: &msghdr) {
    // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR stay within msg_control, which the caller vouches for; the data of a header is as long as
    // it says, and is read unaligned.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while let Some(found) = header.as_ref() {
            if found.cmsg_level == libc::SOL_SOCKET && found.cmsg_type == libc::SCM_RIGHTS {
                let data = libc::CMSG_DATA(header).cast::<c_int>();
                let count = found.cmsg_len.saturating_sub(libc::CMSG_LEN(0) as usize) / size_of::<c_int>();
                for index in 0..count {
                    name(data.add(index).read_unaligned());
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
}

/// A socket that has a name keeps it.
fn name(fd: c_int) {
    let Some(hidden) = fds::stolen(fd) else { return };
    pool::unpool(fd, Counter::PairsPassed);
    let own = address(hidden, libc::SYS_getsockname);
    let (Some(own), Some(peer)) = (own, address(hidden, libc::SYS_getpeername)) else { return };
    let name = Name {
        family: (libc::AF_UNIX as u16).to_ne_bytes(),
        mark: MARK,
        cookie: fds::recorded_cookie(fd).to_ne_bytes(),
        own,
        peer,
    };
    // SAFETY: the name is read, and as long as said.
    let _ = unsafe {
        sys::call(libc::SYS_bind, [fd as usize, &raw const name as usize, size_of::<Name>(), 0, 0, 0])
    };
}

fn address(fd: c_int, call: libc::c_long) -> Option<[u8; ADDRESS]> {
    let mut address = [0u8; ADDRESS];
    let mut len = ADDRESS as socklen_t;
    // SAFETY: the kernel writes at most len bytes of address, and len; both live here.
    unsafe { sys::call(call, [fd as usize, address.as_mut_ptr() as usize, &raw mut len as usize, 0, 0, 0]) }
        .ok()?;
    Some(address)
}

/// The name of a socket that was passed.
fn named(fd: c_int) -> Option<Name> {
    record::page()?;
    let mut name =
        Name { family: [0; 2], mark: [0; 8], cookie: [0; 8], own: [0; ADDRESS], peer: [0; ADDRESS] };
    let mut len = size_of::<Name>() as socklen_t;
    // SAFETY: the kernel writes at most len bytes of name, any bytes being one, and len; both live here.
    unsafe {
        let (at, len) = (&raw mut name as usize, &raw mut len as usize);
        sys::call(libc::SYS_getsockname, [fd as usize, at, len, 0, 0, 0]).ok()?;
    }
    let ours = len as usize == size_of::<Name>() && name.mark == MARK;
    (ours && name.family == (libc::AF_UNIX as u16).to_ne_bytes()).then_some(name)
}

/// What getsockname or getpeername says, `native` being libc's: TCP's address where the socket was passed.
///
/// # Safety
/// `to` and `len` are the application's own, as getsockname demands.
pub unsafe fn address_of(
    fd: c_int,
    whose: Whose,
    to: *mut sockaddr,
    len: *mut socklen_t,
    native: impl FnOnce() -> c_int,
) -> c_int {
    // SAFETY: the caller's; the kernel writes what it was told afterwards.
    let room = unsafe { len.as_ref() }.map_or(0, |len| *len as usize);
    let result = native();
    // SAFETY: the call has succeeded, so the kernel has found both good.
    if result != 0 || room < 2 || c_int::from(unsafe { (*to).sa_family }) != libc::AF_UNIX {
        return result;
    }
    let Some(name) = named(fd) else { return result };
    let address = match whose {
        Whose::Own => name.own,
        Whose::Peer => name.peer,
    };
    let size = match c_int::from(u16::from_ne_bytes([address[0], address[1]])) {
        libc::AF_INET => size_of::<libc::sockaddr_in>(),
        _ => ADDRESS,
    };
    // SAFETY: room bytes stand at `to`.
    unsafe {
        core::ptr::copy_nonoverlapping(address.as_ptr(), to.cast::<u8>(), size.min(room));
        *len = size as socklen_t;
    }
    0
}

/// SO_DOMAIN and SO_PROTOCOL of a socket that was passed; else what the kernel gave.
pub fn kind(fd: c_int, option: c_int, kernels: c_int) -> c_int {
    match (option, named(fd)) {
        (libc::SO_DOMAIN, Some(name)) => c_int::from(u16::from_ne_bytes([name.own[0], name.own[1]])),
        (libc::SO_PROTOCOL, Some(_)) => libc::IPPROTO_TCP,
        _ => kernels,
    }
}

/// What setsockopt gave; TCP's own options of a socket that was passed are taken and have no effect.
pub fn set(fd: c_int, level: c_int, result: c_int) -> c_int {
    let network = matches!(level, libc::IPPROTO_TCP | libc::IPPROTO_IP | libc::IPPROTO_IPV6);
    if result == 0 || !network {
        return result;
    }
    let error = errno();
    if error == libc::EOPNOTSUPP && named(fd).is_some() {
        return 0;
    }
    fail(Errno(error)) as c_int
}
