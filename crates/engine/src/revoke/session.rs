//! The module's half: one connection of somebody who takes bytes back.
//!
//! Rule: whatever the other side does, the flow goes on when the connection has ended.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{json, Map, Value};

use super::client::{self, Asked};
use super::{Step, Ticket, Yanker, MOST};
use crate::control::wire;
use crate::error::{Error, Result};

/// Who asks has so long to take what lies ready, and to ask again.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long one wait is where there is no limit.
const LOOK: Duration = Duration::from_secs(3600);

type Request = Map<String, Value>;

/// Serves requests, the first of which has come, until the connection ends.
pub fn serve(client: &OwnedFd, yanker: &dyn Yanker, first: Request) {
    static NEXT: AtomicU64 = AtomicU64::new(1 << 32);
    let mut session =
        Session { client, yanker, number: NEXT.fetch_add(1, Ordering::Relaxed), held: None, locked: false };
    let mut request = Some(first);
    while let Some(asked) = request {
        let done = match session.obey(&asked) {
            Ok(true) => true,
            Ok(false) => break,
            Err(error) => {
                session.settle(0);
                wire::send(client, &failure(&error), PATIENCE).is_ok()
            }
        };
        if !done {
            break;
        }
        request = if session.locked { heard(client) } else { wire::receive(client, PATIENCE).ok().flatten() };
    }
    session.locked = false;
    session.settle(0);
}

struct Session<'a> {
    client: &'a OwnedFd,
    yanker: &'a dyn Yanker,
    number: u64,
    /// The flow that is frozen.
    held: Option<Ticket>,
    locked: bool,
}

impl Session<'_> {
    /// Whether the connection goes on.
    fn obey(&mut self, request: &Request) -> Result<bool> {
        match request.get("op").and_then(Value::as_str) {
            Some("yank") => self.yank(request),
            Some("unlock") => {
                self.locked = false;
                self.settle(0);
                Ok(self.say(&json!({"done": true})))
            }
            _ => Err(Error::new(libc::EINVAL, "in a yank's connection there are yank, taken and unlock")),
        }
    }

    fn yank(&mut self, request: &Request) -> Result<bool> {
        let number = |key: &str| request.get(key).and_then(Value::as_u64);
        let ino = number("ino").and_then(|ino| u32::try_from(ino).ok());
        let length = number("length").and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= MOST);
        let (Some(ino), Some(length)) = (ino, length) else {
            return Err(Error::new(libc::EINVAL, format!("a yank has ino, and length up to {MOST}")));
        };
        let peek = request.get("peek").and_then(Value::as_bool).unwrap_or(false);
        let lock = match request.get("lock").and_then(Value::as_str) {
            None | Some("none") => self.locked,
            Some("lock") => true,
            Some("unlock") => false,
            Some(other) => return Err(Error::new(libc::EINVAL, format!("lock is no {other:?}"))),
        };
        let bytes = self.find(ino, length)?;
        self.locked = lock;
        // What follows is the flow's affair only where bytes are to be taken. It is settled before who asks hears the last
        // word, and may ask again.
        let stays = peek || bytes.is_empty();
        if stays {
            self.settle(0);
        }
        let mut delivered = self.say(&json!({"data": bytes.len()}));
        for piece in bytes.chunks(super::buffer()?.min(wire::MOST)) {
            delivered = delivered && wire::send_bytes(self.client, piece, PATIENCE).is_ok();
        }
        if !delivered {
            self.locked = false;
            return Ok(false);
        }
        if stays {
            return Ok(true);
        }
        // No time limit: what was said on a connection that lives must count, or bytes would be there twice.
        let answer = heard(self.client);
        let taken = answer.is_some_and(|answer| answer.get("op").and_then(Value::as_str) == Some("taken"));
        if !taken {
            self.locked = false;
            return Ok(false);
        }
        self.settle(bytes.len());
        Ok(self.say(&json!({"done": true})))
    }

    /// The last bytes, the next module's among them.
    fn find(&mut self, ino: u32, length: usize) -> Result<Vec<u8>> {
        match self.yanker.take(ino, self.number, length)? {
            Step::Ready(ticket, bytes) => {
                self.held = Some(ticket);
                Ok(bytes)
            }
            Step::More(ticket, missing, next) => {
                self.held = Some(ticket);
                let far = match client::ask(&next, &Asked::yank(missing)) {
                    Ok((line, far)) => {
                        // If they do not arrive with who asked, they go on from here.
                        line.taken(far.len())?;
                        far
                    }
                    // It has died, or ended the flow: there is nothing to be had.
                    Err(error) if matches!(error.errno, libc::ENOTCONN | libc::ECONNRESET) => Vec::new(),
                    Err(error) => return Err(error),
                };
                self.yanker.supply(ticket, far)
            }
        }
    }

    fn say(&self, value: &Value) -> bool {
        wire::send(self.client, value, PATIENCE).is_ok()
    }

    /// The last `taken` bytes are gone, and the flow goes on, unless it is locked.
    fn settle(&mut self, taken: usize) {
        if let Some(ticket) = self.held.take() {
            self.yanker.settle(ticket, taken, self.locked);
            self.held = self.locked.then_some(ticket);
        }
    }
}

/// The next request; None: the connection has ended, or makes no sense.
fn heard(client: &OwnedFd) -> Option<Request> {
    loop {
        match wire::receive(client, LOOK) {
            Ok(None) if !wire::has_gone(client) => {}
            heard => return heard.ok().flatten(),
        }
    }
}

fn failure(error: &Error) -> Value {
    json!({"error": error.message, "errno": error.errno})
}
