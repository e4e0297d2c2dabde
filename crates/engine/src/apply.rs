//! The paper's `apply`: a chain for a running process, from its next accept on.
//!
//! The process must have a record (it, or an ancestor, was started by `modnet run`), found by what it maps.
//! Rules: everything is checked before anything is changed; modules that come into the chain are told before the
//! change, those that leave it after, so that none of them ends in between.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::control::client;
use crate::error::{Error, Result};
use crate::procs::{self, Seen};
use crate::record::Record;
use crate::registry;
use crate::runtime::{euid, Runtime};

/// A module that does not answer `use` in this time is not waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was done.
#[derive(Clone, Debug)]
pub struct Change {
    /// The record's number: the process that the first chain was applied to.
    pub record: u32,
    /// The chain until now.
    pub before: Vec<String>,
}

/// The record of a process and the runtime directory that it is in, by what the process maps.
///
/// # Errors
/// ESRCH: no such process; EPERM: another user's; EOPNOTSUPP: it has no record.
pub fn find(pid: u32) -> Result<(Runtime, u32)> {
    let uid = procs::user(pid).filter(|_| procs::stat(pid).is_some_and(|stat| !stat.zombie));
    let uid = uid.ok_or_else(|| Error::no_process(pid))?;
    let stranger = || {
        Error::new(libc::EPERM, format!("process {pid} belongs to user {uid}; act as that user or as root"))
    };
    if uid != euid() && euid() != 0 {
        return Err(stranger());
    }
    match procs::records_of(pid) {
        Seen::Gone => Err(Error::no_process(pid)),
        Seen::Closed => Err(Error::new(
            libc::EPERM,
            format!("process {pid} may not be looked into; act as its owner, or as root with CAP_SYS_PTRACE"),
        )),
        Seen::Records(paths) => {
            let none = || {
                Error::new(
                    libc::EOPNOTSUPP,
                    format!("process {pid} was not started by modnet run, and modules can only be applied to those that were"),
                )
            };
            let path = paths.first().ok_or_else(none)?;
            let number = path.file_name().and_then(|n| n.to_str()?.parse().ok()).ok_or_else(none)?;
            let runtime = path.parent().and_then(Path::parent).ok_or_else(none)?;
            Ok((Runtime::at(runtime)?, number))
        }
    }
}

/// Applies `chain` (nearest to the application first; empty: none) to process `pid` and all that share its record.
/// `fail_closed` None: as it was.
///
/// # Errors
/// As [`find`]; ENOENT: a module of the chain is not running.
pub fn apply(pid: u32, chain: &[&str], fail_closed: Option<bool>) -> Result<Change> {
    let (runtime, number) = find(pid)?;
    for name in chain {
        registry::check_name(name)?;
        if !registry::is_living(&runtime, name)? {
            return Err(Error::unknown_module(name));
        }
    }
    let record = Record::open(&runtime, number)?;
    // A half-written record says nothing about before, and this change repairs it.
    let (before, closed) = record.applied().map_or((Vec::new(), false), |now| (now.chain, now.fail_closed));
    for name in chain {
        client::ask(&runtime, name, &json!({"op": "use"}), PATIENCE)?;
    }
    record.apply(chain, fail_closed.unwrap_or(closed))?;
    for name in before.iter().filter(|name| !chain.contains(&name.as_str())) {
        // One that is dead or mute needs not be told.
        let _ = client::ask(&runtime, name, &json!({"op": "review"}), Duration::from_millis(500));
    }
    Ok(Change { record: number, before })
}
