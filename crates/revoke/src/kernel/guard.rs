//! The guard: what keeps the network away from connections of one network namespace while they are taken apart.
//!
//! A process has at most one for each namespace ([`of`]), made at the first yank there and ended with the last
//! [`super::yank::Yanker`] that used it.
//!
//! Nothing is pinned. The listener that swallows segments is a socket of this process, and a pinned program without it would
//! guard nothing; unpinned, the kernel takes programs, listener and all that is guarded away when the process dies, however it dies.
//! The price: each process that yanks attaches its own, 64 at most in one namespace, each run for each segment that has no
//! socket.
//!
//! Rules: a connection is covered before its filter is set and uncovered last. It must not touch a socket that it was not given.

use std::collections::HashMap as Table;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use aya::maps::{HashMap, MapData, SockMap};
use aya::programs::{SkLookup, SocketFilter};
use aya::{Ebpf, EbpfLoader};

use super::carrier::{carrier, Carrier};
use super::failure::Failure;
use super::options::{self, name, Address};
use super::snapshot::{now, Snapshot};
use super::tuple::{Connection, Tuple};

/// The object that `build.rs` has made.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/guard.bpf.o"));

/// How long a filter is deaf. A yank takes milliseconds; whoever is stopped for half of this gives up before the
/// disconnect. After it a socket whose yanker was killed hears again.
pub const DEAF: Duration = Duration::from_secs(10);

/// `struct shared` in `bpf/guard.bpf.c`.
#[repr(C)]
struct Shared {
    until: AtomicU64,
    caught: AtomicU64,
    unheard: AtomicU64,
}

/// What guards have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections covered.
    pub covered: u64,
    /// Segments that would have been answered with a reset.
    pub caught: u64,
    /// Segments that a filter dropped.
    pub unheard: u64,
    /// Congestion windows given back.
    pub resumed: u64,
}

// SAFETY: bytes and nothing else, as the kernel's.
unsafe impl aya::Pod for Tuple {}

/// One namespace's.
#[derive(Debug)]
pub struct Guard {
    // Programs, links and maps end with it.
    _object: Ebpf,
    _listener: OwnedFd,
    filter: RawFd,
    guarded: Mutex<HashMap<MapData, Tuple, u32>>,
    carrier: Option<Arc<Carrier>>,
    resumed: AtomicU64,
    shared: NonNull<Shared>,
    raw: [Option<OwnedFd>; 2],
    covered: AtomicU64,
    /// Why congestion windows are not given back, if they are not.
    pub without_windows: Option<String>,
}

// SAFETY: `shared` points to atomics that live as long as the object.
unsafe impl Send for Guard {}
// SAFETY: as above; the rest is behind locks.
unsafe impl Sync for Guard {}

static GUARDS: Mutex<Vec<(u64, Weak<Guard>)>> = Mutex::new(Vec::new());

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The guard of the namespace of a socket.
///
/// # Errors
/// Denied without CAP_NET_ADMIN or CAP_BPF, or, where the socket is of another namespace than the calling thread,
/// without CAP_SYS_ADMIN.
pub fn of(fd: BorrowedFd<'_>) -> Result<Arc<Guard>, Failure> {
    let namespace = namespace(fd).map_err(|e| Failure::System("tell the socket's network namespace", e))?;
    let mut guards = locked(&GUARDS);
    guards.retain(|(_, guard)| guard.strong_count() > 0);
    if let Some(guard) = guards.iter().find(|(of, _)| *of == namespace).and_then(|(_, guard)| guard.upgrade())
    {
        return Ok(guard);
    }
    let guard = Arc::new(inside(fd, namespace)?);
    guards.push((namespace, Arc::downgrade(&guard)));
    Ok(guard)
}

/// The number of a socket's network namespace.
///
/// # Errors
/// ENOPROTOOPT before Linux 5.14.
pub fn namespace(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut found = 0u64;
    options::get(fd, libc::SOL_SOCKET, name::SO_NETNS_COOKIE, &mut found).map(|_| found)
}

