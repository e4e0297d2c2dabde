//! Messages to another module's steal queue.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use modnet_abi::name::pack;
use modnet_abi::record::MAX_CHAIN;
use modnet_abi::steal::{
    Entry, Hello, Yielded, ENTRY_BYTES, HELLO, HELLO_BYTES, HELLO_FAIL_CLOSED, MAX_FDS, NO_SLOT, POOLED,
    STEAL_VERSION, YIELD, YIELD_BYTES,
};

use super::towards::Place;
use super::Stolen;
use crate::hooks::Origin;

/// Says who is there. `pool`: the memory and the bell of a pool that is offered.
///
/// # Errors
/// What the system says: EPIPE and its like where nobody is there any more.
pub fn greet(fd: &OwnedFd, origin: &Origin, position: usize, pool: Option<[RawFd; 2]>) -> io::Result<()> {
    let mut hello = Hello {
        version: STEAL_VERSION,
        flags: if origin.fail_closed { HELLO_FAIL_CLOSED } else { 0 }
            | if pool.is_some() { POOLED } else { 0 },
        record: origin.record,
        pid: origin.application,
        position: index(position),
        length: index(origin.chain.len()),
        until: index(origin.until),
        token: origin.token,
        chain: [[0; 32]; MAX_CHAIN],
    };
    for (slot, name) in hello.chain.iter_mut().zip(&origin.chain) {
        *slot = pack(name.as_bytes()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    }
    let mut message = [0u8; HELLO_BYTES];
    message[..ENTRY_BYTES].copy_from_slice(&entry_bytes(Entry { slot: NO_SLOT, kind: HELLO }));
    // SAFETY: a Hello is integers without padding, `message` has room for it after the entry.
    unsafe { message[ENTRY_BYTES..].as_mut_ptr().cast::<Hello>().write_unaligned(hello) };
    transmit(fd, &message, pool.as_ref().map_or(&[], |fds| fds))
}

#[allow(clippy::cast_possible_truncation)] // at most MAX_CHAIN
fn index(n: usize) -> u32 {
    n as u32
}

/// Sends flows, each by its place: one message.
///
/// # Errors
/// As [`greet`]; EAGAIN where the queue is full. Then nothing was sent.
pub fn send(fd: &OwnedFd, flows: &[Stolen], places: &[Place]) -> io::Result<()> {
    let message: Vec<u8> = places.iter().flat_map(|place| entry_bytes(place.entry())).collect();
    let mut fds: Vec<RawFd> = Vec::with_capacity(2 * flows.len());
    for (flow, place) in flows.iter().zip(places) {
        fds.extend(place.far());
        fds.push(flow.right.as_raw_fd());
    }
    transmit(fd, &message, &fds)
}

/// Sends one yielded flow: left, right, and what else `said` says comes along.
///
/// # Errors
/// As [`send`].
pub fn send_yielded(fd: &OwnedFd, said: &Yielded, fds: &[RawFd]) -> io::Result<()> {
    let mut message = [0u8; YIELD_BYTES];
    message[..ENTRY_BYTES].copy_from_slice(&entry_bytes(Entry { slot: NO_SLOT, kind: YIELD }));
    // SAFETY: a Yielded is integers without padding, `message` has room for it after the entry.
    unsafe { message[ENTRY_BYTES..].as_mut_ptr().cast::<Yielded>().write_unaligned(*said) };
    transmit(fd, &message, fds)
}

fn entry_bytes(entry: Entry) -> [u8; ENTRY_BYTES] {
    let mut bytes = [0; ENTRY_BYTES];
    bytes[..4].copy_from_slice(&entry.slot.to_ne_bytes());
    bytes[4..].copy_from_slice(&entry.kind.to_ne_bytes());
    bytes
}

/// One message with descriptors; all of it or an error.
fn transmit(fd: &OwnedFd, bytes: &[u8], fds: &[RawFd]) -> io::Result<()> {
    let mut control = [0u64; (MAX_FDS * 4 + 64) / 8];
    let mut vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: zeroes are a valid msghdr.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    if !fds.is_empty() {
        let length = u32::try_from(mem::size_of_val(fds)).expect("at most MAX_FDS");
        header.msg_control = control.as_mut_ptr().cast();
        // SAFETY: `control` has room for CMSG_SPACE(MAX_FDS * 4), and `fds` is at most MAX_FDS long.
        unsafe {
            header.msg_controllen = libc::CMSG_SPACE(length) as _;
            let first = libc::CMSG_FIRSTHDR(&raw const header);
            (*first).cmsg_level = libc::SOL_SOCKET;
            (*first).cmsg_type = libc::SCM_RIGHTS;
            (*first).cmsg_len = libc::CMSG_LEN(length) as _;
            std::ptr::copy_nonoverlapping(fds.as_ptr().cast::<u8>(), libc::CMSG_DATA(first), length as usize);
        }
    }
    // SAFETY: the header points to buffers that live through the call.
    let sent =
        unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
