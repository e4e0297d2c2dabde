//! The control socket: SEQPACKET, one JSON object a message.
//!
//! | op | answer |
//! | --- | --- |
//! | `status` | one object: what the module says of itself, `pid` and `users` |
//! | `flows` | one object a flow, then `{"done": true}` |
//! | `use` | the caller is a user of the module from now on, until its process ends |
//! | `review` | the chain of a record has changed: the module sees who still uses it |
//! | `yank`, and what follows it | bytes that were not sent go back to who asks: see [`crate::revoke`] |
//! | `reload` | the module reads its files anew, or says what is wrong with them |
//! | `stop` (`drain`: seconds) | the module ends its flows, at most so long, and goes |
//!
//! The last object has `"done": true`, an error is `{"error": …, "errno": …, "done": true}`.
//!
//! How a module's process puts registration, users and control together:
//!
//! ```no_run
//! # use std::{sync::Arc, time::Duration};
//! # use modnet_engine::{control, error::Result, registry::Registration, runtime::Runtime, users::Users};
//! struct Mine;
//! impl control::Subject for Mine {
//!     fn status(&self) -> serde_json::Value { serde_json::json!({"name": "mine", "flows": 0}) }
//!     fn flows(&self, _each: &mut dyn FnMut(serde_json::Value)) {}
//!     fn stop(&self, _drain: Duration) { /* tell the main thread */ }
//! }
//! # fn main() -> Result<()> {
//! let runtime = Runtime::from_env()?;
//! let mut registration = Registration::bind(&runtime, "mine", &[0, 1])?;
//! let users = Users::start(runtime, "mine", Some(Box::new(|| { /* the last user has gone */ })))?;
//! let control = registration.control.try_clone().expect("a descriptor");
//! control::start(control, Arc::new(Mine), Arc::clone(&users))?;
//! // … serve `registration.queues` until told to stop. Then the name first, so that it is free while flows end:
//! users.end();
//! registration.unregister()?;
//! # Ok(())
//! # }
//! ```
//!
//! Rules: only the module's own user and root are heard; a client that is slow, mute or talks nonsense delays nobody
//! but itself, and not for ever. It must not know what a flow is.

pub mod client;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{json, Map, Value};

use crate::error::{Error, Result};
use crate::registry::socket::{self, Peer};
use crate::revoke::{session, Yanker};
use crate::runtime::euid;
use crate::users::Users;

/// What is asked about and told to stop.
pub trait Subject: Send + Sync {
    /// One object about the module.
    fn status(&self) -> Value;
    /// Calls `each` with one object a flow; they are collected before anything is sent.
    fn flows(&self, each: &mut dyn FnMut(Value));
    /// Who takes bytes back for others; None: this module gives none.
    fn yanker(&self) -> Option<&dyn Yanker> {
        None
    }
    /// Begins to end, giving flows at most `drain`. Returns at once.
    fn stop(&self, drain: Duration);
    /// Reads its files anew.
    ///
    /// # Errors
    /// EOPNOTSUPP: it has none; EINVAL: what is in them is wrong, and it goes on as before.
    fn reload(&self) -> Result<()> {
        Err(Error::new(libc::EOPNOTSUPP, "this module has nothing to read anew"))
    }
}

/// Clients at one time; more are told to come again. Each costs a thread.
const CLIENTS: usize = 128;
/// A client that says nothing for so long is let go.
const MUTE: Duration = Duration::from_secs(10);
/// A client that takes nothing for so long is let go.
const SLOW: Duration = Duration::from_secs(2);
/// Longest drain, a day: what is beyond is a mistake.
const MAX_DRAIN: f64 = 86_400.0;

struct Server {
    subject: Arc<dyn Subject>,
    users: Arc<Users>,
    clients: AtomicUsize,
    /// Who asked to stop: their connections end with the process, by which they know that it has ended.
    stoppers: Mutex<Vec<OwnedFd>>,
}

/// Answers on a listening control socket until the process ends or `shutdown(2)` is called on the socket.
///
/// # Errors
/// What the system says about a thread.
pub fn start(
    control: OwnedFd,
    subject: Arc<dyn Subject>,
    users: Arc<Users>,
) -> Result<thread::JoinHandle<()>> {
    let server =
        Arc::new(Server { subject, users, clients: AtomicUsize::new(0), stoppers: Mutex::new(Vec::new()) });
    thread::Builder::new()
        .name("modnet-control".to_owned())
        .stack_size(256 * 1024)
        .spawn(move || server.listen(&control))
        .map_err(|e| Error::system("cannot start a thread", &e))
}

