//! `modnet_yield`: a module's flow, or an application's own socket, goes to modules that are named.
//!
//! | whose | operations | afterwards |
//! | --- | --- | --- |
//! | a module's, from [`super::getsockets`] | all | REPLACE: both descriptors are closed; LEFT, RIGHT: that side's number is a pair's |
//! | an application's connection | RIGHT | its number is an intermediate socket's; where a chain applies, those modules come first |
//!
//! Which chain a flow belongs to is remembered by the numbers that `getsockets` gave, and found again by the socket's cookie, so
//! that a duplicate will do. Rules: until the message is sent nothing has changed, and what fails says so. Where the process has a
//! shim it is told, since it answers for the real socket.

use std::collections::{BTreeMap, HashMap};
use std::ffi::c_int;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex};

use super::state::{cookie, number, Mapped};
use super::{lock, MODULE};
use crate::error::{Error, Result};
use crate::hooks::{Origin, Place};
use crate::runtime::Runtime;
use crate::sock;
use crate::steal::carried::{Carried, Stream};
use crate::steal::doors::{Doors, Parcel};
use crate::steal::queue::Sockets;

/// Chains of the flows that the program took, by descriptor: at most one for each number.
static TAKEN: Mutex<Option<HashMap<RawFd, Taken>>> = Mutex::new(None);
/// Connections, by core; and whose they are.
static DOORS: Mutex<(u32, BTreeMap<u32, Arc<Doors>>)> = Mutex::new((0, BTreeMap::new()));

#[derive(Clone)]
struct Taken {
    cookie: u64,
    origin: Arc<Origin>,
}

/// Notes whose flow the program has taken.
pub fn remember(flow: &Sockets) {
    let mut taken = lock(&TAKEN);
    let taken = taken.get_or_insert_default();
    for fd in [&flow.left, &flow.right] {
        note(taken, fd.as_fd(), &flow.origin);
    }
}

fn note(taken: &mut HashMap<RawFd, Taken>, fd: BorrowedFd<'_>, origin: &Arc<Origin>) {
    use std::os::fd::AsRawFd;
    if let Some(cookie) = cookie(fd.as_raw_fd()) {
        taken.insert(fd.as_raw_fd(), Taken { cookie, origin: Arc::clone(origin) });
    }
}

/// Whose flow a descriptor is of.
fn known(fd: RawFd) -> Option<Arc<Origin>> {
    let cookie = cookie(fd)?;
    let taken = lock(&TAKEN);
    let taken = taken.as_ref()?;
    let direct = taken.get(&fd).filter(|taken| taken.cookie == cookie);
    // A duplicate: O(flows).
    let found = direct.or_else(|| taken.values().find(|taken| taken.cookie == cookie));
    found.map(|taken| Arc::clone(&taken.origin))
}

