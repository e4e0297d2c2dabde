//! One JSON object a message, on a non-blocking socket, with a time limit for each.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Largest message: well below what an unchanged socket buffer takes (net.core.wmem_default, 212,992).
pub const MOST: usize = 128 * 1024;

/// The next message; None: the peer has gone, or said nothing in time.
///
/// # Errors
/// EINVAL: not a JSON object; EMSGSIZE: too long. The connection can go on.
pub fn receive(fd: &OwnedFd, limit: Duration) -> Result<Option<Map<String, Value>>> {
    let mut buffer = vec![0u8; MOST];
    let end = Instant::now() + limit;
    loop {
        // SAFETY: the kernel writes at most `buffer.len()` bytes into it.
        let got = unsafe {
            libc::recv(
                fd.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                libc::MSG_DONTWAIT | libc::MSG_TRUNC,
            )
        };
        match usize::try_from(got) {
            Ok(0) => return Ok(None),
            // MSG_TRUNC: the message's real length.
            Ok(length) if length > MOST => {
                return Err(Error::new(
                    libc::EMSGSIZE,
                    format!("a message of {length} bytes; {MOST} are allowed"),
                ))
            }
            Ok(length) => {
                return serde_json::from_slice(&buffer[..length])
                    .map(Some)
                    .map_err(|_| Error::new(libc::EINVAL, "not a JSON object"))
            }
            Err(_) => {
                let again =
                    matches!(io::Error::last_os_error().raw_os_error(), Some(libc::EAGAIN | libc::EINTR));
                if !again || ready(fd, libc::POLLIN, Some(end)).is_none() {
                    return Ok(None);
                }
            }
        }
    }
}

/// Sends one object.
///
/// # Errors
/// EPIPE and the like, ETIMEDOUT where the peer takes nothing, EMSGSIZE.
pub fn send(fd: &OwnedFd, value: &Value, limit: Duration) -> io::Result<()> {
    send_bytes(fd, value.to_string().as_bytes(), limit)
}

/// Appends the next message's bytes, whatever they are, to `into`; false: the peer has gone, or said nothing in time.
pub fn receive_bytes(fd: &OwnedFd, into: &mut Vec<u8>, limit: Duration) -> bool {
    let end = Instant::now() + limit;
    let start = into.len();
    into.resize(start + MOST, 0);
    let count = loop {
        let room = &mut into[start..];
        // SAFETY: the kernel writes at most `room.len()` bytes into it.
        let got =
            unsafe { libc::recv(fd.as_raw_fd(), room.as_mut_ptr().cast(), room.len(), libc::MSG_DONTWAIT) };
        match usize::try_from(got) {
            Ok(count) => break count,
            Err(_) => {
                let again =
                    matches!(io::Error::last_os_error().raw_os_error(), Some(libc::EAGAIN | libc::EINTR));
                if !again || ready(fd, libc::POLLIN, Some(end)).is_none() {
                    break 0;
                }
            }
        }
    };
    into.truncate(start + count);
    count > 0
}

/// Sends bytes as one message, at most [`MOST`] and at least one.
///
/// # Errors
/// As [`send`].
pub fn send_bytes(fd: &OwnedFd, data: &[u8], limit: Duration) -> io::Result<()> {
    if data.len() > MOST {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    let end = Instant::now() + limit;
    loop {
        // SAFETY: the kernel reads `data.len()` bytes from it.
        let sent = unsafe {
            libc::send(
                fd.as_raw_fd(),
                data.as_ptr().cast(),
                data.len(),
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        if sent >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR) if ready(fd, libc::POLLOUT, Some(end)).is_some() => {}
            Some(libc::EAGAIN | libc::EINTR) => return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT)),
            _ => return Err(error),
        }
    }
}

/// Whether the peer has gone.
pub fn has_gone(fd: &OwnedFd) -> bool {
    ready(fd, libc::POLLRDHUP, Some(Instant::now())).is_some()
}

/// Waits until somebody connects to a listening socket; false once it is shut down (accept says EAGAIN then, for ever).
pub fn wait_for_client(listener: &OwnedFd) -> bool {
    ready(listener, libc::POLLIN, None).is_some_and(|found| found & libc::POLLHUP == 0)
}

/// Waits for `events`, at most until `end`; what there is, None if nothing came.
fn ready(fd: &OwnedFd, events: i16, end: Option<Instant>) -> Option<i16> {
    loop {
        let left = end.map(|e| e.saturating_duration_since(Instant::now()));
        // Rounded up, so that a short rest does not spin.
        let timeout = left.map_or(-1, |l| i32::try_from(l.as_micros().div_ceil(1000)).unwrap_or(i32::MAX));
        let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
        // SAFETY: one whole pollfd.
        match unsafe { libc::poll(&raw mut poll, 1, timeout) } {
            0 => return None,
            n if n > 0 => return Some(poll.revents),
            _ if io::Error::last_os_error().raw_os_error() == Some(libc::EINTR) => {}
            _ => return None,
        }
    }
}
