//! The runtime directory: where it is, and whether it can be trusted.
//!
//! Rules: a directory that somebody else could change is refused, never repaired, because what stands in it decides
//! who gets sockets. It must not create anything above the runtime directory itself, which belongs to the system.

use std::env;
use std::ffi::{CString, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use modnet_abi::path::{MAX_RUNTIME, MODULES, PROCESSES, RUNTIME_ENV};

use crate::error::{Error, Result};

/// How often and at what distance a directory is looked at whose mode is not (yet) what it should be.
const MAKING: (u32, Duration) = (20, Duration::from_millis(5));

/// The directory below which modules and records stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// Absolute, with its parent's symbolic links resolved, so that it compares with what `/proc/PID/maps` shows.
    pub path: PathBuf,
}

impl Runtime {
    /// `$MODNET_RUNTIME_DIR`, else `/run/modnet` for root, else `$XDG_RUNTIME_DIR/modnet`, else `/tmp/modnet-<uid>`.
    ///
    /// # Errors
    /// As [`Runtime::at`].
    pub fn from_env() -> Result<Self> {
        Self::at(choose(env::var_os(RUNTIME_ENV), euid(), env::var_os("XDG_RUNTIME_DIR")))
    }

    /// A directory that was named. Nothing is created or checked on disk but the parent's symbolic links.
    ///
    /// # Errors
    /// ENAMETOOLONG where sockets below it would not fit an address, EINVAL for control characters.
    pub fn at(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if path.as_os_str().is_empty() || path.as_os_str().as_bytes().iter().any(u8::is_ascii_control) {
            return Err(Error::new(
                libc::EINVAL,
                format!("{path:?} cannot be a runtime directory; set {RUNTIME_ENV} to a plain path"),
            ));
        }
        let absolute = std::path::absolute(path)
            .map_err(|e| Error::system(format!("cannot use {}", path.display()), &e))?;
        let path = match (absolute.parent().map(fs::canonicalize), absolute.file_name()) {
            (Some(Ok(parent)), Some(last)) => parent.join(last),
            _ => absolute,
        };
        let length = path.as_os_str().len();
        if length > MAX_RUNTIME {
            return Err(Error::new(
                libc::ENAMETOOLONG,
                format!(
                    "the runtime directory {} has {length} characters and may have {MAX_RUNTIME}; set {RUNTIME_ENV} to a shorter one",
                    path.display()
                ),
            ));
        }
        Ok(Self { path })
    }

    /// Makes the directories where they are missing, and checks them.
    ///
    /// # Errors
    /// EPERM where it is not the caller's alone, ENOTDIR, ENOENT (no parent), EACCES or EROFS (not writable).
    pub fn prepare(&self) -> Result<()> {
        let mode = if euid() == 0 { 0o711 } else { 0o700 };
        make(&self.path, mode)?;
        check(&self.path, mode)?;
        for part in [self.modules(), self.processes()] {
            make(&part, mode)?;
            check(&part, mode)?;
        }
        Ok(())
    }

    /// For those who only look: true where there is a directory to look into.
    ///
    /// # Errors
    /// EPERM where somebody else could have written into it (root may look into anybody's).
    pub fn open(&self) -> Result<bool> {
        let meta = match fs::symlink_metadata(&self.path) {
            Ok(meta) => meta,
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => return Ok(false),
            Err(e) => return Err(Error::system(blind(&self.path), &e)),
        };
        trusted(&self.path, &meta, euid() == 0)?;
        Ok(true)
    }

    /// `<runtime>/modules`
    #[must_use]
    pub fn modules(&self) -> PathBuf {
        self.path.join(MODULES)
    }

    /// `<runtime>/modules/<name>`
    #[must_use]
    pub fn module(&self, name: &str) -> PathBuf {
        self.modules().join(name)
    }

    /// `<runtime>/processes`
    #[must_use]
    pub fn processes(&self) -> PathBuf {
        self.path.join(PROCESSES)
    }