fn new_socket(family: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointer.
    let fd = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: new, and ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes a guard in the namespace: here, or in a thread that enters it and ends.
fn inside(fd: BorrowedFd<'_>, namespace_of: u64) -> Result<Guard, Failure> {
    const SIOCGSKNS: libc::Ioctl = 0x894C;
    // SAFETY: takes no pointer.
    let netns = unsafe { libc::ioctl(fd.as_raw_fd(), SIOCGSKNS) };
    if netns < 0 {
        return Err(failed("open the socket's network namespace", io::Error::last_os_error()));
    }
    // SAFETY: new, and ours alone.
    let netns = unsafe { OwnedFd::from_raw_fd(netns) };
    let here = new_socket(libc::AF_INET, libc::SOCK_STREAM, 0).and_then(|socket| namespace(socket.as_fd()));
    if here.is_ok_and(|here| here == namespace_of) {
        return Guard::new(netns.as_fd());
    }
    let made = std::thread::spawn(move || {
        // SAFETY: moves this thread alone.
        if unsafe { libc::setns(netns.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
            let error = io::Error::last_os_error();
            return Err(match error.raw_os_error() {
                Some(libc::EPERM) => {
                    Failure::Denied("CAP_SYS_ADMIN (for a connection of another network namespace)")
                }
                _ => Failure::System("enter the socket's network namespace", error),
            });
        }
        Guard::new(netns.as_fd())
    });
    made.join()
        .unwrap_or_else(|_| Err(Failure::System("make the guard", io::Error::other("its thread panicked"))))
}

/// The capability whose lack explains an EPERM: what is in `CapEff` of /proc.
fn failed(step: &'static str, error: io::Error) -> Failure {
    if !matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES)) {
        return Failure::System(step, error);
    }
    const ADMIN: (u32, &str) = (12, "CAP_NET_ADMIN");
    const BPF: (u32, &str) = (39, "CAP_BPF");
    let has = |number: u32| effective_capabilities() >> number & 1 != 0;
    match [ADMIN, BPF].into_iter().find(|(number, _)| !has(*number)) {
        // Older than CAP_BPF, its holder may do the same.
        Some((39, _)) if has(21) => Failure::System(step, error),
        Some((_, name)) => Failure::Denied(name),
        None => Failure::System(step, error),
    }
}

fn effective_capabilities() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0)
}

/// The system's own error inside of one of aya's.
fn system(error: &(dyn std::error::Error + 'static)) -> io::Error {
    let mut inner = Some(error);
    let mut found = None;
    while let Some(error) = inner {
        found = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error).or(found);
        inner = error.source();
    }
    let line = || error.to_string().lines().next().unwrap_or_default().to_owned();
    found.map_or_else(|| io::Error::other(line()), io::Error::from_raw_os_error)
}

fn aya(step: &'static str) -> impl Fn(&(dyn std::error::Error + 'static)) -> Failure {
    move |error| failed(step, system(error))
}

