//! The way to the steal queues of the chain's modules: a flow goes to the first that can be reached.
//!
//! One connection per core (`connection`). It is greeted before its cell names it, so whatever a cell names may be sent to.
//! Who changes a cell claims it; who finds it claimed (another thread on the core, or the code that a signal handler
//! interrupted) sends by a connection of its own for once. So nobody ever waits.

use core::sync::atomic::{AtomicU32, Ordering};

use modnet_abi::counter::Counter;
use modnet_abi::path::{SocketPath, SUN_PATH};
use modnet_abi::record::FAIL_CLOSED;
use modnet_abi::steal::{
    Entry, Hello, BEGIN, ENTRY_BYTES, HELLO, HELLO_BYTES, HELLO_FAIL_CLOSED, NO_SLOT, POOLED, STEAL_VERSION,
};

use crate::burst;
use crate::connection::Held;
use crate::pair::Pair;
use crate::process::{State, CORES};
use crate::record::{self, Chain};
use crate::sys::{self, Errno};

/// A steal queue may have another core's name, where the module was told to use few: how many names are tried.
/// Only while no connection stands, and only where the module's directory exists (each costs 3 µs).
const QUEUES: u32 = 256;
/// Asked of the kernel for a connection (it gives what `net.core.wmem_max` allows): some 1,300 messages instead of 270. An accept
/// burst fits; a module that hangs does not swallow more than that.
const SEND_BUFFER: i32 = 512 << 10;

/// Why a message did not arrive.
enum Broken {
    /// The module is there and cannot take it, or this process cannot send: the reason.
    Refused(Counter),
    /// Nobody is there.
    Absent,
}

/// How a flow may go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// On a pair of its own.
    Fresh,
    /// On one that is used again.
    Pooled,
    /// The same, and its begin may wait for others (`burst`).
    Later,
}

/// A flow that is on its way.
pub struct Sent {
    /// Its pair.
    pub pair: Pair,
    /// `SO_COOKIE` of the application's end.
    pub cookie: u64,
    /// The connection by which its begin is still to be sent, where it waits.
    pub waits: Option<Held>,
}

/// A flow that is to be handed over, on a pair that is taken when it is known by which connection.
struct Parcel<P: Fn(&Pair) -> Option<u64>> {
    real: i32,
    how: How,
    prepare: P,
}

impl<P: Fn(&Pair) -> Option<u64>> Parcel<P> {
    /// On one of that connection's pairs.
    fn send(&self, held: &Held) -> Result<Sent, Broken> {
        if self.how == How::Fresh {
            return self.send_fresh(held.socket());
        }
        let later = self.how == How::Later && burst::may_wait(held);
        self.send_on(held.socket(), Pair::of(held), later.then_some(held))
    }

    /// On a pair of its own.
    fn send_fresh(&self, socket: i32) -> Result<Sent, Broken> {
        self.send_on(socket, Pair::fresh(), None)
    }

    /// `later`: a begin is not sent now.
    fn send_on(&self, socket: i32, pair: sys::Result<Pair>, later: Option<&Held>) -> Result<Sent, Broken> {
        let pair = pair.map_err(|error| {
            Broken::Refused(match error.0 {
                libc::EMFILE | libc::ENFILE => Counter::NoDescriptor,
                _ => Counter::SystemError,
            })
        })?;
        let Some(cookie) = (self.prepare)(&pair) else {
            pair.discard();
            return Err(Broken::Refused(Counter::SystemError));
        };
        let bytes = bytes_of(pair.entry());
        let sent = match (pair.left(), later) {
            (Some(left), _) => send(socket, &bytes, &[left, self.real]).map(|()| Counter::PairsNew),
            (None, Some(_)) => Ok(Counter::PairsReused),
            (None, None) => send(socket, &bytes, &[self.real]).map(|()| Counter::PairsReused),
        };
        match sent {
            Ok(counter) => {
                record::count(counter, 1);
                let waits = later.filter(|_| pair.left().is_none()).map(Held::again);
                Ok(Sent { pair, cookie, waits })
            }
            Err(broken) => {
                pair.discard();
                Err(broken)
            }
        }
    }
}

/// Begins flows that have waited: their real sockets, and the slots of their pairs; up to [`sys::MOST_FDS`].
///
/// # Errors
/// Why not; none of them is on its way.
pub fn begin(held: &Held, flows: &[(i32, u32)]) -> Result<(), Counter> {
    let mut bytes = [0; sys::MOST_FDS * ENTRY_BYTES];
    let mut fds = [0; sys::MOST_FDS];
    for ((to, fd), (real, slot)) in bytes.chunks_mut(ENTRY_BYTES).zip(&mut fds).zip(flows) {
        to.copy_from_slice(&bytes_of(Entry { slot: *slot, kind: BEGIN }));
        *fd = *real;
    }
    match send(held.socket(), &bytes[..flows.len() * ENTRY_BYTES], &fds[..flows.len()]) {
        Ok(()) => Ok(()),
        Err(Broken::Absent) => Err(Counter::NoModule),
        Err(Broken::Refused(reason)) => Err(reason),
    }
}