    /// `<runtime>/processes/<pid>`
    #[must_use]
    pub fn record(&self, pid: u32) -> PathBuf {
        self.processes().join(pid.to_string())
    }
}

/// The effective user.
#[must_use]
pub fn euid() -> u32 {
    // SAFETY: takes no argument and cannot fail.
    unsafe { libc::geteuid() }
}

fn choose(named: Option<OsString>, uid: u32, xdg: Option<OsString>) -> PathBuf {
    match (named.filter(|n| !n.is_empty()), xdg.filter(|x| !x.is_empty())) {
        (Some(named), _) => PathBuf::from(named),
        (None, _) if uid == 0 => PathBuf::from("/run/modnet"),
        (None, Some(xdg)) => Path::new(&xdg).join("modnet"),
        (None, None) => PathBuf::from(OsString::from_vec(format!("/tmp/modnet-{uid}").into_bytes())),
    }
}

fn make(path: &Path, mode: u32) -> Result<()> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        // The umask may have taken bits away that privilege-dropping workers need.
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(|e| Error::system(format!("cannot set the mode of {}", path.display()), &e)),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(Error::new(
            libc::ENOENT,
            format!(
                "cannot make {}: {} does not exist; create it or set {RUNTIME_ENV}",
                path.display(),
                path.parent().unwrap_or(path).display()
            ),
        )),
        Err(e) => Err(Error::system(
            format!("cannot make {} (set {RUNTIME_ENV} to a directory of your own)", path.display()),
            &e,
        )),
    }
}

fn blind(path: &Path) -> String {
    format!("cannot look at {} (set {RUNTIME_ENV} to a directory of your own)", path.display())
}

fn check(path: &Path, mode: u32) -> Result<()> {
    let look = || fs::symlink_metadata(path).map_err(|e| Error::system(blind(path), &e));
    let lacks = |meta: &fs::Metadata| meta.mode() & 0o777 & mode != mode;
    let mut meta = look()?;
    trusted(path, &meta, false)?;
    // Another process may be between the two steps of `make`, of which the umask has shortened the first.
    for _ in 0..MAKING.0 {
        if lacks(&meta) {
            thread::sleep(MAKING.1);
            meta = look()?;
        }
    }
    if lacks(&meta) {
        return Err(Error::new(
            libc::EACCES,
            format!("{} has mode {:o}; run: chmod {mode:o} {0}", path.display(), meta.mode() & 0o777),
        ));
    }
    let name =
        CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::new(libc::EINVAL, "NUL in a path"))?;
    // SAFETY: `name` is a NUL-terminated string that outlives the call.
    if unsafe { libc::faccessat(libc::AT_FDCWD, name.as_ptr(), libc::W_OK | libc::X_OK, libc::AT_EACCESS) }
        != 0
    {
        return Err(Error::last(format!(
            "cannot write into {} (set {RUNTIME_ENV} to a directory of your own)",
            path.display()
        )));
    }
    Ok(())
}

fn trusted(path: &Path, meta: &fs::Metadata, any_owner: bool) -> Result<()> {
    let path = path.display();
    if meta.file_type().is_symlink() {
        return Err(Error::new(
            libc::EPERM,
            format!("{path} is a symbolic link, which others could turn; remove it or set {RUNTIME_ENV}"),
        ));
    }
    if !meta.is_dir() {
        return Err(Error::new(
            libc::ENOTDIR,
            format!("{path} is not a directory; remove it or set {RUNTIME_ENV}"),
        ));
    }
    if !any_owner && meta.uid() != euid() {
        return Err(Error::new(
            libc::EPERM,
            format!(
                "{path} belongs to user {}, not to you ({}); set {RUNTIME_ENV} to a directory of your own",
                meta.uid(),
                euid()
            ),
        ));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(Error::new(libc::EPERM, format!("others may write into {path}; run: chmod go-w {path}")));
    }
    Ok(())
}

#[cfg(test)]
#[path = "runtime_tests.rs"]
mod tests;
