//! What arrives at a steal queue, whoever sends it, and where it goes on.
//!
//! | file | holds |
//! | --- | --- |
//! | [`arriving`] | messages and HELLOs, right and wrong; no descriptor is lost |
//! | [`passing_on`] | the next module of the chain: there, dead, back, changed |
//! | here | a shim's side of a queue, by the same rules as the shim |
//!
//! Whether a descriptor leaked is seen at its peer: a socket whose other ends are all closed reads an end. Counting
//! the process's descriptors would count those of the tests beside this one.

mod arriving;
mod passing_on;

use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use modnet_abi::name::pack;
use modnet_abi::record::MAX_CHAIN;
use modnet_abi::steal::{
    Entry, Hello, Yielded, BEGIN, ENTRY_BYTES, HELLO, HELLO_BYTES, NEW, NO_SLOT, POOLED, STEAL_VERSION,
    YIELD, YIELD_BYTES,
};

use super::inbox::{Inbox, State};
use super::{Client, Left, Receiver, Stolen};
use crate::pairs::Pairs;
use crate::runtime::Runtime;

/// A HELLO for a chain, as the shim would say it to its module at `position`.
fn hello(chain: &[&str], position: u32) -> Hello {
    let mut names = [[0; 32]; MAX_CHAIN];
    for (to, name) in names.iter_mut().zip(chain) {
        *to = pack(name.as_bytes()).unwrap();
    }
    let length = u32::try_from(chain.len()).unwrap();
    Hello {
        version: STEAL_VERSION,
        flags: 0,
        record: 1,
        pid: 77,
        position,
        length,
        until: length,
        token: [7; 16],
        chain: names,
    }
}

fn hello_message(hello: &Hello) -> Vec<u8> {
    let mut message = entry(HELLO).to_vec();
    // SAFETY: a Hello is integers without padding.
    message
        .extend(unsafe { std::slice::from_raw_parts((&raw const *hello).cast::<u8>(), size_of::<Hello>()) });
    assert_eq!(message.len(), HELLO_BYTES);
    message
}

fn yield_message(said: &Yielded) -> Vec<u8> {
    let mut message = entry(YIELD).to_vec();
    message.extend(said.flags.to_ne_bytes());
    message.extend(said.reserved.to_ne_bytes());
    message.extend(said.lengths.iter().flat_map(|length| length.to_ne_bytes()));
    assert_eq!(message.len(), YIELD_BYTES);
    message
}

fn entry(kind: u32) -> [u8; ENTRY_BYTES] {
    entry_at(NO_SLOT, kind)
}

fn entry_at(slot: u32, kind: u32) -> [u8; ENTRY_BYTES] {
    let Entry { slot, kind } = Entry { slot, kind };
    let mut bytes = [0; ENTRY_BYTES];
    bytes[..4].copy_from_slice(&slot.to_ne_bytes());
    bytes[4..].copy_from_slice(&kind.to_ne_bytes());
    bytes
}

/// Sends one message with descriptors. Any number of both.
fn send(fd: &OwnedFd, bytes: &[u8], fds: &[RawFd]) {
    let mut control = [0u64; 256];
    let mut vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: zeroes are a valid msghdr.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    if !fds.is_empty() {
        let length = u32::try_from(size_of_val(fds)).unwrap();
        header.msg_control = control.as_mut_ptr().cast();
        // SAFETY: `control` has room for the 253 descriptors that the kernel lets pass at most.
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
        unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) };
    assert_eq!(usize::try_from(sent), Ok(bytes.len()), "{}", std::io::Error::last_os_error());
}

/// A connected pair of SEQPACKET sockets: the shim's, the module's.
fn connection() -> (OwnedFd, OwnedFd) {
    use std::os::fd::FromRawFd;
    let mut fds = [-1; 2];
    // SAFETY: `fds` has room for two descriptors, which are ours.
    unsafe {
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
        assert_eq!(libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()), 0);
        (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1]))
    }
}

/// Sockets to be sent away, and the peer of each by which is seen what became of it.
struct Parcel {
    sent: Vec<UnixStream>,
    kept: Vec<UnixStream>,
}

impl Parcel {
    fn new(count: usize) -> Self {
        let (sent, kept) = (0..count).map(|_| UnixStream::pair().unwrap()).unzip();
        Self { sent, kept }
    }

    fn raw(&self) -> Vec<RawFd> {
        self.sent.iter().map(AsRawFd::as_raw_fd).collect()
    }

