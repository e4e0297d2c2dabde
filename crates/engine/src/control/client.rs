//! Asking a module something over its control socket.
//!
//! Rule: never waits longer than it was told to; a module that is stopped or hangs is an error that says so.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::wire;
use crate::error::{Error, Result};
use crate::registry::connect_control;
use crate::runtime::Runtime;

/// Sends one request and returns all objects of its answer, the last with `"done": true`.
///
/// # Errors
/// ENOENT: no such module; ETIMEDOUT: it does not answer within `limit`; what the module itself answers.
pub fn ask(runtime: &Runtime, name: &str, request: &Value, limit: Duration) -> Result<Vec<Value>> {
    let end = Instant::now() + limit;
    let mute = || {
        Error::new(
            libc::ETIMEDOUT,
            format!("module {name} does not answer; if it is stopped, continue it or kill it"),
        )
    };
    let fd = loop {
        match connect_control(runtime, name) {
            Ok(fd) => break fd,
            // Its backlog is full: it is alive and busy, or stopped.
            Err(e) if e.raw_os_error() == Some(libc::EAGAIN) => {
                if Instant::now() >= end {
                    return Err(mute());
                }
                thread::sleep(Duration::from_millis(5));
            }
            Err(e) => {
                return Err(match e.raw_os_error() {
                    Some(libc::ENOENT | libc::ECONNREFUSED | libc::ENOTDIR | libc::ENOTSOCK) => {
                        Error::unknown_module(name)
                    }
                    Some(libc::EPERM | libc::EACCES) => {
                        Error::new(libc::EPERM, format!("module {name} belongs to another user"))
                    }
                    _ => Error::system(format!("cannot reach module {name}"), &e),
                })
            }
        }
    };
    match wire::send(&fd, request, limit) {
        // It has closed already, and may have said why.
        Err(e) if e.raw_os_error() == Some(libc::EPIPE) => {}
        Err(e) if e.raw_os_error() == Some(libc::ETIMEDOUT) => return Err(mute()),
        Err(e) => return Err(Error::system(format!("cannot ask module {name}"), &e)),
        Ok(()) => {}
    }
    let mut answers = Vec::new();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let Some(answer) = wire::receive(&fd, left)? else {
            return Err(if Instant::now() < end {
                Error::new(libc::ECONNRESET, format!("module {name} ended before it answered"))
            } else {
                mute()
            });
        };
        if let Some(message) = answer.get("error").and_then(Value::as_str) {
            let errno = answer.get("errno").and_then(Value::as_i64).and_then(|n| i32::try_from(n).ok());
            return Err(Error::new(errno.unwrap_or(libc::EPROTO), message));
        }
        let done = answer.get("done") == Some(&Value::Bool(true));
        answers.push(Value::Object(answer));
        if done {
            return Ok(answers);
        }
    }
}

/// As [`ask`], from JSON to JSON, for callers that have no `Value` of their own.
///
/// # Errors
/// As [`ask`]; EINVAL: `request` is not JSON.
pub fn ask_text(runtime: &Runtime, name: &str, request: &str, limit: Duration) -> Result<Vec<String>> {
    let request =
        serde_json::from_str(request).map_err(|e| Error::new(libc::EINVAL, format!("not a request: {e}")))?;
    Ok(ask(runtime, name, &request, limit)?.iter().map(ToString::to_string).collect())
}
