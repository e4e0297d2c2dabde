//! How congestion window and slow start threshold come back: by a congestion control of ours, whose `init` sets both.
//!
//! The kernel has no option for either, and a disconnect forgets them: a window of 10 again, and slow start without a
//! threshold, which ends in losses. A congestion control may write them; so the rebuilt connection is given ours, and at once its own
//! again. `README.md` of experiments/kernel_yank has what else was tried.
//!
//! Rules: one for each process, whatever the number of namespaces; its name is nobody else's. It ends with the process, and
//! a socket never keeps it: what fails in between is for the caller to bury.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use modnet_inspect::bpf;
use modnet_inspect::bpf::ops::{self, Instruction, MapPlan};

use super::btf;
use super::options::{self, name};

const BTF: &str = "/sys/kernel/btf/vmlinux";
const STORAGE_GET: i32 = 107;
/// `TCP_CA_NAME_MAX`
const NAME: usize = 16;

/// The congestion control, registered.
#[derive(Debug)]
pub struct Carrier {
    name: [u8; NAME],
    values: OwnedFd,
    // Programs, registration and all end with it.
    _held: Vec<OwnedFd>,
}

static CARRIER: Mutex<Weak<Carrier>> = Mutex::new(Weak::new());

/// This process' carrier.
///
/// # Errors
/// What stands in the way, in words.
pub fn carrier() -> Result<Arc<Carrier>, String> {
    let mut one = CARRIER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = one.upgrade() {
        return Ok(found);
    }
    let made = Arc::new(Carrier::new()?);
    *one = Arc::downgrade(&made);
    Ok(made)
}

/// Two types, for a map's key and value: `u32` and `u64`.
fn types() -> Vec<u8> {
    let strings = b"\0u32\0u64\0";
    let types = [1, 1 << 24, 4, 32, 5, 1 << 24, 8, 64u32];
    let (length, more) = (size_of_val(&types) as u32, strings.len() as u32);
    let header = [24, 0, length, length, more].into_iter().chain(types).flat_map(u32::to_ne_bytes);
    [0x9f, 0xeb, 1, 0].into_iter().chain(header).chain(*strings).collect()
}

/// Register 6 becomes the socket, which is the function's first argument.
fn socket() -> Instruction {
    Instruction::new(0x79, 6, 1, 0, 0)
}

fn exit() -> Instruction {
    Instruction::new(0x95, 0, 0, 0, 0)
}

/// Sets two fields of the socket to the halves of what its storage holds, if it holds anything.
fn init(values: BorrowedFd<'_>, first: i16, second: i16) -> Vec<Instruction> {
    let i = Instruction::new;
    let load_map = [i(0x18, 1, 1, 0, values.as_raw_fd()), i(0, 0, 0, 0, 0)];
    let arguments = [i(0xbf, 2, 6, 0, 0), i(0xb7, 3, 0, 0, 0), i(0xb7, 4, 0, 0, 0)];
    let find = [i(0x85, 0, 0, 0, STORAGE_GET), i(0x15, 0, 0, 4, 0)];
    let copy = [i(0x61, 1, 0, 0, 0), i(0x63, 6, 1, first, 0), i(0x61, 1, 0, 4, 0), i(0x63, 6, 1, second, 0)];
    let end = [i(0xb7, 0, 0, 0, 0), exit()];
    [&[socket()][..], &load_map, &arguments, &find, &copy, &end].concat()
}

/// Answers a field of the socket.
fn field(at: i16) -> Vec<Instruction> {
    vec![socket(), Instruction::new(0x61, 0, 6, at, 0), exit()]
}

impl Carrier {
    fn new() -> Result<Self, String> {
        let kernel = std::fs::read(BTF).map_err(|e| format!("cannot read {BTF}: {e}"))?;
        let kinds = ["tcp_congestion_ops", "bpf_struct_ops_tcp_congestion_ops", "tcp_sock"];
        let found = btf::find(&kernel, kinds).ok_or("this kernel has no congestion controls of eBPF")?;
        Self::of(&found).map_err(|e| format!("cannot register a congestion control: {e}"))
    }

