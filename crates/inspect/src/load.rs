//! `modnet inspect enable` and `disable`: puts the programs into the kernel and pins what keeps them there.
//!
//! Rules: all or nothing: what fails on the way leaves no pin behind. Modes are set before the directory is opened to the
//! group. It must not change a kernel setting.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{chown, DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use aya::programs::links::FdLink;
use aya::programs::{BtfTracePoint, Program};
use aya::{Btf, Ebpf, EbpfLoader};

use modnet_abi::sockstate::STATE_VERSION;

use crate::access::{Access, Control};
use crate::bpf;
use crate::chosen;
use crate::place::{links, programs, Map, PLACED};

/// The object that `build.rs` has made.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sockstate.bpf.o"));

/// The program that is always there, and its tracepoint: it gives slots back, also those of a process that has just died.
const ALWAYS: (&str, &str) = ("gone", "tcp_destroy_sock");

/// Sockets on one core's list; `TOUCHED` in `bpf/work.h`.
const TOUCHED: u32 = 64;

/// Cores that this machine can have.
fn cores() -> u32 {
    // SAFETY: takes no pointer and changes nothing.
    let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) };
    u32::try_from(count).unwrap_or(1).clamp(1, 1024)
}

/// How to enable.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Sockets that can be inspected at one time; 256 bytes of kernel memory each.
    pub slots: u32,
    /// Who may inspect besides root.
    pub group: Option<u32>,
    /// Fill the check words.
    pub debug: bool,
}

/// A step that failed, and the system's words.
#[derive(Debug)]
pub struct Failure {
    /// One line.
    pub message: String,
    /// An errno value, where the system gave one.
    pub errno: i32,
}

impl Failure {
    fn new(step: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        // The innermost error is the system's.
        let (mut message, mut errno) = (error.to_string(), 0);
        let mut inner: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = inner {
            if let Some(system) = error.downcast_ref::<io::Error>() {
                errno = system.raw_os_error().unwrap_or(0);
                message = system.to_string();
            }
            inner = error.source();
        }
        let message = message.lines().next().unwrap_or_default().to_owned();
        Self { message: format!("{step}: {message}"), errno }
    }
}

/// Loads, attaches and pins everything below `dir`, a directory of a bpf file system that does not exist yet.
///
/// # Errors
/// The step that failed; then nothing is left behind.
pub fn enable(dir: &Path, plan: &Plan) -> Result<(), Failure> {
    let btf = Btf::from_sys_fs()
        .map_err(|e| Failure::new("this kernel does not describe itself (/sys/kernel/btf/vmlinux)", &e))?;
    let rows = chosen::rows(plan.slots);
    let mut object = EbpfLoader::new()
        .btf(Some(&btf))
        // `members` is of a kind that aya makes and has no type for; programs alone use it.
        .allow_unsupported_maps()
        .map_max_entries("states", plan.slots)
        .map_max_entries("next", plan.slots)
        .map_max_entries("works", plan.slots)
        .map_max_entries("chosen", rows)
        .map_max_entries("touches", TOUCHED * cores())
        .map_max_entries("answers", cores())
        .override_global("last_row", &(rows - 1), true)
        .override_global("debug_check", &u32::from(plan.debug), true)
        .load(OBJECT)
        .map_err(|e| Failure::new("cannot make the maps", &e))?;
    let made = fs::DirBuilder::new().mode(0o700).create(dir);
    made.map_err(|e| Failure::new(&format!("cannot make {}", dir.display()), &e))?;
    let done = fill(dir, plan, &btf, &mut object);
    if done.is_err() {
        // Its own failure says less than the one that led here.
        let _ = remove(dir);
    }
    done
}

