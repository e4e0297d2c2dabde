//! What is to be known of a socket before anything is done to it. Reads only, and needs no privilege.

use std::io;
use std::os::fd::BorrowedFd;

use super::info::{negotiated, state, Info};
use super::options::{self, name};
use super::snapshot::measures;

/// A socket at one moment; [`super::refuse`] judges it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)]
pub struct Facts {
    /// A stream socket of plain TCP: MPTCP is none.
    pub is_tcp: bool,
    /// One of [`state`].
    pub state: u8,
    /// Somebody has it in repair.
    pub in_repair: bool,
    /// An upper layer (kTLS) keeps state of its own.
    pub has_ulp: bool,
    /// A socket filter of the application's.
    pub has_filter: bool,
    /// `SO_LOCK_FILTER`
    pub filter_is_locked: bool,
    /// TCP-AO signs segments.
    pub is_signed: bool,
    /// Urgent data has come.
    pub is_urgent: bool,
    /// `SO_PEEK_OFF` is set.
    pub peeks_at_offset: bool,
    /// Segments are missing.
    pub is_recovering: bool,
    /// Both sides send timestamps.
    pub has_timestamps: bool,
    /// Bytes are in flight, neither timestamps nor SACK tell of them, and nothing can be measured instead.
    pub is_blind: bool,
    /// The peer sends no more, or this side has shut reading.
    pub is_read_shut: bool,
    /// Bytes written and not sent.
    pub unsent: usize,
    /// Bytes written and not acknowledged.
    pub output: usize,
    /// Bytes received and not read.
    pub input: usize,
}

impl Facts {
    /// Looks.
    ///
    /// # Errors
    /// The system's: EBADF, ENOTSOCK.
    pub fn of(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let stream = options::socket(fd, libc::SO_TYPE)? == libc::SOCK_STREAM as u32;
        let tcp = options::socket(fd, libc::SO_PROTOCOL)? == libc::IPPROTO_TCP as u32;
        if !(stream && tcp) {
            return Ok(Self::default());
        }
        let info = Info::read(fd)?;
        let mut found = Self { is_tcp: true, state: info.state(), ..Self::default() };
        found.in_repair = options::tcp(fd, name::REPAIR).is_ok_and(|on| on != 0);
        if !matches!(found.state, state::ESTABLISHED | state::CLOSE_WAIT) {
            return Ok(found);
        }
        let mut ulp = [0u8; 16];
        found.has_ulp =
            options::get(fd, libc::IPPROTO_TCP, name::ULP, &mut ulp).is_ok_and(|l| l > 0 && ulp[0] != 0);
        // Answers the number of instructions; one of eBPF cannot be read (EACCES).
        found.has_filter = options::get(fd, libc::SOL_SOCKET, libc::SO_GET_FILTER, &mut [0u8; 0])
            .map_or(true, |count| count > 0);
        found.filter_is_locked = options::socket(fd, libc::SO_LOCK_FILTER)? != 0;
        // ENOENT where no key was ever set.
        found.is_signed = options::get(fd, libc::IPPROTO_TCP, name::AO_INFO, &mut [0u8; 48]).is_ok();
        let events = options::poll(fd, libc::POLLPRI | libc::POLLRDHUP)?;
        found.is_urgent = events & libc::POLLPRI != 0;
        found.is_read_shut = events & libc::POLLRDHUP != 0;
        // Answers -1 where it is not.
        found.peeks_at_offset = options::socket(fd, libc::SO_PEEK_OFF).is_ok_and(|at| at.cast_signed() >= 0);
        found.is_recovering = info.is_recovering();
        found.has_timestamps = info.has(negotiated::TIMESTAMPS);
        found.unsent = info.notsent();
        found.output = options::queued(fd, libc::TIOCOUTQ)?;
        if !found.has_timestamps && !info.has(negotiated::SACK) && found.output > found.unsent {
            let mut control = [0u8; 16];
            options::get(fd, libc::IPPROTO_TCP, name::CONGESTION, &mut control)?;
            found.is_blind = !measures(&control, info.rtt_us());
        }
        found.input = options::queued(fd, libc::FIONREAD)?;
        Ok(found)
    }
}
