//! What `/proc` tells about other processes: which record they map, whose they are, when they began.
//!
//! Rules: a process may go, exec or fork between two reads, so every answer may be "gone"; nothing here waits.
//! `/proc/PID/maps` of a process that changed its user is root's with CAP_SYS_PTRACE alone: [`Seen::Closed`] is an
//! answer of its own, never taken for "maps nothing".

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use modnet_abi::path::PROCESSES;
use modnet_abi::record::RECORD_ENV;

/// What a look at a process' memory map and environment showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It maps, or will map once its constructors run, the records at these paths.
    Records(Vec<PathBuf>),
    /// Its map may not be read.
    Closed,
    /// There is no such process (any more).
    Gone,
}

/// One line of `/proc/PID/stat`, as far as it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Dead and not yet waited for.
    pub zombie: bool,
    /// Parent process.
    pub parent: u32,
    /// Process group.
    pub group: u32,
    /// Session.
    pub session: u32,
    /// Clock ticks between the system's start and its own.
    pub started: u64,
}

/// All processes there are.
///
/// # Errors
/// `/proc` is not there.
pub fn all() -> io::Result<Vec<u32>> {
    Ok(fs::read_dir("/proc")?.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect())
}

/// The records that a process maps or has in its environment.
#[must_use]
pub fn records_of(pid: u32) -> Seen {
    let maps = match fs::read(format!("/proc/{pid}/maps")) {
        Ok(maps) => maps,
        Err(e) => return refused(&e),
    };
    let mut found: Vec<PathBuf> = Vec::new();
    for path in maps.split(|c| *c == b'\n').filter_map(mapped_path) {
        if found.iter().all(|known| known != path) {
            found.push(path.to_owned());
        }
    }
    if found.is_empty() {
        // Between exec and the shim's constructor, or a static program whose children may be dynamic.
        match fs::read(format!("/proc/{pid}/environ")) {
            Ok(environ) => {
                found.extend(environ.split(|c| *c == 0).filter_map(named_path).map(Path::to_owned))
            }
            Err(e) => return refused(&e),
        }
    }
    Seen::Records(found)
}

fn refused(error: &io::Error) -> Seen {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ESRCH) => Seen::Gone,
        _ => Seen::Closed,
    }
}

/// `…/processes/4711` at the end of a line of maps, where the file is mapped from its beginning.
fn mapped_path(line: &[u8]) -> Option<&Path> {
    let start = line.iter().position(|c| *c == b'/')?;
    let offset = line[..start].split(|c| *c == b' ').nth(2)?;
    let path = &line[start..];
    let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    (offset.iter().all(|c| *c == b'0')).then_some(())?;
    is_record(path)
}

fn named_path(variable: &[u8]) -> Option<&Path> {
    is_record(variable.strip_prefix(RECORD_ENV.as_bytes())?.strip_prefix(b"=")?)
}

fn is_record(path: &[u8]) -> Option<&Path> {
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    let number = path.file_name()?.to_str()?.parse::<u32>().is_ok();
    (number && path.parent()?.file_name()? == PROCESSES).then_some(path)
}

/// Parent, group, session and age; None: gone.
#[must_use]
pub fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(line: &[u8]) -> Option<Stat> {
    // The name may hold anything, blanks and parentheses too: what follows the last one counts.
    let end = line.iter().rposition(|c| *c == b')')?;
    let fields: Vec<&str> = std::str::from_utf8(line.get(end + 1..)?).ok()?.split_whitespace().collect();
    Some(Stat {
        zombie: matches!(*fields.first()?, "Z" | "X" | "x"),
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

/// The effective user of a process; None: gone.
#[must_use]
pub fn user(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().nth(1)?.parse().ok()
}

/// Whether process `pid` lives and began before `moment` (seconds since 1970): else its number was used again.
#[must_use]
pub fn began_before(pid: u32, moment: f64) -> bool {
    let Some(stat) = stat(pid).filter(|stat| !stat.zombie) else { return false };
    // SAFETY: a plain system call.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as f64;
    let began = clock(libc::CLOCK_REALTIME) - clock(libc::CLOCK_BOOTTIME) + stat.started as f64 / ticks;
    // One second of slack: ticks are coarse and the clock may be adjusted.
    began <= moment + 1.0
}

fn clock(which: libc::clockid_t) -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a whole timespec.
    unsafe { libc::clock_gettime(which, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_maps_shows_its_record() {
        let line = b"7f00-7f01 r--s 00000000 00:19 77                         /run/modnet/processes/4711";
        assert_eq!(mapped_path(line), Some(Path::new("/run/modnet/processes/4711")));
        let gone = b"7f00-7f01 r--s 00000000 00:19 77      /a b/processes/5 (deleted)";
        assert_eq!(mapped_path(gone), Some(Path::new("/a b/processes/5")));
        for other in [
            &b"7f00-7f01 rw-s 00001000 00:19 77 /run/modnet/processes/4711"[..],
            b"7f00-7f01 r--p 00000000 00:19 77 /run/modnet/processes/x",
            b"7f00-7f01 r--p 00000000 00:19 77 /lib/4711",
            b"7f00-7f01 rw-p 00000000 00:00 0 [heap]",
            b"",
        ] {
            assert_eq!(mapped_path(other), None);
        }
    }

    #[test]
    fn a_name_with_parentheses_and_blanks_is_no_trouble() {
        let line = b"7 (a) R (b) S 1 2 3 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 1 1";
        let stat = Stat { zombie: false, parent: 1, group: 2, session: 3, started: 12345 };
        assert_eq!(parse_stat(line), Some(stat));
        assert_eq!(parse_stat(b"7 (a"), None);
    }

    #[test]
    fn oneself_is_there_and_nobody_has_number_zero() {
        let me = std::process::id();
        assert_eq!(user(me), Some(crate::runtime::euid()));
        assert!(began_before(me, clock(libc::CLOCK_REALTIME)) && !began_before(me, 0.0));
        assert_eq!(records_of(0), Seen::Gone);
    }
}
