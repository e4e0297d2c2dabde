//! The owner of bpf(2): the few commands that a reader needs; [`ops`] has those for which aya has no words. What loads
//! programs uses aya.
//!
//! Rules: one command a function, no decision. Rejected: aya for readers too. It wants CAP_BPF-like probing of the kernel and is 1 MB in every module's library, for four calls.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub mod ops;

const MAP_UPDATE: i32 = 2;
const OBJ_GET: i32 = 7;
const INFO_BY_FD: i32 = 15;
const PLACE: i32 = 17;
const FREEZE: i32 = 22;

/// The first fields of the kernel's `struct bpf_map_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct MapInfo {
    /// `BPF_MAP_TYPE_…`
    pub kind: u32,
    /// The kernel's number of it.
    pub id: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Most elements.
    pub max_entries: u32,
    /// `BPF_F_…`
    pub flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct ObjGet {
    path: u64,
    fd: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct Element {
    map: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct Info {
    fd: u32,
    len: u32,
    info: u64,
}

fn call<T>(command: i32, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: `attributes` is a prefix of union bpf_attr of the given size; the pointers in it live through the call.
    let answer = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), std::mem::size_of::<T>())
    };
    // The commands used here answer with 0, -1 or a descriptor.
    i32::try_from(answer).ok().filter(|answer| *answer >= 0).ok_or_else(io::Error::last_os_error)
}

/// For commands that answer with a new descriptor.
fn opened<T>(command: i32, attributes: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: such a descriptor is ours alone.
    call(command, attributes).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Opens what is pinned at `path`, for reading and writing.
///
/// # Errors
/// ENOENT, EACCES by the file's mode, EPERM where the kernel lets unprivileged users make no bpf call at all.
pub fn open(path: &Path) -> io::Result<OwnedFd> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = ObjGet { path: name.as_ptr() as u64, ..ObjGet::default() };
    opened(OBJ_GET, &mut attributes)
}

/// Puts a program for a tracepoint at its place, until the answer is closed (BPF_RAW_TRACEPOINT_OPEN; a program that knows its place
/// has no name of one).
///
/// # Errors
/// EINVAL where it is no such program; the system's.
pub fn place(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    opened(PLACE, &mut ObjGet { path: 0, fd: program.as_raw_fd().unsigned_abs(), flags: 0 })
}

/// From now on no process can write the map, by call or by mapping; programs can.
///
/// # Errors
/// EBUSY while somebody maps it for writing, EPERM without CAP_BPF.
pub fn freeze(map: BorrowedFd<'_>) -> io::Result<()> {
    call(FREEZE, &mut Info { fd: map.as_raw_fd().unsigned_abs(), ..Info::default() }).map(|_| ())
}

/// What a map is.
///
/// # Errors
/// What the system says.
pub fn info(map: BorrowedFd<'_>) -> io::Result<MapInfo> {
    let mut found = MapInfo::default();
    let mut attributes = Info {
        fd: map.as_raw_fd().unsigned_abs(),
        len: u32::try_from(std::mem::size_of::<MapInfo>()).unwrap_or(0),
        info: std::ptr::from_mut(&mut found) as u64,
    };
    call(INFO_BY_FD, &mut attributes)?;
    Ok(found)
}

/// How often a socket's storage is tried for: each time somebody else has made it, or taken it away, at the same moment.
const TRIES: usize = 1000;

/// Sets the element of a socket's storage, whose key is the socket's descriptor.
///
/// # Errors
/// EBADF, ENOTSOCK; ENOMEM where the socket may have no more of it; EPERM.
pub fn set(map: BorrowedFd<'_>, socket: BorrowedFd<'_>, value: u32) -> io::Result<()> {
    for _ in 1..TRIES {
        match update(map, socket.as_raw_fd(), &value.to_ne_bytes()) {
            // Modules of a chain, and its application, ask about one socket at once.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
            done => return done,
        }
    }
    update(map, socket.as_raw_fd(), &value.to_ne_bytes())
}

/// Sets an element of a map whose keys have four bytes.
///
/// # Errors
/// The system's.
pub fn update(map: BorrowedFd<'_>, key: i32, value: &[u8]) -> io::Result<()> {
    let mut attributes = Element {
        map: map.as_raw_fd().unsigned_abs(),
        key: std::ptr::from_ref(&key) as u64,
        value: value.as_ptr() as u64,
        ..Element::default()
    };
    call(MAP_UPDATE, &mut attributes).map(|_| ())
}
