//! The registry: a name is registered by binding sockets in `modules/<name>/`, and free when nobody listens there.
//!
//! | file | holds |
//! | --- | --- |
//! | [`entrance`] | a queue's name, taken away while the module is full |
//! | [`lock`] | the lock that makes "is it free? then it is mine" one step |
//! | [`socket`] | SEQPACKET sockets: bind, connect, who is the peer |
//! | here | [`Registration`], [`list`], [`sweep`], connecting to a module |
//!
//! Rules: a living name is never taken, a dead one is free at once; nothing waits longer than the lock's bound.
//! Rejected: a file with the holder's pid (pids are used again) and `bind` alone without a lock (after a crash two
//! racers would both remove "the stale socket", the second one the first one's).

pub mod entrance;
pub mod lock;
pub mod socket;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use modnet_abi::name::{pack, Name, NameError};
use modnet_abi::path::{SocketPath, CONTROL};

use crate::error::{Error, Result};
use crate::runtime::{euid, Runtime};
use lock::Lock;

/// A module's hold on its name; dropping it gives the name back.
#[derive(Debug)]
pub struct Registration {
    /// The listening control socket, see [`crate::control`].
    pub control: OwnedFd,
    /// The listening steal queues and their cores.
    pub queues: Vec<(u32, OwnedFd)>,
    /// The name.
    pub name: String,
    /// Where it is registered.
    pub runtime: Runtime,
    files: Vec<File>,
}

/// A file that was bound, and its inode, by which we know that it is still ours.
#[derive(Debug)]
struct File {
    path: PathBuf,
    inode: u64,
}

impl Registration {
    /// Takes `name`, with a control socket (0600) and a steal queue (0666) for each core.
    ///
    /// # Errors
    /// EEXIST where a living module has the name, EINVAL where it is not a name, ETIMEDOUT where another process
    /// holds the registry's lock, else what the system or [`Runtime::prepare`] says.
    pub fn bind(runtime: &Runtime, name: &str, cpus: &[u32]) -> Result<Self> {
        let packed = check_name(name)?;
        runtime.prepare()?;
        let _lock = Lock::take(runtime)?;
        if is_living(runtime, name)? {
            return Err(Error::taken(name));
        }
        remove_stale(runtime, name)?;
        let directory = runtime.module(name);
        let mode = if euid() == 0 { 0o711 } else { 0o700 };
        fs::DirBuilder::new()
            .mode(mode)
            .create(&directory)
            .and_then(|()| {
                fs::set_permissions(&directory, std::os::unix::fs::PermissionsExt::from_mode(mode))
            })
            .map_err(|e| Error::system(format!("cannot make {}", directory.display()), &e))?;
        let bound = bind_all(runtime, &packed, &directory, cpus);
        if bound.is_err() {
            let _ = fs::remove_dir_all(&directory);
        }
        let (control, queues, files) = bound?;
        Ok(Self { control, queues, name: name.to_owned(), runtime: runtime.clone(), files })
    }

    /// Removes what is still ours; the second call does nothing.
    ///
    /// # Errors
    /// ETIMEDOUT where the lock cannot be had: the files stay, and the next registration removes them.
    pub fn unregister(&mut self) -> Result<()> {
        if self.files.is_empty() {
            return Ok(());
        }
        let _lock = Lock::take(&self.runtime)?;
        for file in self.files.drain(..) {
            for path in [entrance::hidden(&file.path), file.path] {
                if is_inode(&path, file.inode) {
                    let _ = fs::remove_file(&path);
                }
            }
        }
        // Not empty where a later module has the name: then it stays, rightly.
        let _ = fs::remove_dir(self.runtime.module(&self.name));
        Ok(())
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // Nothing can be done about a refusal here, and the next registration repairs it.
        let _ = self.unregister();
    }
}

fn is_inode(path: &Path, inode: u64) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.ino() == inode)
}

type Bound = (OwnedFd, Vec<(u32, OwnedFd)>, Vec<File>);

fn bind_all(runtime: &Runtime, name: &Name, directory: &Path, cpus: &[u32]) -> Result<Bound> {
    use std::os::unix::ffi::OsStrExt;
    let mut files = Vec::with_capacity(cpus.len() + 1);
    let mut bind = |path: &Path, mode: u32| -> Result<OwnedFd> {
        let fail = |e: io::Error| Error::system(format!("cannot listen on {}", path.display()), &e);
        let fd = socket::listen(path, mode).map_err(fail)?;
        let inode = fs::symlink_metadata(path).map_err(fail)?.ino();
        files.push(File { path: path.to_owned(), inode });
        Ok(fd)
    };
    let mut queues = Vec::with_capacity(cpus.len());
    for &cpu in cpus {
        let path = SocketPath::steal(runtime.path.as_os_str().as_bytes(), name, cpu)
            .ok_or_else(|| Error::new(libc::ENAMETOOLONG, format!("no room for the queue of core {cpu}")))?;
        let path = Path::new(std::ffi::OsStr::from_bytes(path.as_bytes())).to_owned();
        queues.push((cpu, bind(&path, 0o666)?));
    }
    // Last: who sees the control socket listen sees a whole module.
    let control = bind(&directory.join(CONTROL), 0o600)?;
    Ok((control, queues, files))
}

