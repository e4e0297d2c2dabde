//! Who maps which record, and the removal of what nobody needs any more.
//!
//! Rules: a record is removed only if two looks in a row find nobody (a process that forks and exits between two
//! reads of `/proc` escapes one) and its own process is gone. O(processes): tens of microseconds each, done when a
//! user has gone or somebody asks, never on a timer.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::error::{Error, Result};
use crate::procs::{self, Seen};
use crate::record;
use crate::registry;
use crate::runtime::Runtime;

/// The processes of each record, oldest first.
pub type Census = BTreeMap<u32, Vec<u32>>;

/// Looks at every process once.
///
/// # Errors
/// `/proc` or the runtime directory cannot be read.
pub fn take(runtime: &Runtime) -> Result<Census> {
    let mut census: Census = record::list(runtime)?.into_iter().map(|number| (number, Vec::new())).collect();
    if census.is_empty() {
        return Ok(census);
    }
    let pids = procs::all().map_err(|e| Error::system("cannot list /proc", &e))?;
    let mut closed = Vec::new();
    for pid in pids {
        match procs::records_of(pid) {
            Seen::Records(paths) => {
                for path in paths {
                    let number = path.file_name().and_then(|n| n.to_str()?.parse().ok());
                    if let Some(users) =
                        number.and_then(|n| census.get_mut(&n)).filter(|_| is_below(runtime, &path))
                    {
                        users.push(pid);
                    }
                }
            }
            Seen::Closed => closed.push(pid),
            Seen::Gone => {}
        }
    }
    for pid in closed {
        let Some(stat) = procs::stat(pid).filter(|stat| !stat.zombie) else { continue };
        // Whoever cannot be looked into belongs to the record of its parent, group or session.
        let kin = [stat.parent, stat.group, stat.session];
        for (number, users) in &mut census {
            if kin.iter().any(|k| k == number || users.contains(k)) {
                users.push(pid);
            }
        }
    }
    for users in census.values_mut() {
        users.sort_by_key(|pid| procs::stat(*pid).map_or(u64::MAX, |stat| stat.started));
    }
    Ok(census)
}

fn is_below(runtime: &Runtime, path: &std::path::Path) -> bool {
    path.parent().and_then(|p| p.parent()).is_some_and(|p| p == runtime.path)
}

/// Removes records that nobody maps and names that nobody holds. Returns who is left.
///
/// # Errors
/// As [`take`]; ETIMEDOUT where the registry is locked.
pub fn sweep(runtime: &Runtime) -> Result<Census> {
    let first = take(runtime)?;
    let idle = |census: &Census, number: &u32| {
        census.get(number).is_some_and(Vec::is_empty) && !is_owned(runtime, *number)
    };
    let candidates: Vec<u32> = first.keys().copied().filter(|number| idle(&first, number)).collect();
    let mut left = if candidates.is_empty() { first } else { take(runtime)? };
    for number in candidates {
        if idle(&left, &number) {
            record::remove(runtime, number)?;
            left.remove(&number);
        }
    }
    remove_halves(runtime);
    registry::sweep(runtime)?;
    Ok(left)
}

/// Whether the process that a record is named after lives: a launcher before its exec maps nothing yet.
fn is_owned(runtime: &Runtime, number: u32) -> bool {
    fs::symlink_metadata(runtime.record(number))
        .is_ok_and(|meta| procs::began_before(number, meta.mtime() as f64 + meta.mtime_nsec() as f64 / 1e9))
}

/// Temporary files of launchers that died before the rename.
fn remove_halves(runtime: &Runtime) {
    for entry in fs::read_dir(runtime.processes()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|n| n.strip_prefix(".new.")?.split('.').next()?.parse().ok());
        if pid.is_some_and(|pid| procs::stat(pid).is_none()) {
            // Somebody else may be as quick; either way it is gone.
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;
    use crate::scratch::{plan, Scratch};

    fn record(runtime: &Runtime, root_pid: u32) -> Record {
        Record::create(runtime, &plan(root_pid, &["a"])).unwrap()
    }

    #[test]
    fn who_maps_a_record_keeps_it() {
        let scratch = Scratch::new();
        let runtime = scratch.runtime();
        let me = std::process::id();
        // No process has a number this large (PID_MAX_LIMIT is 2^22).
        let mapped = record(&runtime, 5_000_000);
        drop(record(&runtime, 5_000_001));
        drop(record(&runtime, me));
        let census = take(&runtime).unwrap();
        assert_eq!(census[&5_000_000], [me]);
        assert!(census[&5_000_001].is_empty() && census[&me].is_empty());

        fs::write(runtime.processes().join(".new.5000002.ab"), "").unwrap();
        fs::write(runtime.processes().join(format!(".new.{me}.ab")), "").unwrap();
        let left = sweep(&runtime).unwrap();
        assert_eq!(left.keys().copied().collect::<Vec<_>>(), [me, 5_000_000]);
        assert!(!runtime.record(5_000_001).exists());
        assert!(!runtime.processes().join(".new.5000002.ab").exists());
        assert!(runtime.processes().join(format!(".new.{me}.ab")).exists());
        drop(mapped);
        sweep(&runtime).unwrap();
        assert_eq!(record::list(&runtime).unwrap(), [me]);
    }
}