fn fill(dir: &Path, plan: &Plan, btf: &Btf, object: &mut Ebpf) -> Result<(), Failure> {
    for map in Map::ALL {
        let at = map.pin(dir);
        let found = object.map(map.name()).ok_or_else(|| missing(map.name()))?;
        found.pin(&at).map_err(|e| Failure::new(&step("pin", &at), &e))?;
        give(&at, plan, 0o660)?;
    }
    set_control(object, plan)?;
    for map in Map::ALL.into_iter().filter(|map| map.is_frozen()) {
        let at = map.pin(dir);
        bpf::open(&at)
            .and_then(|map| bpf::freeze(map.as_fd()))
            .map_err(|e| Failure::new(&step("freeze", &at), &e))?;
    }
    let (programs, links) = (programs(dir), links(dir));
    for made in [&programs, &links] {
        fs::DirBuilder::new().mode(0o700).create(made).map_err(|e| Failure::new(&step("make", made), &e))?;
    }
    for (name, place) in [ALWAYS].into_iter().chain(PLACED) {
        let program = object.program_mut(name).ok_or_else(|| missing(name))?;
        // Each is put there once, so that a kernel which refuses it says so now.
        let link = attach(program, place, btf)
            .map_err(|e| Failure::new(&format!("this kernel refuses the program {name} at {place}"), &*e))?;
        if name == ALWAYS.0 {
            link.pin(links.join(name)).map_err(|e| Failure::new(&step("pin", &links.join(name)), &e))?;
        } else {
            let at = programs.join(name);
            program.pin(&at).map_err(|e| Failure::new(&step("pin", &at), &e))?;
            give(&at, plan, 0o660)?;
        }
    }
    give(&programs, plan, 0o750)?;
    give(dir, plan, 0o750)
}

fn step(what: &str, at: &Path) -> String {
    format!("cannot {what} {}", at.display())
}

/// To the group, with this mode; without a group what it says for others than the owner goes.
fn give(at: &Path, plan: &Plan, mode: u32) -> Result<(), Failure> {
    let mode = if plan.group.is_some() { mode } else { mode & 0o700 };
    chown(at, None, plan.group)
        .and_then(|()| fs::set_permissions(at, fs::Permissions::from_mode(mode)))
        .map_err(|e| Failure::new(&step("give to the group", at), &e))
}

fn attach(program: &mut Program, place: &str, btf: &Btf) -> Result<FdLink, Box<dyn std::error::Error>> {
    let program: &mut BtfTracePoint = program.try_into()?;
    program.load(place, btf)?;
    let id = program.attach()?;
    Ok(program.take_link(id)?.into())
}

fn set_control(object: &Ebpf, plan: &Plan) -> Result<(), Failure> {
    let map = object.map("control").ok_or_else(|| missing("control"))?;
    let aya::maps::Map::Array(data) = map else { return Err(missing("control")) };
    write_control(data.fd().as_fd(), |control| {
        control.capacity.store(plan.slots, std::sync::atomic::Ordering::Relaxed);
        control.debug.store(plan.debug.into(), std::sync::atomic::Ordering::Relaxed);
        control.version.store(STATE_VERSION, std::sync::atomic::Ordering::Release);
    })
    .map_err(|e| Failure::new("cannot write the map control", &e))
}

fn write_control(map: std::os::fd::BorrowedFd<'_>, change: impl FnOnce(&Control)) -> io::Result<()> {
    let bytes = size_of::<Control>();
    // SAFETY: a new mapping at an address of the kernel's choice.
    let at = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            map.as_raw_fd(),
            0,
        )
    };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the map holds one, a page or more is mapped, and all its fields are atomic.
    change(unsafe { &*at.cast::<Control>() });
    // SAFETY: our own mapping, which nothing borrows any more.
    unsafe { libc::munmap(at, bytes) };
    Ok(())
}

fn missing(name: &str) -> Failure {
    Failure { message: format!("the object has no {name}"), errno: 0 }
}

/// Takes the programs out of the kernel and the pins away. Whoever has mapped the states sees that they are written no more.
///
/// # Errors
/// ENOENT where nothing is enabled, or what the system says.
pub fn disable(dir: &Path) -> Result<(), Failure> {
    let step = || format!("cannot remove {}", dir.display());
    let meta = fs::symlink_metadata(dir).map_err(|e| Failure::new(&step(), &e))?;
    // SAFETY: takes no argument and cannot fail.
    if !meta.is_dir() || meta.uid() != unsafe { libc::geteuid() } {
        let message = format!("{} is not yours; remove it by hand", dir.display());
        return Err(Failure { message, errno: libc::EPERM });
    }
    // Half of a set, or an older one, has nobody to tell.
    let told = Access::open(dir).map(|access| {
        // The program that is told has to be at its place for that. If it is not, nobody is told, and `stop` says so.
        let _reader = access.reader();
        access.stop()
    });
    if let Ok(Err(error)) = told {
        return Err(Failure::new("cannot tell the readers", &error));
    }
    remove(dir).map_err(|e| Failure::new(&step(), &e))
}

fn remove(dir: &Path) -> io::Result<()> {
    fs::remove_dir_all(dir)
}
