//! A queue's name in the registry, taken away while the module has no room for more flows, and put back.
//!
//! Shims that find `full.<cpu>` where `steal.<cpu>` was pass without this module. A rename, so that the listening
//! socket stays the same one; under the registry's lock and by inode, so that a later module of that name keeps its own.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use modnet_abi::path::{FULL_PREFIX, STEAL_PREFIX};

use super::is_inode;
use super::lock::Lock;
use crate::error::{Error, Result};
use crate::runtime::Runtime;

/// One queue's name.
#[derive(Debug)]
pub struct Entrance {
    runtime: Runtime,
    path: PathBuf,
    inode: u64,
}

impl Entrance {
    /// The entrance of core `cpu` of a module that has just been registered.
    ///
    /// # Errors
    /// ENOENT: it is not there.
    pub fn of(runtime: &Runtime, name: &str, cpu: u32) -> io::Result<Self> {
        let path = runtime.module(name).join(format!("{STEAL_PREFIX}{cpu}"));
        let inode = fs::symlink_metadata(&path)?.ino();
        Ok(Self { runtime: runtime.clone(), path, inode })
    }

    /// From now on shims pass without this module.
    ///
    /// # Errors
    /// ETIMEDOUT: the registry's lock cannot be had; ENOENT: the name has been given back, or is another's.
    pub fn close(&self) -> Result<()> {
        self.rename(&self.path, &hidden(&self.path))
    }

    /// They come again.
    ///
    /// # Errors
    /// As [`Entrance::close`].
    pub fn open(&self) -> Result<()> {
        self.rename(&hidden(&self.path), &self.path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let _lock = Lock::take(&self.runtime)?;
        if is_inode(to, self.inode) {
            // As it is to be: what was asked before has failed.
            return Ok(());
        }
        if !is_inode(from, self.inode) {
            return Err(Error::new(libc::ENOENT, format!("{} is not ours any more", from.display())));
        }
        fs::rename(from, to).map_err(|e| Error::system(format!("cannot rename {}", from.display()), &e))
    }
}

/// Where a queue's socket stands while its module is full; any other path stays as it is.
pub(super) fn hidden(path: &Path) -> PathBuf {
    let core = path.file_name().and_then(|name| name.to_str()?.strip_prefix(STEAL_PREFIX));
    core.map_or_else(|| path.to_owned(), |core| path.with_file_name(format!("{FULL_PREFIX}{core}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registration;
    use crate::scratch::Scratch;

    #[test]
    fn what_is_as_it_should_be_is_no_error_and_what_is_anothers_stays() {
        let scratch = Scratch::new();
        let runtime = scratch.runtime();
        let registration = Registration::bind(&runtime, "m", &[0]).unwrap();
        let entrance = Entrance::of(&runtime, "m", 0).unwrap();
        let path = runtime.module("m").join(format!("{STEAL_PREFIX}0"));
        // The close before had failed.
        entrance.open().unwrap();
        assert!(path.exists());
        for _ in 0..2 {
            entrance.close().unwrap();
            assert!(!path.exists() && hidden(&path).exists());
        }
        entrance.open().unwrap();
        let other = Entrance { inode: entrance.inode + 1, ..entrance };
        assert!(path.exists() && other.close().is_err() && path.exists());
        drop(registration);
    }
}
