//! The half of whoever takes bytes back: finds the module at the other end of a pair, and asks it.
//!
//! Rule: never waits longer than [`super::timeout`].

use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{json, Map, Value};

use super::{peer, timeout, Next};
use crate::control::wire;
use crate::error::{Error, Result};
use crate::registry::{self, connect_control};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Bytes, at most.
    pub length: usize,
    /// They stay.
    pub peek: bool,
    /// `none`, `lock` or `unlock`.
    pub lock: &'static str,
}

impl Asked {
    /// To take bytes back, and nothing else.
    #[must_use]
    pub fn yank(length: usize) -> Self {
        Self { length, peek: false, lock: "none" }
    }
}

/// A connection to the module that has a flow; a lock lives as long.
#[derive(Debug)]
pub struct Line {
    fd: OwnedFd,
    name: String,
    ino: u32,
    limit: Duration,
}

/// Asks whoever has the other end of the pair.
///
/// # Errors
/// ENOTCONN: nobody has; EAGAIN: somebody else takes or holds the bytes; EOPNOTSUPP: a module on the way cannot give its bytes
/// back, or the kernel does not tell who has them; ETIMEDOUT; EPERM: the module is another user's.
pub fn ask(next: &Next, asked: &Asked) -> Result<(Line, Vec<u8>)> {
    let limit = timeout()?;
    let ino = peer::of(next.ino)?;
    let end = Instant::now() + limit;
    // None: it is not the one that has the flow.
    let put = |name: &str, fd: OwnedFd| {
        let line = Line { fd, name: name.to_owned(), ino, limit };
        match line.ask(asked) {
            Ok(bytes) => Ok(Some((line, bytes))),
            Err(error) if error.errno == libc::ENOENT => Ok(None),
            Err(error) => Err(error),
        }
    };
    for name in &next.names {
        let Some(fd) = connect(next, name, end)? else { continue };
        if let Some(found) = put(name, fd)? {
            return Ok(found);
        }
    }
    let mut refused = None;
    // One of them may have yielded the flow to a module that its neighbour does not know of. O(modules), where nobody named has it.
    for name in registry::list(&next.runtime)?.iter().filter(|name| !next.names.contains(name)) {
        let Ok(Some(fd)) = connect(next, name, end) else { continue };
        match put(name, fd) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            // Others' modules, and those that give nothing, are not those that have it; or say so last.
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    Err(refused.unwrap_or_else(|| Error::new(libc::ENOTCONN, "no module has this flow")))
}

/// None: it does not live.
fn connect(next: &Next, name: &str, end: Instant) -> Result<Option<OwnedFd>> {
    loop {
        match connect_control(&next.runtime, name) {
            Ok(fd) => return Ok(Some(fd)),
            Err(e) => match e.raw_os_error() {
                Some(libc::EAGAIN) if Instant::now() < end => thread::sleep(Duration::from_millis(1)),
                Some(libc::EAGAIN) => return Err(mute(name)),
                Some(libc::ENOENT | libc::ECONNREFUSED | libc::ENOTDIR | libc::ENOTSOCK) => return Ok(None),
                Some(libc::EPERM | libc::EACCES) => {
                    return Err(Error::new(libc::EPERM, format!("module {name} belongs to another user")))
                }
                _ => return Err(Error::system(format!("cannot reach module {name}"), &e)),
            },
        }
    }
}

impl Line {
    /// Asks once more.
    ///
    /// # Errors
    /// As [`ask`]; ECONNRESET: the module has ended.
    pub fn ask(&self, asked: &Asked) -> Result<Vec<u8>> {
        let end = Instant::now() + self.limit;
        let head = self.exchange(
            &json!({
                "op": "yank", "ino": self.ino, "length": asked.length, "peek": asked.peek, "lock": asked.lock,
            }),
            end,
        )?;
        let length = head.get("data").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let Some(length) = length.filter(|length| *length <= asked.length) else {
            return Err(Error::new(libc::EPROTO, format!("module {} answered badly", self.name)));
        };
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let left = end.saturating_duration_since(Instant::now());
            if !wire::receive_bytes(&self.fd, &mut bytes, left) {
                return Err(self.silence(end));
            }
        }
        Ok(bytes)
    }

    /// The `count` bytes of the last yank are here: they go on nowhere else. The module waits for this word as long as the
    /// connection lives, so once it is said it counts, answered or not.
    ///
    /// # Errors
    /// It could not be said: the module has died, and the flow with it.
    pub fn taken(&self, count: usize) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        wire::send(&self.fd, &json!({"op": "taken"}), self.limit)
            .map_err(|e| Error::system(format!("module {} has ended", self.name), &e))?;
        // So that who asks next finds them gone.
        let _ = wire::receive(&self.fd, self.limit);
        Ok(())
    }

    /// Ends a lock.
    ///
    /// # Errors
    /// As [`Line::ask`].
    pub fn unlock(&self) -> Result<()> {
        self.exchange(&json!({"op": "unlock"}), Instant::now() + self.limit).map(drop)
    }

    fn exchange(&self, request: &Value, end: Instant) -> Result<Map<String, Value>> {
        match wire::send(&self.fd, request, end.saturating_duration_since(Instant::now())) {
            // It has closed already, and may have said why.
            Err(e) if e.raw_os_error() == Some(libc::EPIPE) => {}
            Err(e) if e.raw_os_error() == Some(libc::ETIMEDOUT) => return Err(mute(&self.name)),
            Err(e) => return Err(Error::system(format!("cannot ask module {}", self.name), &e)),
            Ok(()) => {}
        }
        let left = end.saturating_duration_since(Instant::now());
        let Some(answer) = wire::receive(&self.fd, left)? else { return Err(self.silence(end)) };
        if let Some(message) = answer.get("error").and_then(Value::as_str) {
            let errno = answer.get("errno").and_then(Value::as_i64).and_then(|n| i32::try_from(n).ok());
            return Err(Error::new(errno.unwrap_or(libc::EPROTO), message));
        }
        Ok(answer)
    }

    fn silence(&self, end: Instant) -> Error {
        if Instant::now() < end {
            return Error::new(libc::ECONNRESET, format!("module {} ended before it answered", self.name));
        }
        mute(&self.name)
    }
}

fn mute(name: &str) -> Error {
    Error::new(libc::ETIMEDOUT, format!("module {name} does not answer in time; see MODNET_YANK_TIMEOUT"))
}