impl Server {
    fn listen(self: Arc<Self>, control: &OwnedFd) {
        while wire::wait_for_client(control) {
            match socket::accept(control) {
                Ok(client) => Arc::clone(&self).serve_apart(client),
                Err(e) => match e.raw_os_error() {
                    Some(libc::EAGAIN | libc::EINTR | libc::ECONNABORTED) => {}
                    // Descriptors or memory are short: they come back as flows end, and asking is not urgent.
                    Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                        thread::sleep(Duration::from_millis(50));
                    }
                    _ => return,
                },
            }
        }
    }

    fn serve_apart(self: Arc<Self>, client: OwnedFd) {
        let server = Arc::clone(&self);
        if self.clients.fetch_add(1, Ordering::Relaxed) >= CLIENTS {
            let busy = Error::new(libc::EBUSY, "the module answers too many others at the moment; try again");
            // Whoever does not hear it sees the end of the connection.
            let _ = wire::send(&client, &failure(&busy), SLOW);
            self.clients.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let started =
            thread::Builder::new().name("modnet-client".to_owned()).stack_size(256 * 1024).spawn(move || {
                server.serve(client);
                server.clients.fetch_sub(1, Ordering::Relaxed);
            });
        if started.is_err() {
            self.clients.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn serve(&self, client: OwnedFd) {
        let Ok(peer) = socket::peer(&client) else { return };
        if peer.uid != euid() && peer.uid != 0 {
            // Read first: a connection that is closed with something unread is reset, and the answer with it.
            let _ = wire::receive(&client, MUTE);
            let stranger = Error::new(libc::EPERM, "this module belongs to another user");
            let _ = wire::send(&client, &failure(&stranger), SLOW);
            return;
        }
        loop {
            let request = match wire::receive(&client, MUTE) {
                Ok(Some(request)) => request,
                Ok(None) => return,
                Err(error) => {
                    if wire::send(&client, &failure(&error), SLOW).is_err() {
                        return;
                    }
                    continue;
                }
            };
            if let Some(yanker) =
                self.subject.yanker().filter(|_| request.get("op").and_then(Value::as_str) == Some("yank"))
            {
                return session::serve(&client, yanker, request);
            }
            let answers = self.answer(peer, &request).unwrap_or_else(|error| vec![failure(&error)]);
            for answer in &answers {
                if wire::send(&client, answer, SLOW).is_err() {
                    return;
                }
            }
            if let Some(drain) = answers.last().and_then(|last| last.get("stopping")?.as_f64()) {
                self.stoppers.lock().unwrap_or_else(PoisonError::into_inner).push(client);
                self.users.end();
                self.subject.stop(Duration::from_secs_f64(drain));
                return;
            }
        }
    }

    fn answer(&self, peer: Peer, request: &Map<String, Value>) -> Result<Vec<Value>> {
        match request.get("op").and_then(Value::as_str) {
            Some("status") => {
                let mut status = match self.subject.status() {
                    Value::Object(status) => status,
                    other => Map::from_iter([("status".to_owned(), other)]),
                };
                status.entry("pid").or_insert(json!(std::process::id()));
                status.insert("users".to_owned(), json!(self.users.list()));
                status.insert("done".to_owned(), json!(true));
                Ok(vec![Value::Object(status)])
            }
            Some("flows") => {
                let mut flows = Vec::new();
                self.subject.flows(&mut |flow| flows.push(flow));
                flows.push(json!({"done": true}));
                Ok(flows)
            }
            Some("use") => {
                if peer.pid == 0 {
                    return Err(Error::new(
                        libc::ESRCH,
                        "the caller is not visible here (another PID namespace)",
                    ));
                }
                self.users.add(peer.pid)?;
                Ok(vec![json!({"done": true})])
            }
            Some("review") => {
                self.users.review();
                Ok(vec![json!({"done": true})])
            }
            Some("reload") => {
                self.subject.reload()?;
                Ok(vec![json!({"done": true})])
            }
            Some("stop") => {
                let drain = match request.get("drain") {
                    None => 0.0,
                    Some(value) => {
                        value.as_f64().filter(|s| (0.0..=MAX_DRAIN).contains(s)).ok_or_else(|| {
                            Error::new(
                                libc::EINVAL,
                                format!("drain is a number of seconds from 0 to {MAX_DRAIN}"),
                            )
                        })?
                    }
                };
                Ok(vec![json!({"stopping": drain, "done": true})])
            }
            Some("yank") => Err(Error::new(
                libc::EOPNOTSUPP,
                "this module has not asked for EPOLL_YANK_REQ: it gives no bytes back",
            )),
            Some(other) => Err(Error::new(
                libc::EINVAL,
                format!(
                    "no operation {other:?}; there are status, flows, use, review, reload, yank and stop"
                ),
            )),
            None => Err(Error::new(libc::EINVAL, "a request is {\"op\": …}")),
        }
    }
}

fn failure(error: &Error) -> Value {
    json!({"error": error.message, "errno": error.errno, "done": true})
}