/// Sends `real` to the chain, and the left of a pair where the module has it not yet.
/// `prepare` sets up the application's end and gives its cookie; it is called again where a connection turns out to be gone.
///
/// # Errors
/// Why not; the descriptor is the caller's as before.
pub fn deliver(
    state: &State,
    real: i32,
    how: How,
    prepare: impl Fn(&Pair) -> Option<u64>,
) -> Result<Sent, Counter> {
    let page = record::page().ok_or(Counter::NoModule)?;
    let parcel = Parcel { real, how, prepare };
    let cpu = current_cpu();
    let index = (cpu % CORES) as usize;
    let cell = &state.cells[index];
    // The usual way: connected to the first module, under the present chain.
    if let Some(held) = Held::current(cell).filter(|held| held.is(page.generation.load(Ordering::Relaxed), 0))
    {
        match parcel.send(&held) {
            Ok(sent) => return Ok(sent),
            Err(Broken::Refused(reason)) => return Err(reason),
            Err(Broken::Absent) => held.leave(cell),
        }
    }
    let chain = record::chain().ok_or(Counter::SystemError)?;
    let claim = &state.claims[index];
    let claimed = claim.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_ok();
    let result = walk(&chain, cell, cpu, claimed, &parcel);
    if claimed {
        claim.store(0, Ordering::Release);
    }
    result
}

/// Tries the modules in order, nearest to the application first: a dead one is passed over.
fn walk(
    chain: &Chain,
    cell: &AtomicU32,
    cpu: u32,
    claimed: bool,
    parcel: &Parcel<impl Fn(&Pair) -> Option<u64>>,
) -> Result<Sent, Counter> {
    let mut why = None;
    for position in 0..chain.length {
        if let Some(held) = Held::current(cell).filter(|held| held.is(chain.generation, position)) {
            // A module further down, while the nearer ones are away.
            match parcel.send(&held) {
                Ok(sent) => return arrived(position, sent),
                Err(Broken::Refused(reason)) => return Err(reason),
                Err(Broken::Absent) => held.leave(cell),
            }
        }
        let (socket, own) = match connect(chain, position, cpu) {
            Ok(found) => found,
            Err(Broken::Refused(Counter::QueueFull)) => return Err(Counter::QueueFull),
            Err(Broken::Refused(reason)) => {
                why = why.or(Some(reason));
                continue;
            }
            Err(Broken::Absent) => continue,
        };
        record::count(Counter::Connects, 1);
        let kept = claimed.then(|| Held::new(socket, chain, position, own)).flatten();
        let sent = match kept {
            Some((held, offer)) => {
                sys::close(socket);
                let memory = offer.as_ref().map(|offer| [offer.memory, held.bell()]);
                let greeted = send_hello(chain, position, held.socket(), memory.as_ref());
                if let Some(offer) = offer {
                    sys::close(offer.memory);
                }
                greeted.and_then(|()| parcel.send(&held)).inspect(|_| held.publish(cell))
            }
            None => {
                let sent = send_hello(chain, position, socket, None).and_then(|()| parcel.send_fresh(socket));
                sys::close(socket);
                sent
            }
        };
        match sent {
            Ok(sent) => return arrived(position, sent),
            Err(Broken::Refused(reason)) => return Err(reason),
            Err(Broken::Absent) => {}
        }
    }
    Err(why.unwrap_or(Counter::NoModule))
}

fn arrived<T>(position: u32, sent: T) -> Result<T, Counter> {
    if position != 0 {
        record::count(Counter::Skipped, u64::from(position));
    }
    Ok(sent)
}

fn current_cpu() -> u32 {
    // SAFETY: no argument. glibc reads it from the thread's rseq area or the vDSO: no system call.
    unsafe { libc::sched_getcpu() }.max(0) as u32
}