    fn of([kind, holder, sock]: &[btf::Struct; 3]) -> io::Result<Self> {
        let missing = || io::Error::other("a struct of the kernel's lacks a member");
        let place = |of: &btf::Struct, member: &str| of.member(member).ok_or_else(missing);
        let of_socket =
            |member| place(sock, member).and_then(|(_, at)| i16::try_from(at).map_err(|_| missing()));
        let (window, threshold) = (of_socket("snd_cwnd")?, of_socket("snd_ssthresh")?);
        let types = ops::load_btf(&types())?;
        let values = ops::create(MapPlan {
            kind: ops::SK_STORAGE,
            key_size: 4,
            value_size: 8,
            flags: ops::NO_PREALLOC,
            btf: types.as_raw_fd(),
            key_type: 1,
            value_type: 2,
            ..MapPlan::default()
        })?;
        let nothing = vec![Instruction::new(0xb7, 0, 0, 0, 0), exit()];
        let functions = [
            ("init", init(values.as_fd(), window, threshold)),
            // A congestion control has to have these; no acknowledgement comes while ours is there.
            ("ssthresh", field(threshold)),
            ("undo_cwnd", field(window)),
            ("cong_avoid", nothing),
        ];
        let mut value = vec![0u8; holder.size as usize];
        let data = place(holder, "data")?.1;
        let mut put = |member: &str, bytes: &[u8]| -> io::Result<u32> {
            let (number, at) = place(kind, member)?;
            let at = (data + at) as usize;
            value.get_mut(at..at + bytes.len()).ok_or_else(missing)?.copy_from_slice(bytes);
            Ok(number)
        };
        let mut held = Vec::new();
        for (member, code) in functions {
            let number = place(kind, member)?.0;
            let program = ops::load(&code, kind.id, number)?;
            put(member, &u64::from(program.as_raw_fd().unsigned_abs()).to_ne_bytes())?;
            held.push(program);
        }
        let name = unique()?;
        put("name", &name)?;
        let map = ops::create(MapPlan {
            kind: ops::STRUCT_OPS,
            key_size: 4,
            value_size: holder.size,
            max_entries: 1,
            flags: ops::LINK,
            btf: types.as_raw_fd(),
            kernel_value_type: holder.id,
            ..MapPlan::default()
        })?;
        bpf::update(map.as_fd(), 0, &value)?;
        held.push(ops::link(map.as_fd())?);
        held.extend([map, types]);
        Ok(Self { name, values, _held: held })
    }

    /// Sets window and threshold, in segments, and gives the socket its congestion control `own` again.
    ///
    /// # Errors
    /// The system's; then the socket may have ours still.
    pub fn give(&self, fd: BorrowedFd<'_>, window: u32, threshold: u32, own: &[u8; NAME]) -> io::Result<()> {
        let halves = [window.to_ne_bytes(), threshold.to_ne_bytes()].concat();
        bpf::update(self.values.as_fd(), fd.as_raw_fd(), &halves)?;
        options::set(fd, libc::IPPROTO_TCP, name::CONGESTION, &[self.name])?;
        options::set(fd, libc::IPPROTO_TCP, name::CONGESTION, &[*own])
    }
}

/// A name that no other process has.
fn unique() -> io::Result<[u8; NAME]> {
    let mut random = [0u8; 5];
    // SAFETY: writes five bytes.
    if unsafe { libc::getrandom(random.as_mut_ptr().cast(), random.len(), 0) } != 5 {
        return Err(io::Error::last_os_error());
    }
    let mut name = [0; NAME];
    let text = random.iter().fold("yank_".to_owned(), |text, byte| format!("{text}{byte:02x}"));
    name[..text.len()].copy_from_slice(text.as_bytes());
    Ok(name)
}

#[cfg(test)]
#[path = "carrier_tests.rs"]
mod tests;