impl Guard {
    /// In the calling thread's namespace, which `netns` is.
    fn new(netns: BorrowedFd<'_>) -> Result<Self, Failure> {
        let absent = |_| Failure::System("make the guard", io::Error::other("its object lacks a part"));
        let mut object = EbpfLoader::new().load(OBJECT).map_err(|e| aya("make the guard's maps")(&e))?;
        let mut take = |name: &str| object.take_map(name).ok_or(()).map_err(absent);
        let (guarded, hole, shared) = (take("guarded")?, take("hole")?, take("shared")?);
        let listener = listener().map_err(|e| failed("make the guard's listener", e))?;
        let mut hole: SockMap<MapData> = hole.try_into().map_err(|e| aya("use the guard's maps")(&e))?;
        hole.set(0, &listener, 0).map_err(|e| aya("give the guard its listener")(&e))?;
        let aya::maps::Map::Array(data) = shared else { return Err(absent(())) };
        let shared = map_shared(data.fd().as_fd()).map_err(|e| failed("map the guard's counts", e))?;

        let program: &mut SkLookup = program(&mut object, "guard")?;
        program.load().map_err(|e| aya("load the guard (sk_lookup)")(&e))?;
        program.attach(netns).map_err(|e| aya("attach the guard to the network namespace")(&e))?;
        let program: &mut SocketFilter = self::program(&mut object, "deaf")?;
        program.load().map_err(|e| aya("load the guard's socket filter")(&e))?;
        let filter = program.fd().map_err(|e| aya("load the guard's socket filter")(&e))?.as_fd().as_raw_fd();
        let carrier = carrier();

        Ok(Self {
            filter,
            guarded: Mutex::new(guarded.try_into().map_err(|e| aya("use the guard's maps")(&e))?),
            shared,
            raw: [libc::AF_INET, libc::AF_INET6]
                .map(|family| new_socket(family, libc::SOCK_RAW, libc::IPPROTO_RAW).ok()),
            covered: AtomicU64::new(0),
            without_windows: carrier.as_ref().err().cloned(),
            carrier: carrier.ok(),
            resumed: AtomicU64::new(0),
            _listener: listener,
            _object: object,
        })
    }

    fn shared(&self) -> &Shared {
        // SAFETY: mapped until drop, all fields atomic.
        unsafe { self.shared.as_ref() }
    }

    /// From here on a segment of the connection that finds no socket is swallowed.
    ///
    /// # Errors
    /// Where 4096 are covered already.
    pub fn cover(&self, connection: &Connection) -> Result<(), Failure> {
        locked(&self.guarded).insert(connection.tuple, 1, 0).map_err(|e| aya("cover the connection")(&e))?;
        self.covered.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The end of that.
    pub fn uncover(&self, connection: &Connection) {
        // Gone already is gone.
        let _ = locked(&self.guarded).remove(&connection.tuple);
    }

    /// Makes a socket deaf.
    ///
    /// # Errors
    /// The system's.
    pub fn deafen(&self, fd: BorrowedFd<'_>, time: Duration) -> io::Result<()> {
        self.extend(time);
        options::set(fd, libc::SOL_SOCKET, libc::SO_ATTACH_BPF, &[self.filter])
    }

    /// Every deaf socket of the namespace stays so for `time` from now, at least.
    pub fn extend(&self, time: Duration) {
        let until = now() + u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2);
        self.shared().until.fetch_max(until, Ordering::Relaxed);
    }

    /// Until when they are.
    #[must_use]
    pub fn deaf_until(&self) -> u64 {
        self.shared().until.load(Ordering::Relaxed)
    }