/// Connects to a module's queue, this core's if it has one; whether it has.
fn connect(chain: &Chain, position: u32, cpu: u32) -> Result<(i32, bool), Broken> {
    let name = &chain.names[position as usize];
    let mut tried = connect_to(name, cpu);
    let own = tried.is_ok();
    if matches!(tried, Err(Errno(libc::ENOENT))) {
        module_exists(name, cpu)?;
        for other in (0..QUEUES).filter(|other| *other != cpu) {
            tried = connect_to(name, other);
            if !matches!(tried, Err(Errno(libc::ENOENT))) {
                break;
            }
        }
    }
    let socket = tried.map_err(|error| match error.0 {
        libc::ENOENT | libc::ECONNREFUSED | libc::ENOTDIR => Broken::Absent,
        libc::EAGAIN => Broken::Refused(Counter::QueueFull),
        libc::EACCES | libc::EPERM => Broken::Refused(Counter::NoRegistry),
        libc::EMFILE | libc::ENFILE => Broken::Refused(Counter::NoDescriptor),
        _ => Broken::Refused(Counter::SystemError),
    })?;
    let peer = sys::option_of::<libc::ucred>(socket, libc::SOL_SOCKET, libc::SO_PEERCRED);
    let owner = record::page().map_or(0, |page| page.owner_uid);
    if !peer.is_ok_and(|(peer, _)| peer.uid == owner || peer.uid == 0) {
        sys::close(socket);
        return Err(Broken::Refused(Counter::WrongOwner));
    }
    let _ = sys::set_option(socket, libc::SOL_SOCKET, libc::SO_SNDBUF, SEND_BUFFER);
    Ok((socket, own))
}

fn connect_to(name: &modnet_abi::name::Name, cpu: u32) -> sys::Result<i32> {
    let path = SocketPath::steal(record::runtime(), name, cpu).ok_or(Errno(libc::ENOENT))?;
    sys::connect_unix(path.as_bytes())
}

/// Tells a module without this core's queue from a full one, from no module, and that from no registry (a chroot).
fn module_exists(name: &modnet_abi::name::Name, cpu: u32) -> Result<(), Broken> {
    let full = SocketPath::full(record::runtime(), name, cpu).ok_or(Broken::Absent)?;
    if sys::exists(full.with_nul()).is_ok() {
        return Err(Broken::Refused(Counter::ModuleFull));
    }
    let bytes = full.as_bytes();
    let end = bytes.iter().rposition(|c| *c == b'/').ok_or(Broken::Absent)?;
    let mut directory = [0u8; SUN_PATH];
    directory[..end].copy_from_slice(&bytes[..end]);
    if sys::exists(&directory[..=end]).is_ok() {
        return Ok(());
    }
    match sys::exists(record::runtime_with_nul()) {
        Ok(_) => Err(Broken::Absent),
        Err(_) => Err(Broken::Refused(Counter::NoRegistry)),
    }
}

/// `pool`: memory and bell of a pool that is offered.
fn send_hello(chain: &Chain, position: u32, socket: i32, pool: Option<&[i32; 2]>) -> Result<(), Broken> {
    let page = record::page().ok_or(Broken::Absent)?;
    let hello = Hello {
        version: STEAL_VERSION,
        flags: if chain.flags & FAIL_CLOSED != 0 { HELLO_FAIL_CLOSED } else { 0 }
            | if pool.is_some() { POOLED } else { 0 },
        record: page.root_pid,
        pid: sys::getpid(),
        position,
        length: chain.length,
        until: chain.length,
        token: page.token,
        chain: chain.names,
    };
    let mut message = [0u8; HELLO_BYTES];
    let (entry, rest) = message.split_at_mut(ENTRY_BYTES);
    entry.copy_from_slice(&bytes_of(Entry { slot: NO_SLOT, kind: HELLO }));
    // SAFETY: Hello is repr(C), made of integers without padding, and as long as rest (HELLO_BYTES is their sum).
    rest.copy_from_slice(unsafe {
        core::slice::from_raw_parts((&raw const hello).cast::<u8>(), size_of::<Hello>())
    });
    send(socket, &message, pool.map_or(&[], |pool| pool))
}

fn bytes_of(entry: Entry) -> [u8; ENTRY_BYTES] {
    let mut bytes = [0; ENTRY_BYTES];
    bytes[..4].copy_from_slice(&entry.slot.to_ne_bytes());
    bytes[4..].copy_from_slice(&entry.kind.to_ne_bytes());
    bytes
}

fn send(socket: i32, bytes: &[u8], fds: &[i32]) -> Result<(), Broken> {
    match sys::send_message(socket, bytes, fds) {
        Ok(_) => Ok(()),
        Err(Errno(error)) => Err(match error {
            libc::EAGAIN => Broken::Refused(Counter::QueueFull),
            libc::ETOOMANYREFS => Broken::Refused(Counter::InFlight),
            // The module has gone, or the application has closed every descriptor that it could.
            libc::EPIPE
            | libc::ECONNRESET
            | libc::ECONNREFUSED
            | libc::ENOTCONN
            | libc::EBADF
            | libc::ENOTSOCK => Broken::Absent,
            _ => Broken::Refused(Counter::SystemError),
        }),
    }
}
