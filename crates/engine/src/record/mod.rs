//! `processes/<pid>`: the chain applied to a process tree, as `modnet_abi::record` lays it out.
//!
//! | file | holds |
//! | --- | --- |
//! | here | making, opening, changing and checking a record |
//! | [`room`] | which numbers the hidden duplicates get |
//!
//! Rules: a record appears whole (temporary file, then rename) and is its owner's alone; a change goes through the
//! generation (odd while writing), so no reader takes half of one; writers exclude each other by a lock on the file.
//! It must not tell modules anything: that is `apply`'s and the launcher's.

mod page;
pub mod room;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use modnet_abi::counter::COUNTERS;
use modnet_abi::name::Name;
use modnet_abi::record::{MAX_CHAIN, RECORD_BYTES};

use crate::error::{Error, Result};
use crate::pairs::Pairs;
use crate::registry::check_name;
use crate::runtime::{euid, Runtime};
use page::Pages;

/// What a new record says.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// The process that the chain is applied to; the file's name.
    pub root_pid: u32,
    /// Names of modules, nearest to the application first.
    pub chain: &'a [&'a str],
    /// Refuse connections that the chain cannot take.
    pub fail_closed: bool,
    /// Whether the application's pairs outlive their flows, where its first module agrees.
    pub pairs: Pairs,
    /// Whether small writes may go through shared memory.
    pub inline: bool,
    /// See [`room`].
    pub hidden_base: u32,
    /// See [`room`]; 0 where nothing is hidden.
    pub shown_hard_limit: u64,
}

/// What applies at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Names of modules, nearest to the application first.
    pub chain: Vec<String>,
    /// Refuse connections that the chain cannot take.
    pub fail_closed: bool,
    /// Whether the application's pairs outlive their flows, where its first module agrees.
    pub pairs: Pairs,
    /// Whether its small writes may go through shared memory.
    pub inline: bool,
    /// Changes with every change.
    pub generation: u32,
}

/// An open record.
#[derive(Debug)]
pub struct Record {
    /// Whose it is: `modnet run`'s pid, which its command keeps.
    pub root_pid: u32,
    /// The user who made it.
    pub owner: u32,
    file: File,
    pages: Pages,
}

impl Record {
    /// Writes `processes/<root_pid>`, over an older one of a process that had the same number.
    ///
    /// # Errors
    /// EINVAL for a chain too long or with a bad name; what the system says.
    pub fn create(runtime: &Runtime, plan: &Plan<'_>) -> Result<Self> {
        let chain = pack_chain(plan.chain)?;
        runtime.prepare()?;
        let mut token = [0; 16];
        random(&mut token)?;
        let path = runtime.record(plan.root_pid);
        let fail = |e: io::Error| Error::system(format!("cannot write {}", path.display()), &e);
        let temporary =
            runtime.processes().join(format!(".new.{}.{:x}", plan.root_pid, u128::from_ne_bytes(token)));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(&temporary)
            .map_err(fail)?;
        let made = (|| {
            // Written, not truncated to size: a full disk is an error here instead of a SIGBUS in the application.
            file.write_all(&[0; RECORD_BYTES]).map_err(fail)?;
            let pages = Pages::map(&file, true).map_err(fail)?;
            pages.fill(plan, euid(), &token, &chain);
            fs::rename(&temporary, &path).map_err(fail)?;
            Ok(pages)
        })();
        if made.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        Ok(Self { root_pid: plan.root_pid, owner: euid(), file, pages: made? })
    }

    /// Opens a record to read and change it.
    ///
    /// # Errors
    /// ENOENT: there is none; EPERM: it is another user's; EINVAL: it is not a record of this version.
    pub fn open(runtime: &Runtime, root_pid: u32) -> Result<Self> {
        Self::open_as(runtime, root_pid, true)
    }

    /// As [`Record::open`], to read only.
    ///
    /// # Errors
    /// As [`Record::open`].
    pub fn look(runtime: &Runtime, root_pid: u32) -> Result<Self> {
        Self::open_as(runtime, root_pid, false)
    }

