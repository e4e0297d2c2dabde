//! Revocation through a chain: whoever holds one end of a pair asks the module at the other end for the last bytes.
//!
//! A request travels on the module's control socket, as SEQPACKET messages:
//!
//! | who asks | the module |
//! | --- | --- |
//! | `{"op": "yank", "ino": …, "length": n, "peek": bool, "lock": "none", "lock" or "unlock"}` | `{"data": k}`, then the k bytes in messages of their own; or an error, then what it was before |
//! | after a yank: `{"op": "taken"}` | `{"done": true}`: they are gone from the stream |
//! | `{"op": "unlock"}` | `{"done": true}` |
//! | closes, whenever | what was not said to be taken goes on; a lock ends |
//!
//! `ino` is the module's own end of the pair, which the kernel tells whoever has the other ([`peer`]). So no application and no module
//! keeps a table, and a request that is not understood there is ENOENT.
//!
//! | where bytes come from, the last first | |
//! | --- | --- |
//! | the pair before the module | read out |
//! | what the module's hook made of what came before | [`crate::hooks::Hooks::yank_requested`]; without it EOPNOTSUPP |
//! | the module's own queue, where it has no hook | taken from the end |
//! | the next module, where it has no hook | asked in the same way |
//!
//! Meanwhile, and while a lock is held, the flow is frozen outbound: nothing is read, sent or ended. A worker never waits for
//! another process: what has to be asked elsewhere is asked by the thread of the connection, between two orders.
//!
//! | what may happen | what follows |
//! | --- | --- |
//! | who asks dies, or gives up | its connection ends: what it did not take goes on |
//! | the module dies | who asks hears ECONNRESET; the flow was the module's, and ends |
//! | a later module dies | its part is not there; the flow ends |
//! | the application closes | a lock ends; a yank that is under way is answered, then the rest goes on, then the end |
//! | two ask at once | the second hears EAGAIN |

pub mod client;
pub mod peer;
pub mod session;

use std::time::Duration;

use crate::error::{Error, Result};
use crate::runtime::Runtime;

/// Longest that a blocking yank waits, unless `MODNET_YANK_TIMEOUT` (seconds) says otherwise.
const TIMEOUT: Duration = Duration::from_secs(1);
/// What lies ready for who asks, unless `MODNET_YANK_BUFFER` (bytes) says otherwise.
const BUFFER: usize = 256 * 1024;
/// Most bytes of one request: beyond what any queue holds.
pub const MOST: usize = 1 << 30;

/// Where the next module of a flow is to be found.
#[derive(Clone, Debug)]
pub struct Next {
    /// The registry.
    pub runtime: Runtime,
    /// Whom to ask: the rest of the chain, in its order.
    pub names: Vec<String>,
    /// The near end of the pair towards it.
    pub ino: u32,
}

/// A flow that is frozen for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Which worker has it.
    pub worker: usize,
    /// The flow, as that worker knows it.
    pub flow: u64,
    /// For whom.
    pub session: u64,
}

/// What a worker has found.
#[derive(Debug)]
pub enum Step {
    /// These are the bytes.
    Ready(Ticket, Vec<u8>),
    /// So many more are needed; the next module may have them.
    More(Ticket, usize, Next),
}

/// A module that can be asked.
pub trait Yanker: Send + Sync {
    /// Freezes the flow whose left socket is `ino`, and finds its last `length` bytes.
    ///
    /// # Errors
    /// ENOENT: no such flow; EAGAIN: another session has it; EOPNOTSUPP: the module has a hook and no `yank_requested`.
    fn take(&self, ino: u32, session: u64, length: usize) -> Result<Step>;
    /// What the next module had.
    ///
    /// # Errors
    /// ENOTCONN: the flow is over.
    fn supply(&self, ticket: Ticket, bytes: Vec<u8>) -> Result<Vec<u8>>;
    /// The last `taken` bytes are gone, everything else goes on; not yet where `hold` says so.
    fn settle(&self, ticket: Ticket, taken: usize, hold: bool);
}

/// How long a yank may wait.
///
/// # Errors
/// EINVAL: the environment says nonsense.
pub fn timeout() -> Result<Duration> {
    let Ok(text) = std::env::var("MODNET_YANK_TIMEOUT") else { return Ok(TIMEOUT) };
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.filter(|time| !time.is_zero()).ok_or_else(|| {
        Error::new(libc::EINVAL, format!("MODNET_YANK_TIMEOUT is a number of seconds above 0, not {text:?}"))
    })
}

/// How many bytes lie ready for who asks.
///
/// # Errors
/// EINVAL: the environment says nonsense.
pub fn buffer() -> Result<usize> {
    let Ok(text) = std::env::var("MODNET_YANK_BUFFER") else { return Ok(BUFFER) };
    text.parse().ok().filter(|size| (1..=MOST).contains(size)).ok_or_else(|| {
        Error::new(libc::EINVAL, format!("MODNET_YANK_BUFFER is from 1 to {MOST} bytes, not {text:?}"))
    })
}