    /// Drops the sender's own, then tells for each whether somebody else still holds it.
    fn held(&mut self) -> Vec<bool> {
        self.sent.clear();
        let is_held = |kept: &mut UnixStream| {
            kept.set_nonblocking(true).unwrap();
            kept.read(&mut [0]).is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock)
        };
        self.kept.iter_mut().map(is_held).collect()
    }
}

fn receiver(runtime: &Runtime, name: &str) -> Receiver {
    receiver_of(runtime, name, Pairs::Fresh)
}

fn receiver_of(runtime: &Runtime, name: &str, pairs: Pairs) -> Receiver {
    let (runtime, name) = (runtime.clone(), name.to_owned());
    Receiver { runtime, name, stats: Arc::default(), pairs, spare: Arc::default(), keeps_real: false }
}

/// The socket of a pair that came along.
fn left(flow: &Stolen) -> &OwnedFd {
    match &flow.left {
        Left::Fresh(left) | Left::New(left, _) => left,
        Left::Again(slot) => panic!("slot {slot} has its pair already"),
    }
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// A module's end of a queue with the shim at the other.
struct Queue {
    shim: OwnedFd,
    client: Client,
    inbox: Inbox,
    flows: Vec<Stolen>,
}

impl Queue {
    fn new() -> Self {
        let (shim, module) = connection();
        Self::of(shim, Client::new(module, 0))
    }

    fn of(shim: OwnedFd, client: Client) -> Self {
        Self { shim, client, inbox: Inbox::default(), flows: Vec::new() }
    }

    fn greet(&self, chain: &[&str], position: u32) {
        send(&self.shim, &hello_message(&hello(chain, position)), &[]);
    }

    /// Sends flows, one message.
    fn steal(&self, flows: usize) -> Parcel {
        let parcel = Parcel::new(2 * flows);
        send(&self.shim, &entry(NEW).repeat(flows), &parcel.raw());
        parcel
    }

    fn receive(&mut self, receiver: &Receiver) -> bool {
        loop {
            match self.client.receive(&mut self.inbox, receiver, &mut self.flows, usize::MAX) {
                State::More => {}
                state => return state == State::Drained,
            }
        }
    }
}

/// A shim connected to a module's real queue, for the tests of the worker behind it.
pub(crate) struct Shim(OwnedFd);

impl Shim {
    pub(crate) fn connect(runtime: &Runtime, chain: &[&str]) -> Self {
        Self::connect_at(runtime, chain, 0)
    }

    /// With these flags of a HELLO.
    pub(crate) fn connect_with(runtime: &Runtime, chain: &[&str], flags: u32) -> Self {
        let fd = crate::registry::connect_queue(runtime, chain[0], 0).unwrap();
        send(&fd, &hello_message(&Hello { flags, ..hello(chain, 0) }), &[]);
        Self(fd)
    }

    /// Where the modules before `position` are away.
    pub(crate) fn connect_at(runtime: &Runtime, chain: &[&str], position: u32) -> Self {
        let fd = crate::registry::connect_queue(runtime, chain[position as usize], 0).unwrap();
        send(&fd, &hello_message(&hello(chain, position)), &[]);
        Self(fd)
    }

    /// A client that offers a pool, by whatever descriptors.
    pub(crate) fn offer(runtime: &Runtime, name: &str, pool: &[RawFd]) -> Self {
        let shim = Self(crate::registry::connect_queue(runtime, name, 0).unwrap());
        shim.offer_again(name, pool);
        shim
    }

    pub(crate) fn offer_again(&self, name: &str, pool: &[RawFd]) {
        send(&self.0, &hello_message(&Hello { flags: POOLED, ..hello(&[name], 0) }), pool);
    }

    /// An entry that nobody knows.
    pub(crate) fn say_nonsense(&self) {
        send(&self.0, &entry(u32::MAX), &[]);
    }

    pub(crate) fn steal(&self, left: OwnedFd, right: OwnedFd) {
        self.steal_at(NO_SLOT, Some(left), right);
    }

    /// A flow on a pair with a slot: a new one, or the one that is there.
    pub(crate) fn steal_at(&self, slot: u32, left: Option<OwnedFd>, right: OwnedFd) {
        let kind = if left.is_some() { NEW } else { BEGIN };
        let fds: Vec<RawFd> = left.iter().chain([&right]).map(AsRawFd::as_raw_fd).collect();
        send(&self.0, &entry_at(slot, kind), &fds);
    }
}
