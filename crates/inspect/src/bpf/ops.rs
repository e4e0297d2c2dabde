//! What aya has no words for: a program of the kind *struct_ops*, and storage that hangs on a socket. The kernel yank
//! carries a congestion window over by them.
//!
//! Rules: as [`super`]'s.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::opened;

const MAP_CREATE: i32 = 0;
const PROG_LOAD: i32 = 5;
const BTF_LOAD: i32 = 18;
const LINK_CREATE: i32 = 28;

/// `BPF_MAP_TYPE_SK_STORAGE`
pub const SK_STORAGE: u32 = 24;
/// `BPF_MAP_TYPE_STRUCT_OPS`
pub const STRUCT_OPS: u32 = 26;
/// `BPF_F_NO_PREALLOC`
pub const NO_PREALLOC: u32 = 1;
/// `BPF_F_LINK`: what is registered ends with its link, not only by word.
pub const LINK: u32 = 1 << 13;
const PROGRAM_STRUCT_OPS: u32 = 27;
const ATTACH_STRUCT_OPS: u32 = 44;

/// One instruction.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

impl Instruction {
    /// As the kernel's `struct bpf_insn`.
    #[must_use]
    pub fn new(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Self {
        Self { code, registers: from << 4 | to, offset, immediate }
    }
}

/// A map's first attributes; what is not said is 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct MapPlan {
    /// `BPF_MAP_TYPE_…`
    pub kind: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Most elements.
    pub max_entries: u32,
    /// `BPF_F_…`
    pub flags: u32,
    /// Inner map, node, name, interface: not used here.
    pub between: [u32; 7],
    /// The types below are of this.
    pub btf: i32,
    /// Type of a key.
    pub key_type: u32,
    /// Type of a value.
    pub value_type: u32,
    /// Type of a value among the kernel's own.
    pub kernel_value_type: u32,
}

#[repr(C)]
#[derive(Default)]
struct Program {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log: [u32; 2],
    log_at: u64,
    version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
    btf: u32,
    info: [u32; 8],
    attach_btf_id: u32,
}

#[repr(C)]
struct Btf {
    at: u64,
    log: u64,
    length: u32,
    log_size: u32,
    log_level: u32,
    pad: u32,
}

/// Makes a map.
///
/// # Errors
/// EPERM without CAP_BPF, or the system's.
pub fn create(mut plan: MapPlan) -> io::Result<OwnedFd> {
    opened(MAP_CREATE, &mut plan)
}

/// Describes types.
///
/// # Errors
/// The system's.
pub fn load_btf(bytes: &[u8]) -> io::Result<OwnedFd> {
    let length = u32::try_from(bytes.len()).unwrap_or(0);
    let mut btf = Btf { at: bytes.as_ptr() as u64, log: 0, length, log_size: 0, log_level: 0, pad: 0 };
    opened(BTF_LOAD, &mut btf)
}

/// Loads the function that is the member `member` of the kernel's struct `kind`.
///
/// # Errors
/// EACCES, EINVAL where the kernel does not accept it, or the system's.
pub fn load(code: &[Instruction], kind: u32, member: u32) -> io::Result<OwnedFd> {
    let mut program = Program {
        kind: PROGRAM_STRUCT_OPS,
        count: u32::try_from(code.len()).unwrap_or(0),
        instructions: code.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        attach_type: member,
        attach_btf_id: kind,
        ..Program::default()
    };
    opened(PROG_LOAD, &mut program)
}

/// Registers what a map of the kind `STRUCT_OPS` holds, until the link is closed.
///
/// # Errors
/// EEXIST where the name is taken, or the system's.
pub fn link(map: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    opened(LINK_CREATE, &mut [map.as_raw_fd().unsigned_abs(), 0, ATTACH_STRUCT_OPS, 0])
}
