//! The way to the next module of a chain: one connection to its steal queue, kept as long as the client's own.
//!
//! A module that cannot be reached is passed over and counted, and the one after it is tried; where none is left,
//! this module serves the real socket itself (or resets the flow, where the chain says fail closed). The application
//! pays for one module however long its chain is.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use modnet_abi::name::pack;
use modnet_abi::record::MAX_CHAIN;
use modnet_abi::steal::{
    Entry, Hello, ENTRY_BYTES, HELLO, HELLO_BYTES, HELLO_FAIL_CLOSED, MAX_ENTRIES, NEW, NO_SLOT,
    STEAL_VERSION,
};

use super::{Receiver, Stolen};
use crate::hooks::Origin;
use crate::registry::connect_queue;
use crate::sock;
use crate::stats::Stats;

/// A connection to a later module of the chain, made when it is first needed.
#[derive(Debug, Default)]
pub struct Link {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    fd: OwnedFd,
    /// The receiver's place in the chain.
    position: usize,
    origin: std::sync::Arc<Origin>,
}

impl Link {
    /// Passes on the network's sides of `flows[first..]` (all of one client), which get a pair to the next module
    /// instead. Flows that must not live are removed.
    pub fn pass_on(&mut self, receiver: &Receiver, cpu: u32, flows: &mut Vec<Stolen>, first: usize) {
        let mut at = first;
        while at < flows.len() {
            let origin = std::sync::Arc::clone(&flows[at].origin);
            // A later HELLO in the same batch changes the chain for the flows after it.
            let same =
                flows[at..].iter().take_while(|flow| std::sync::Arc::ptr_eq(&flow.origin, &origin)).count();
            let count = same.min(MAX_ENTRIES);
            let goes_on = origin.position + 1 < origin.chain.len();
            let settled = !goes_on || self.hand_over(receiver, cpu, &origin, &mut flows[at..at + count]);
            if !settled && origin.fail_closed {
                for flow in flows.drain(at..at + count) {
                    sock::reset(&flow.right);
                }
                Stats::add(&receiver.stats.refused, count as u64);
                continue;
            }
            at += count;
        }
    }

    /// Whether a later module of the chain has the flows now.
    fn hand_over(
        &mut self,
        receiver: &Receiver,
        cpu: u32,
        origin: &std::sync::Arc<Origin>,
        flows: &mut [Stolen],
    ) -> bool {
        // Another chain, or a module was passed over: it may be back. (A refused connect costs 3 µs a batch.)
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.origin != *origin || open.position != origin.position + 1)
        {
            self.open = None;
        }
        let mut fresh = self.open.is_none();
        let mut position = origin.position + 1;
        let pairs: io::Result<Vec<_>> = flows.iter().map(|_| sock::pair()).collect();
        let Ok(pairs) = pairs else {
            Stats::add(&receiver.stats.no_descriptor, flows.len() as u64);
            return false;
        };
        while position < origin.chain.len() {
            if self.open.is_none() {
                match connect_queue(&receiver.runtime, &origin.chain[position], cpu).and_then(|fd| {
                    greet(&fd, origin, position)?;
                    Ok(fd)
                }) {
                    Ok(fd) => self.open = Some(Open { fd, position, origin: std::sync::Arc::clone(origin) }),
                    Err(_) => {
                        Stats::add(&receiver.stats.skipped, flows.len() as u64);
                        position += 1;
                        continue;
                    }
                }
            }
            let Some(open) = &self.open else { return false };
            match send(&open.fd, flows, &pairs) {
                Ok(()) => {
                    for (flow, (near, _far)) in flows.iter_mut().zip(pairs) {
                        flow.right = near;
                        flow.right_is_tcp = false;
                    }
                    return true;
                }
                Err(e)
                    if matches!(e.raw_os_error(), Some(libc::EPIPE | libc::ECONNRESET | libc::ENOTCONN)) =>
                {
                    // Gone; perhaps there is a new one of that name.
                    self.open = None;
                    if fresh {
                        Stats::add(&receiver.stats.skipped, flows.len() as u64);
                        position += 1;
                    }
                    fresh = true;
                }
                Err(_) => {
                    Stats::add(&receiver.stats.queue_full, flows.len() as u64);
                    return false;
                }
            }
        }
        false
    }
}

fn greet(fd: &OwnedFd, origin: &Origin, position: usize) -> io::Result<()> {
    let mut hello = Hello {
        version: STEAL_VERSION,
        flags: if origin.fail_closed { HELLO_FAIL_CLOSED } else { 0 },
        record: origin.record,
        pid: origin.application,
        position: index(position),
        length: index(origin.chain.len()),
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
    transmit(fd, &message, &[])
}

#[allow(clippy::cast_possible_truncation)] // at most MAX_CHAIN
fn index(n: usize) -> u32 {
    n as u32
}

fn send(fd: &OwnedFd, flows: &[Stolen], pairs: &[(OwnedFd, OwnedFd)]) -> io::Result<()> {
    let message = entry_bytes(Entry { slot: NO_SLOT, kind: NEW }).repeat(flows.len());
    let fds: Vec<RawFd> = flows
        .iter()
        .zip(pairs)
        .flat_map(|(flow, (_, far))| [far.as_raw_fd(), flow.right.as_raw_fd()])
        .collect();
    transmit(fd, &message, &fds)
}

fn entry_bytes(entry: Entry) -> [u8; ENTRY_BYTES] {
    let mut bytes = [0; ENTRY_BYTES];
    bytes[..4].copy_from_slice(&entry.slot.to_ne_bytes());
    bytes[4..].copy_from_slice(&entry.kind.to_ne_bytes());
    bytes
}

/// One message with descriptors; all of it or an error.
fn transmit(fd: &OwnedFd, bytes: &[u8], fds: &[RawFd]) -> io::Result<()> {
    let mut control = [0u64; (modnet_abi::steal::MAX_FDS * 4 + 64) / 8];
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