    /// Gives a connection its congestion window and threshold back. Answers whether it could.
    ///
    /// # Errors
    /// The system's; then the socket may have a congestion control that is not its own.
    pub fn give_window(&self, fd: BorrowedFd<'_>, snapshot: &Snapshot, window: u32) -> io::Result<bool> {
        let Some(carrier) = &self.carrier else { return Ok(false) };
        let give = || carrier.give(fd, window, snapshot.snd_ssthresh, &snapshot.control);
        if snapshot.is_model_based() {
            within_rate(fd, snapshot.pacing_rate, give)?;
        } else {
            give()?;
        }
        self.resumed.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    /// Whether [`Self::send`] can be used.
    #[must_use]
    pub fn can_send(&self) -> bool {
        self.raw.iter().any(Option::is_some)
    }

    /// Sends a packet that [`super::replay`] has made, to ourselves.
    ///
    /// # Errors
    /// EPERM without CAP_NET_RAW, or the system's.
    pub fn send(&self, packet: &[u8], to: &Address, is_ipv4: bool) -> io::Result<()> {
        let raw = self.raw[usize::from(!is_ipv4)].as_ref();
        let raw = raw.ok_or_else(|| io::Error::from_raw_os_error(libc::EPERM))?;
        let to = if is_ipv4 { to.as_ipv4() } else { to.without_port() };
        let (at, length) = to.raw();
        // SAFETY: packet and address live through the call.
        let sent = unsafe {
            libc::sendto(
                raw.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                libc::MSG_DONTWAIT,
                at,
                length,
            )
        };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// So far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let shared = self.shared();
        let [caught, unheard, covered, resumed] =
            [&shared.caught, &shared.unheard, &self.covered, &self.resumed]
                .map(|count| count.load(Ordering::Relaxed));
        Counts { covered, caught, unheard, resumed }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // SAFETY: our own mapping, which nothing borrows any more.
        unsafe { libc::munmap(self.shared.as_ptr().cast(), size_of::<Shared>()) };
    }
}

/// BBR begins with the window in a millisecond, where it knows no round trip: a burst. What it begins with is held to a
/// rate here, which it raises by itself.
fn within_rate(fd: BorrowedFd<'_>, rate: u64, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let mut before = 0u64;
    options::get(fd, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, &mut before)?;
    options::set(fd, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, &[rate.min(before)])?;
    let done = act();
    options::set(fd, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, &[before])?;
    done
}

/// A program of the object, by name.
fn program<'a, T>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut T, Failure>
where
    &'a mut T: TryFrom<&'a mut aya::programs::Program>,
{
    let found = object.program_mut(name).and_then(|program| program.try_into().ok());
    found.ok_or_else(|| Failure::System("make the guard", io::Error::other("its object lacks a program")))
}

/// Where segments go that would have no socket: all ports, both families. Bound to `::1`, it would be of IPv6 only.
fn listener() -> io::Result<OwnedFd> {
    let drop_all = [libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: 0 }];
    let program = libc::sock_fprog { len: 1, filter: drop_all.as_ptr().cast_mut() };
    // A machine may have no IPv6: then all of its connections are of IPv4.
    let made = new_socket(libc::AF_INET6, libc::SOCK_STREAM, 0).and_then(|socket| {
        options::set(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, &[0u32])?;
        Ok(socket)
    });
    let listener = made.or_else(|_| new_socket(libc::AF_INET, libc::SOCK_STREAM, 0))?;
    let length = size_of_val(&program) as libc::socklen_t;
    // SAFETY: one instruction, which lives through the call.
    let filtered = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            std::ptr::from_ref(&program).cast(),
            length,
        )
    };
    // SAFETY: takes no pointer. Unbound, it gets `::` and a free port.
    if filtered != 0 || unsafe { libc::listen(listener.as_raw_fd(), 1) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(listener)
}

fn map_shared(map: BorrowedFd<'_>) -> io::Result<NonNull<Shared>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let at = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size_of::<Shared>(),
            protection,
            libc::MAP_SHARED,
            map.as_raw_fd(),
            0,
        )
    };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(at.cast()).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// Guards by namespace, for one yanker: a look here saves the lock of [`of`].
#[derive(Debug, Default)]
pub struct Guards(Table<u64, Arc<Guard>>);

impl Guards {
    /// The guard of a socket's namespace.
    ///
    /// # Errors
    /// As [`of`].
    pub fn of(&mut self, fd: BorrowedFd<'_>) -> Result<Arc<Guard>, Failure> {
        let namespace =
            namespace(fd).map_err(|e| Failure::System("tell the socket's network namespace", e))?;
        if let Some(guard) = self.0.get(&namespace) {
            return Ok(Arc::clone(guard));
        }
        let guard = of(fd)?;
        self.0.insert(namespace, Arc::clone(&guard));
        Ok(guard)
    }

    /// What all of them have done.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.0.values().map(|guard| guard.counts()).fold(Counts::default(), |sum, one| Counts {
            covered: sum.covered + one.covered,
            caught: sum.caught + one.caught,
            unheard: sum.unheard + one.unheard,
            resumed: sum.resumed + one.resumed,
        })
    }
}
