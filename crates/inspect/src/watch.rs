//! One socket that somebody reads: whichever way its state comes, it is read here.
//!
//! Nothing happens before the first reading, which asks the kernel to write the state (1 to 2 µs) or, where that
//! cannot be, takes a sample. A sample counts for [`INTERVAL`]: the timer is the reader's own asking, so that
//! a flow which nobody reads costs nothing, and no module is woken. The better way is tried again after a second.
//!
//! Rules: safe from any thread. The descriptor is borrowed: whoever closes it calls [`Watch::freeze`] first, or lets the
//! cookie show that it has become another socket's; from then on the last state stands.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use modnet_abi::sockstate::{SockState, STATE_BYTES, WORDS};

use crate::access::Access;
use crate::attend::Reader;
use crate::chosen::Chosen;
use crate::mapped::Mapped;
use crate::mode::Mode;
use crate::reason::Reason;
use crate::sample;

/// How long a sample counts, in nanoseconds: 10 ms, as a timer of that period would have it.
pub const INTERVAL: u64 = 10_000_000;
/// When the better way is tried again, in nanoseconds.
const AGAIN: u64 = 1_000_000_000;

/// Sockets of this process read from the kernel's writing, ever.
static MAPPED: AtomicU64 = AtomicU64::new(0);
/// Sockets that were sampled, by [`Reason::name`].
static SAMPLED: Mutex<Vec<(&'static str, u64)>> = Mutex::new(Vec::new());

/// What was read how, by name: `inspected_bpf` and, by reason, `inspected_sampled_…`.
#[must_use]
pub fn counters() -> Vec<(String, u64)> {
    let mut all = vec![("inspected_bpf".to_owned(), MAPPED.load(Ordering::Relaxed))];
    let sampled = SAMPLED.lock().unwrap_or_else(PoisonError::into_inner);
    all.extend(sampled.iter().map(|(reason, count)| (format!("inspected_sampled_{reason}"), *count)));
    all
}

fn count(reason: &Reason) {
    let mut sampled = SAMPLED.lock().unwrap_or_else(PoisonError::into_inner);
    match sampled.iter_mut().find(|(name, _)| *name == reason.name()) {
        Some((_, count)) => *count += 1,
        None => sampled.push((reason.name(), 1)),
    }
}

/// See the module's comment.
pub struct Watch {
    mapped: OnceLock<Mapped>,
    frozen: OnceLock<Option<SockState>>,
    mode: Mode,
    slow: Mutex<Slow>,
}

struct Slow {
    socket: Option<Socket>,
    /// Which socket it is, known from the first reading on.
    cookie: Option<u64>,
    sample: Option<SockState>,
    reason: Option<Reason>,
    tried: Option<u64>,
    /// As long as this is there, the kernel writes what is mapped.
    reader: Option<Reader>,
}

enum Socket {
    Borrowed(RawFd),
    Owned(OwnedFd),
}

impl Socket {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            // SAFETY: as `Watch::new` demands; a number that was closed nevertheless is only asked for its cookie.
            Self::Borrowed(fd) => unsafe { BorrowedFd::borrow_raw(*fd) },
            Self::Owned(fd) => fd.as_fd(),
        }
    }
}

impl Watch {
    /// Of a descriptor that is somebody else's, who calls [`Self::freeze`] before closing it.
    #[must_use]
    pub fn new(socket: RawFd) -> Self {
        Self::of(Socket::Borrowed(socket), Mode::of_process())
    }

    /// Of a descriptor that lives as long as this.
    #[must_use]
    pub fn owning(socket: OwnedFd) -> Self {
        Self::of(Socket::Owned(socket), Mode::of_process())
    }

    /// As [`Self::new`], in a mode that is not the environment's.
    #[must_use]
    pub fn with_mode(socket: RawFd, mode: Mode) -> Self {
        Self::of(Socket::Borrowed(socket), mode)
    }

    fn of(socket: Socket, mode: Mode) -> Self {
        let slow = Slow {
            socket: Some(socket),
            cookie: None,
            sample: None,
            reason: None,
            tried: None,
            reader: None,
        };
        Self { mapped: OnceLock::new(), frozen: OnceLock::new(), mode, slow: Mutex::new(slow) }
    }

    /// The kernel's own writing, where there is one.
    #[must_use]
    pub fn mapped(&self) -> Option<&Mapped> {
        let mapped = self.mapped.get()?;
        (self.frozen.get().is_none() && mapped.is_live() && mapped.is_established()).then_some(mapped)
    }

    /// All fields as they stood together.
    ///
    /// # Errors
    /// Why there is no state: inspection is off, was forced to a way that is not to be had, the socket is gone and was
    /// never read.
    pub fn read(&self) -> Result<SockState, Reason> {
        match self.mapped().and_then(Mapped::read) {
            Some(state) => Ok(state),
            None => self.read_slowly(),
        }
    }

