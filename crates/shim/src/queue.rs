//! Connections to the steal queues of the chain's modules: (left, right) goes to the first that can be reached.
//!
//! One connection per core, at a fixed number above every other (`first_connection() + core % RESERVED_FDS`), put there by
//! dup3, so that replacing one is atomic. It is greeted before it is put there, so whatever stands there may be sent to.
//! Who changes a connection claims it; who finds it claimed (another thread on the core, or the code that a signal handler
//! interrupted) sends by a connection of its own for once. So nobody ever waits.

use core::sync::atomic::{AtomicU64, Ordering};

use modnet_abi::counter::Counter;
use modnet_abi::path::{SocketPath, SUN_PATH};
use modnet_abi::record::{FAIL_CLOSED, RESERVED_FDS};
use modnet_abi::steal::{
    Entry, Hello, ENTRY_BYTES, HELLO, HELLO_BYTES, HELLO_FAIL_CLOSED, NEW, NO_SLOT, STEAL_VERSION,
};

use crate::hidden;
use crate::process::{self, Memory, State};
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

/// Sends (left, right) to the chain.
///
/// # Errors
/// Why not; the descriptors are the caller's as before.
pub fn deliver(state: &State, left: i32, right: i32) -> Result<(), Counter> {
    let page = record::page().ok_or(Counter::NoModule)?;
    let cpu = current_cpu();
    let index = cpu % RESERVED_FDS;
    let cell = &state.connections[index as usize];
    let here = Connection::load(cell);
    // The usual way: connected to the first module, under the present chain.
    if here.is(page.generation.load(Ordering::Relaxed), 0) {
        match send_pair(number(index), left, right) {
            Ok(()) => return Ok(()),
            Err(Broken::Refused(reason)) => return Err(reason),
            Err(Broken::Absent) => cell.store(0, Ordering::Release),
        }
    }
    let chain = record::chain().ok_or(Counter::SystemError)?;
    let claim = &state.claims[index as usize];
    let claimed = claim.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_ok();
    let result = walk(&chain, cell, index, cpu, claimed, [left, right]);
    if claimed {
        claim.store(0, Ordering::Release);
    }
    result
}

/// Tries the modules in order, nearest to the application first: a dead one is passed over.
fn walk(
    chain: &Chain,
    cell: &AtomicU64,
    index: u32,
    cpu: u32,
    claimed: bool,
    fds: [i32; 2],
) -> Result<(), Counter> {
    let mut why = None;
    for position in 0..chain.length {
        if Connection::load(cell).is(chain.generation, position) {
            // A module further down, while the nearer ones are away.
            match send_pair(number(index), fds[0], fds[1]) {
                Ok(()) => return arrived(position),
                Err(Broken::Refused(reason)) => return Err(reason),
                Err(Broken::Absent) => cell.store(0, Ordering::Release),
            }
        }
        let socket = match connect(chain, position, cpu) {
            Ok(socket) => socket,
            Err(Broken::Refused(Counter::QueueFull)) => return Err(Counter::QueueFull),
            Err(Broken::Refused(reason)) => {
                why = why.or(Some(reason));
                continue;
            }
            Err(Broken::Absent) => continue,
        };
        record::count(Counter::Connects, 1);
        let sent = send_hello(chain, position, socket).and_then(|()| send_pair(socket, fds[0], fds[1]));
        if sent.is_ok() && claimed && hidden::place(socket, number(index), true, Memory::Own).is_ok() {
            process::note_connection(index);
            Connection { generation: chain.generation, position }.store(cell);
        }
        sys::close(socket);
        match sent {
            Ok(()) => return arrived(position),
            Err(Broken::Refused(reason)) => return Err(reason),
            Err(Broken::Absent) => {}
        }
    }
    Err(why.unwrap_or(Counter::NoModule))
}

#[allow(clippy::unnecessary_wraps)] // So that the three ways out of `walk` read alike.
fn arrived(position: u32) -> Result<(), Counter> {
    if position != 0 {
        record::count(Counter::Skipped, u64::from(position));
    }
    Ok(())
}

/// What stands at a reserved number; 0 in memory is nothing.
struct Connection {
    generation: u32,
    position: u32,
}

impl Connection {
    fn load(cell: &AtomicU64) -> Option<Self> {
        let word = cell.load(Ordering::Acquire);
        (word != 0).then_some(Self { generation: (word >> 32) as u32, position: (word as u32) - 1 })
    }

    fn store(&self, cell: &AtomicU64) {
        cell.store(u64::from(self.generation) << 32 | u64::from(self.position + 1), Ordering::Release);
    }
}

trait Stands {
    fn is(&self, generation: u32, position: u32) -> bool;
}

impl Stands for Option<Connection> {
    fn is(&self, generation: u32, position: u32) -> bool {
        self.as_ref().is_some_and(|c| c.generation == generation && c.position == position)
    }
}

fn number(index: u32) -> i32 {
    (record::first_connection() + index) as i32
}

fn current_cpu() -> u32 {
    // SAFETY: no argument. glibc reads it from the thread's rseq area or the vDSO: no system call.
    unsafe { libc::sched_getcpu() }.max(0) as u32
}

/// Connects to a module's queue, this core's if it has one.
fn connect(chain: &Chain, position: u32, cpu: u32) -> Result<i32, Broken> {
    let name = &chain.names[position as usize];
    let mut tried = connect_to(name, cpu);
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
    Ok(socket)
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

fn send_hello(chain: &Chain, position: u32, socket: i32) -> Result<(), Broken> {
    let page = record::page().ok_or(Broken::Absent)?;
    let hello = Hello {
        version: STEAL_VERSION,
        flags: if chain.flags & FAIL_CLOSED != 0 { HELLO_FAIL_CLOSED } else { 0 },
        record: page.root_pid,
        pid: sys::getpid(),
        position,
        length: chain.length,
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
    send(socket, &message, &[])
}

fn send_pair(socket: i32, left: i32, right: i32) -> Result<(), Broken> {
    send(socket, &bytes_of(Entry { slot: NO_SLOT, kind: NEW }), &[left, right])
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