    fn open_as(runtime: &Runtime, root_pid: u32, write: bool) -> Result<Self> {
        let path = runtime.record(root_pid);
        let file = OpenOptions::new()
            .read(true)
            .write(write)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK)
            .open(&path)
            .map_err(|e| match e.raw_os_error() {
                Some(libc::EACCES) => Error::new(
                    libc::EPERM,
                    format!("the record {} is another user's; act as its owner or as root", path.display()),
                ),
                _ => Error::system(format!("cannot open the record {}", path.display()), &e),
            })?;
        let meta =
            file.metadata().map_err(|e| Error::system(format!("cannot look at {}", path.display()), &e))?;
        let bad = |why: &str| {
            Error::new(libc::EINVAL, format!("{} is not a record ({why}); remove it", path.display()))
        };
        if !meta.is_file() || meta.len() != RECORD_BYTES as u64 {
            return Err(bad("wrong size"));
        }
        // Root's modules serve everybody's records, everybody's modules serve root's.
        if meta.uid() != euid() && meta.uid() != 0 && euid() != 0 {
            return Err(Error::new(libc::EPERM, format!("the record {} is another user's", path.display())));
        }
        let pages = Pages::map(&file, write)
            .map_err(|e| Error::system(format!("cannot map {}", path.display()), &e))?;
        if !pages.is_valid(root_pid) {
            return Err(bad("another version or process; was ModNet upgraded while it ran?"));
        }
        Ok(Self { root_pid, owner: meta.uid(), file, pages })
    }

    /// Changes the chain. Processes that map the record follow at their next accept.
    ///
    /// # Errors
    /// EINVAL for a chain too long or with a bad name, EBADF for a record opened to read only, ETIMEDOUT where
    /// another writer does not come to its end.
    pub fn apply(&self, chain: &[&str], fail_closed: bool) -> Result<()> {
        let packed = pack_chain(chain)?;
        if !self.pages.writable {
            return Err(Error::new(libc::EBADF, "the record was opened to read only"));
        }
        let _lock = page::WriteLock::take(&self.file).ok_or_else(|| {
            Error::new(
                libc::ETIMEDOUT,
                format!(
                    "the record of process {} stays locked; is another modnet apply stopped?",
                    self.root_pid
                ),
            )
        })?;
        self.pages.write(&packed, u32::try_from(chain.len()).unwrap_or(0), fail_closed);
        Ok(())
    }

    /// What applies now.
    ///
    /// # Errors
    /// EAGAIN where a writer died in the middle of a change (the next `apply` repairs it).
    pub fn applied(&self) -> Result<Applied> {
        self.pages.read().ok_or_else(|| {
            Error::new(
                libc::EAGAIN,
                format!(
                    "the record of process {0} is half written; run: modnet apply {0} MODULE…",
                    self.root_pid
                ),
            )
        })
    }

    /// The names of the chain, nearest to the application first.
    ///
    /// # Errors
    /// As [`Record::applied`].
    pub fn chain(&self) -> Result<Vec<String>> {
        self.applied().map(|applied| applied.chain)
    }

    /// All counters, by index (see `modnet_abi::counter::TABLE`).
    #[must_use]
    pub fn counters(&self) -> [u64; COUNTERS] {
        self.pages.counters()
    }

    /// The proof that travels with the sockets.
    #[must_use]
    pub fn token(&self) -> [u8; 16] {
        self.pages.token()
    }
}

/// Whether a chain with `module` was applied under the record's token, as somebody claims who sends sockets.
///
/// # Errors
/// ENOENT: no such record; EPERM: wrong token, another user's record, or a chain without `module`.
pub fn verify(runtime: &Runtime, record: u32, token: &[u8; 16], module: &str) -> Result<()> {
    let open = Record::look(runtime, record)?;
    // Every byte is compared, so that the time taken says nothing about where they differ.
    let differing = open.token().iter().zip(token).fold(0, |all, (a, b)| all | (a ^ b));
    if differing != 0 {
        return Err(Error::new(libc::EPERM, format!("the token is not that of record {record}")));
    }
    if !open.chain()?.iter().any(|name| name == module) {
        return Err(Error::new(libc::EPERM, format!("the chain of record {record} does not name {module}")));
    }
    Ok(())
}

/// Removes a record; one that is not there is no error.
///
/// # Errors
/// What the system says.
pub fn remove(runtime: &Runtime, root_pid: u32) -> Result<()> {
    let path = runtime.record(root_pid);
    match fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(Error::system(format!("cannot remove {}", path.display()), &e))
        }
        _ => Ok(()),
    }
}

/// The numbers of all records, sorted.
///
/// # Errors
/// EPERM, EACCES: the runtime directory cannot be trusted or read.
pub fn list(runtime: &Runtime) -> Result<Vec<u32>> {
    if !runtime.open()? {
        return Ok(Vec::new());
    }
    let path = runtime.processes();
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::system(format!("cannot list {}", path.display()), &e)),
    };
    let mut pids: Vec<u32> = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    Ok(pids)
}

fn pack_chain(chain: &[&str]) -> Result<[Name; MAX_CHAIN]> {
    if chain.len() > MAX_CHAIN {
        return Err(Error::new(
            libc::EINVAL,
            format!("a chain may have {MAX_CHAIN} modules, this one has {}", chain.len()),
        ));
    }
    let mut packed = [[0; modnet_abi::name::NAME_BYTES]; MAX_CHAIN];
    for (at, name) in chain.iter().enumerate() {
        if chain[..at].contains(name) {
            return Err(Error::new(
                libc::EINVAL,
                format!("{name} stands twice in the chain; give the second one another name (as=NAME)"),
            ));
        }
        packed[at] = check_name(name)?;
    }
    Ok(packed)
}

fn random(bytes: &mut [u8; 16]) -> Result<()> {
    // SAFETY: the kernel writes at most 16 bytes into an array of 16.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    // Up to 256 bytes come whole or not at all.
    if usize::try_from(got) != Ok(bytes.len()) {
        return Err(Error::last("no random bytes from the system"));
    }
    Ok(())
}