/// Yields a flow. `left` and `right` below 0 are not given. `held`: bytes read from left and from right that the new modules
/// are to read first.
///
/// # Errors
/// EBADF, ENOTSOCK; EINVAL: a descriptor that the operation needs is missing or no flow's, no names, too long a chain; bytes that
/// cannot pass the new modules; ENOTCONN: no connection; ENOENT: no living module has one of the names; EAGAIN: it has no room; EPERM:
/// another user's; EMFILE and its like.
pub fn yield_sockets(
    left: RawFd,
    right: RawFd,
    names: &[&str],
    place: Place,
    held: [Vec<u8>; 2],
) -> Result<()> {
    let wanted = match place {
        Place::Left => vec![left],
        Place::Right => vec![right],
        Place::Replace => vec![left, right],
    };
    for fd in &wanted {
        check(*fd)?;
    }
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let origin = wanted.iter().find_map(|fd| known(*fd));
    let (first, own) = match (&origin, place) {
        (Some(origin), _) => origin.yielded(&names, place)?,
        (None, Place::Right) => {
            // SAFETY: the caller's, open during its call.
            if !sock::is_connected(unsafe { BorrowedFd::borrow_raw(right) }) {
                return Err(Error::new(libc::ENOTCONN, "the socket is not connected"));
            }
            (own_socket(right, &names)?, None)
        }
        (None, _) => {
            return Err(Error::new(libc::EINVAL, "not a flow of this process; take one with getsockets"));
        }
    };
    let [outbound, inbound] = held;
    let stream = |unread| Stream { unread, unsent: Vec::new() };
    let carried = match place {
        Place::Left if !inbound.is_empty() => return Err(stray("inbound")),
        Place::Right if !outbound.is_empty() => return Err(stray("outbound")),
        _ => Carried { left: stream(outbound), right: stream(inbound), ..Carried::default() },
    };
    let doors = doors()?;
    for name in &names {
        doors.find(name)?;
    }
    // SAFETY: the caller's, open during its call: `check` has seen them.
    let borrow = |fd: RawFd| unsafe { BorrowedFd::borrow_raw(fd) };
    let shim = if origin.is_none() { shim(right)? } else { None };
    let first = Arc::new(first);
    let send = |left: BorrowedFd<'_>, right: BorrowedFd<'_>, real: Option<RawFd>| {
        let parcel = Parcel { left, right, real: real.map(borrow), carried: &carried };
        doors.send(&first, first.position, &parcel).map_err(|error| match error.raw_os_error() {
            Some(libc::ENOENT | libc::ECONNREFUSED | libc::EPIPE) => Error::unknown_module(&names[0]),
            _ => Error::system(format!("cannot hand the flow to module {}", names[0]), &error),
        })
    };
    if place == Place::Replace {
        send(borrow(left), borrow(right), None)?;
        for fd in [left, right] {
            // SAFETY: the call takes them, as its description says.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        }
        return Ok(());
    }
    let (near, far) = sock::pair().map_err(|e| Error::system("cannot make a pair", &e))?;
    let fd = wanted[0];
    if place == Place::Left {
        send(borrow(left), far.as_fd(), None)?;
    } else {
        send(far.as_fd(), borrow(right), shim.as_ref().and_then(|shim| shim.real))?;
    }
    match &shim {
        Some(shim) => shim.replace(fd, near)?,
        None => replace(fd, near)?,
    }
    if let Some(own) = own {
        note(lock(&TAKEN).get_or_insert_default(), borrow(fd), &Arc::new(own));
    }
    Ok(())
}

fn stray(way: &str) -> Error {
    Error::new(libc::EINVAL, format!("{way} bytes do not pass new modules there"))
}

/// Whether a descriptor can be of a flow.
fn check(fd: RawFd) -> Result<()> {
    if fd < 0 {
        return Err(Error::new(libc::EINVAL, "the operation needs that descriptor"));
    }
    let kind = number(fd, libc::SO_TYPE).map_err(|e| Error::system("not a socket", &e))?;
    let listens = number(fd, libc::SO_ACCEPTCONN).unwrap_or(0) != 0;
    if kind != libc::SOCK_STREAM || listens {
        return Err(Error::new(libc::EINVAL, "not a connection; yield what accept has returned"));
    }
    Ok(())
}

/// The chain of an application's socket: the new modules, then those that it had.
fn own_socket(fd: RawFd, names: &[String]) -> Result<Origin> {
    let mapped = Mapped::of_process();
    let busy = || Error::new(libc::EAGAIN, "the chain of this process is being changed; try again");
    let applied = mapped.map(|mapped| mapped.applied().ok_or_else(busy)).transpose()?;
    let mut nobody = Origin {
        application: std::process::id(),
        record: 0,
        chain: Vec::new(),
        position: 0,
        until: 0,
        token: [0; 16],
        fail_closed: false,
    };
    if let Some(applied) = applied {
        (nobody.record, nobody.token, nobody.fail_closed) =
            (applied.record, applied.token, applied.fail_closed);
        if mapped.is_some_and(|mapped| mapped.real(fd).is_some()) {
            nobody.chain = applied.chain;
        }
    }
    nobody.yielded(names, Place::Left).map(|(first, _)| first)
}

/// The shim of this process, which answers for real sockets.
struct Shim {
    call: extern "C" fn(c_int, c_int) -> c_int,
    /// The real socket of one that was stolen.
    real: Option<RawFd>,
}

/// None: there is none, or no chain was ever applied to this process.
fn shim(fd: RawFd) -> Result<Option<Shim>> {
    // SAFETY: the name ends with a NUL.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"modnet_shim_yielded".as_ptr()) };
    if found.is_null() {
        return Ok(None);
    }
    // SAFETY: the shim's function of that name, in `crates/shim/src/yielded.rs`, which lives as long as the process.
    let call: extern "C" fn(c_int, c_int) -> c_int = unsafe { std::mem::transmute(found) };
    match call(fd, -1) {
        0 => Ok(Some(Shim { call, real: Mapped::of_process().and_then(|mapped| mapped.real(fd)) })),
        libc::ENOSYS => Ok(None),
        errno => Err(Error::new(errno, "no room for the real socket beside its descriptor")),
    }
}

impl Shim {
    fn replace(&self, fd: RawFd, near: OwnedFd) -> Result<()> {
        match (self.call)(fd, near.into_raw_fd()) {
            0 => Ok(()),
            errno => Err(Error::new(errno, "the modules have the flow, and its real socket cannot be kept")),
        }
    }
}

/// The number is the pair's from now on; whether calls on it wait stays as it was.
fn replace(fd: RawFd, near: OwnedFd) -> Result<()> {
    let failed = |_| Error::last("cannot replace the descriptor");
    // SAFETY: no memory is passed; the number is the caller's, and stays open.
    unsafe {
        let (status, own) = (libc::fcntl(fd, libc::F_GETFL), libc::fcntl(fd, libc::F_GETFD));
        let near = near.into_raw_fd();
        let waits = status & libc::O_NONBLOCK == 0;
        if waits {
            libc::fcntl(near, libc::F_SETFL, 0);
        }
        if number(fd, libc::SO_PROTOCOL).is_ok_and(|protocol| protocol == libc::IPPROTO_TCP) {
            sock::set_nodelay(BorrowedFd::borrow_raw(fd));
        }
        let cloexec = if own & libc::FD_CLOEXEC == 0 { 0 } else { libc::O_CLOEXEC };
        let done = libc::dup3(near, fd, cloexec);
        libc::close(near);
        usize::try_from(done).map(drop).map_err(failed)
    }
}

/// The connections of the core that this thread is on.
fn doors() -> Result<Arc<Doors>> {
    // SAFETY: no argument.
    let cpu = u32::try_from(unsafe { libc::sched_getcpu() }).unwrap_or(0);
    let runtime = match lock(&MODULE).as_ref().filter(|module| module.pid == std::process::id()) {
        Some(module) => module.receiver.runtime.clone(),
        None => match Mapped::of_process() {
            Some(mapped) => Runtime::at(&mapped.runtime)?,
            None => Runtime::from_env()?,
        },
    };
    let mut all = lock(&DOORS);
    if all.0 != std::process::id() {
        *all = (std::process::id(), BTreeMap::new());
    }
    let doors = all.1.entry(cpu).or_insert_with(|| Arc::new(Doors::new(&runtime, cpu)));
    Ok(Arc::clone(doors))
}