/// Checks a module's name.
///
/// # Errors
/// EINVAL, with the rule that it breaks.
pub fn check_name(name: &str) -> Result<Name> {
    pack(name.as_bytes()).map_err(|e| {
        let rule = match e {
            NameError::Empty => "a module's name cannot be empty".to_owned(),
            NameError::TooLong => format!("the module name {name:?} has more than 31 characters; choose a shorter one (as=NAME)"),
            NameError::Character => format!(
                "{name:?} is not a module's name: begin with a letter or digit, go on with letters, digits, _ - or ."
            ),
        };
        Error::new(libc::EINVAL, rule)
    })
}

/// Whether a module listens under that name. A stopped or busy one does.
///
/// # Errors
/// What the system says, other than that nobody listens.
pub fn is_living(runtime: &Runtime, name: &str) -> Result<bool> {
    match socket::connect(&runtime.module(name).join(CONTROL)) {
        Ok(_) => Ok(true),
        Err(e) => match e.raw_os_error() {
            Some(libc::EAGAIN) => Ok(true),
            // ENOTSOCK and EPROTOTYPE: a file or another kind of socket stands there; a module's it is not.
            Some(
                libc::ECONNREFUSED
                | libc::ENOENT
                | libc::ENOTDIR
                | libc::ENOTSOCK
                | libc::EPROTOTYPE
                | libc::ELOOP,
            ) => Ok(false),
            _ => Err(Error::system(format!("cannot ask whether module {name} lives"), &e)),
        },
    }
}

fn remove_stale(runtime: &Runtime, name: &str) -> Result<()> {
    let path = runtime.module(name);
    let removed = match fs::symlink_metadata(&path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(&path),
        Ok(_) => fs::remove_file(&path),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    };
    removed.map_err(|e| {
        Error::system(format!("cannot remove what a dead module left, {}", path.display()), &e)
    })?;
    // A log in which something stands stays: it may say why the module died.
    let log = runtime.path.join("log").join(format!("{name}.log"));
    if fs::symlink_metadata(&log).is_ok_and(|meta| meta.len() == 0) {
        let _ = fs::remove_file(&log);
    }
    // Succeeds where that was the last one.
    let _ = fs::remove_dir(runtime.path.join("log"));
    Ok(())
}

/// The names of the living modules, sorted.
///
/// # Errors
/// EPERM, EACCES: the runtime directory cannot be trusted or read.
pub fn list(runtime: &Runtime) -> Result<Vec<String>> {
    let mut living = Vec::new();
    for name in names(runtime)? {
        if is_living(runtime, &name)? {
            living.push(name);
        }
    }
    Ok(living)
}

/// Removes what dead modules left behind. Returns their names.
///
/// # Errors
/// As [`list`]; ETIMEDOUT where the lock is held.
pub fn sweep(runtime: &Runtime) -> Result<Vec<String>> {
    let mut dead = Vec::new();
    for name in names(runtime)? {
        if is_living(runtime, &name)? {
            continue;
        }
        let _lock = Lock::take(runtime)?;
        // Somebody may have taken the name since.
        if !is_living(runtime, &name)? {
            remove_stale(runtime, &name)?;
            dead.push(name);
        }
    }
    Ok(dead)
}

fn names(runtime: &Runtime) -> Result<Vec<String>> {
    if !runtime.open()? {
        return Ok(Vec::new());
    }
    let path = runtime.modules();
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::system(format!("cannot list {}", path.display()), &e)),
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|e| e.file_name().into_string().ok())
        .filter(|n| check_name(n).is_ok())
        .collect();
    names.sort();
    Ok(names)
}

/// A connection to a module's steal queue on one core, non-blocking; its peer is the caller's user or root.
///
/// # Errors
/// ENOENT or ECONNREFUSED: no such module, or dead; EAGAIN: its backlog is full; EPERM: somebody else's.
pub fn connect_queue(runtime: &Runtime, name: &str, cpu: u32) -> io::Result<OwnedFd> {
    let packed = check_name(name).map_err(io::Error::from)?;
    let path =
        queue_path(runtime, &packed, cpu).ok_or_else(|| io::Error::from_raw_os_error(libc::ENAMETOOLONG))?;
    trusted(socket::connect(&path)?)
}

fn queue_path(runtime: &Runtime, name: &Name, cpu: u32) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let path = SocketPath::steal(runtime.path.as_os_str().as_bytes(), name, cpu)?;
    Some(std::ffi::OsStr::from_bytes(path.as_bytes()).into())
}

/// Whether a module's queue on one core has its name: it is not full, and was not told to stop.
#[must_use]
pub fn has_queue(runtime: &Runtime, name: &str, cpu: u32) -> bool {
    let path = check_name(name).ok().and_then(|packed| queue_path(runtime, &packed, cpu));
    path.is_some_and(|path| path.exists())
}

/// A connection to a module's control socket, non-blocking; its peer is the caller's user or root.
///
/// # Errors
/// As [`connect_queue`].
pub fn connect_control(runtime: &Runtime, name: &str) -> io::Result<OwnedFd> {
    check_name(name).map_err(io::Error::from)?;
    trusted(socket::connect(&runtime.module(name).join(CONTROL))?)
}

fn trusted(fd: OwnedFd) -> io::Result<OwnedFd> {
    let peer = socket::peer(&fd)?;
    if peer.uid == euid() || peer.uid == 0 || euid() == 0 {
        return Ok(fd);
    }
    Err(io::Error::from_raw_os_error(libc::EPERM))
}