    /// The 32-bit field at this offset of [`SockState`], as it is now.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn u32_at(&self, offset: usize) -> Result<u32, Reason> {
        let word = self.word(offset / 8)?.to_ne_bytes();
        let [a, b, c, d, e, f, g, h] = word;
        Ok(u32::from_ne_bytes(if offset.is_multiple_of(8) { [a, b, c, d] } else { [e, f, g, h] }))
    }

    /// The 64-bit field at this offset of [`SockState`], as it is now.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn u64_at(&self, offset: usize) -> Result<u64, Reason> {
        self.word(offset / 8)
    }

    fn word(&self, index: usize) -> Result<u64, Reason> {
        if let Some(mapped) = self.mapped() {
            return Ok(mapped.words()[index].load(Ordering::Relaxed));
        }
        Ok(words_of(&self.read_slowly()?)[index])
    }

    /// Has the kernel write the state from now on, if it can; whether it does.
    #[must_use]
    pub fn choose(&self) -> bool {
        // The state itself is not wanted yet.
        let _ = self.read_slowly();
        self.mapped().is_some()
    }

    /// Why it is not read from the kernel's writing; None where it is.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        if self.mapped().is_some() {
            return None;
        }
        self.slow.lock().unwrap_or_else(PoisonError::into_inner).reason.clone()
    }

    /// The descriptor is not there any more, and others have the socket: only the kernel's writing is read from now on.
    pub fn let_go(&self) {
        self.slow.lock().unwrap_or_else(PoisonError::into_inner).socket = None;
    }

    /// The socket is about to be closed: what was read of it stands, if anything was.
    pub fn freeze(&self) {
        let mut slow = self.slow.lock().unwrap_or_else(PoisonError::into_inner);
        let last = match self.mapped.get() {
            Some(mapped) => {
                // No older than a sample may be: a connection that is closed by a shutdown is not ESTABLISHED any more.
                let is_fresh = |last: &SockState| sample::now() < last.updated_ns + INTERVAL;
                let is_newest =
                    |last: &SockState| slow.sample.is_none_or(|s| s.updated_ns <= last.updated_ns);
                let fresh = mapped.read().or_else(|| mapped.last().filter(is_fresh).filter(is_newest));
                fresh.or_else(|| slow.take().ok()).or_else(|| mapped.last())
            }
            None => slow.last(),
        };
        // Twice frozen: the first state stands.
        let _ = self.frozen.set(last);
        (slow.socket, slow.reader) = (None, None);
    }

    #[cold]
    fn read_slowly(&self) -> Result<SockState, Reason> {
        if let Some(last) = self.frozen.get() {
            return last.ok_or(Reason::NotConnected);
        }
        if self.mode == Mode::Off {
            return Err(Reason::Off);
        }
        let mut slow = self.slow.lock().unwrap_or_else(PoisonError::into_inner);
        let now = sample::now();
        if self.mapped.get().is_none() && slow.tried.is_none_or(|tried| now > tried + AGAIN) {
            let is_first = slow.tried.is_none();
            slow.tried = Some(now);
            match self.map(&mut slow) {
                Ok(mapped) => {
                    MAPPED.fetch_add(1, Ordering::Relaxed);
                    if let Some(state) = self.mapped.get_or_init(|| mapped).read() {
                        return Ok(state);
                    }
                }
                Err(reason) => {
                    if is_first && self.mode != Mode::Bpf {
                        count(&reason);
                    }
                    slow.reason = Some(reason);
                }
            }
        }
        if let Some(mapped) = self.mapped.get() {
            let is_written = mapped.is_live();
            slow.reason = Some(if is_written { Reason::Closing } else { Reason::NotEnabled });
        }
        match &slow.reason {
            Some(reason) if self.mode == Mode::Bpf && *reason != Reason::Closing => {
                return Err(reason.clone())
            }
            _ => {}
        }
        match slow.sample {
            Some(sample) if now < sample.updated_ns + INTERVAL => Ok(sample),
            _ => slow.take(),
        }
    }

    fn map(&self, slow: &mut Slow) -> Result<Mapped, Reason> {
        if self.mode == Mode::Sampled {
            return Err(Reason::Forced);
        }
        let socket = slow.socket.as_ref().ok_or(Reason::NotConnected)?.fd();
        let (access, reader) = Access::of_process()?;
        let Chosen { slot, cookie } = access.choose(socket)?;
        // Not the first: the number was another socket's before.
        if *slow.cookie.get_or_insert(cookie) != cookie {
            return Err(Reason::NotConnected);
        }
        let mapped = Mapped::new(access, slot, cookie).ok_or(Reason::NotConnected)?;
        slow.reader = Some(reader);
        Ok(mapped)
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl Slow {
    fn take(&mut self) -> Result<SockState, Reason> {
        let taken = self.socket.as_ref().and_then(|socket| sample::take(socket.fd()).ok());
        if let Some(now) = taken {
            if *self.cookie.get_or_insert(now.cookie) == now.cookie {
                self.sample = Some(now);
            } else {
                // Another socket has got the number.
                self.socket = None;
            }
        }
        self.sample.ok_or(Reason::NotConnected)
    }

    /// A last sample, if there was one before.
    fn last(&mut self) -> Option<SockState> {
        self.sample?;
        self.take().ok().or(self.sample)
    }
}

/// The same bytes as words.
#[must_use]
pub fn words_of(state: &SockState) -> [u64; WORDS] {
    const { assert!(size_of::<SockState>() == STATE_BYTES) };
    // SAFETY: as large, integers without padding between them.
    unsafe { std::mem::transmute_copy(state) }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
