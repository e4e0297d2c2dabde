//! `TCP_INFO`, as far as a yank needs it. libc's struct ends before the fields of this decade.
//!
//! Must not be compared between before and after a yank: the counters begin anew.

use std::io;
use std::os::fd::BorrowedFd;

use super::options::{self, name};

/// State numbers of `tcp_info.tcpi_state`.
pub mod state {
    /// Data goes both ways.
    pub const ESTABLISHED: u8 = 1;
    /// The peer has said that it sends no more.
    pub const CLOSE_WAIT: u8 = 8;
    /// No connection.
    pub const CLOSE: u8 = 7;
}

/// `tcpi_options`
pub mod negotiated {
    /// Timestamps.
    pub const TIMESTAMPS: u8 = 1;
    /// Selective acknowledgements.
    pub const SACK: u8 = 2;
    /// Window scaling.
    pub const SCALE: u8 = 4;
}

const LENGTH: usize = 232;

/// One reading.
#[derive(Clone, Copy, Debug)]
pub struct Info([u8; LENGTH]);

impl Info {
    /// Reads it.
    ///
    /// # Errors
    /// ENOTSUP where the kernel's struct is too short to know unsent bytes (before 4.6).
    pub fn read(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let mut bytes = [0; LENGTH];
        let got = options::get(fd, libc::IPPROTO_TCP, name::INFO, &mut bytes)?;
        if got < LENGTH {
            return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
        }
        Ok(Self(bytes))
    }

    fn word(&self, at: usize) -> u32 {
        self.0.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_ne_bytes)
    }

    /// One of [`state`].
    #[must_use]
    pub fn state(&self) -> u8 {
        self.0[0]
    }

    /// Whether something is missing: duplicate acknowledgements, lost segments, a retransmission by timer
    /// (`TCP_CA_Disorder` and above, or `tcpi_retransmits`).
    #[must_use]
    pub fn is_recovering(&self) -> bool {
        matches!(self.0[1], 1 | 3 | 4) || self.0[2] > 0
    }

    /// Whether all of [`negotiated`]'s `bits` were.
    #[must_use]
    pub fn has(&self, bits: u8) -> bool {
        self.0[5] & bits == bits
    }

    /// (what the peer's windows are shifted by, what ours are)
    #[must_use]
    pub fn scales(&self) -> (u32, u32) {
        ((self.0[6] & 15).into(), (self.0[6] >> 4).into())
    }

    /// Bytes of data in a full segment.
    #[must_use]
    pub fn snd_mss(&self) -> u32 {
        self.word(16)
    }

    /// Segments sent and not acknowledged.
    #[must_use]
    pub fn unacked(&self) -> u32 {
        self.word(24)
    }

    /// The smoothed round trip in µs.
    #[must_use]
    pub fn rtt_us(&self) -> u32 {
        self.word(68)
    }

    /// The slow start threshold in segments.
    #[must_use]
    pub fn snd_ssthresh(&self) -> u32 {
        self.word(76)
    }

    /// The congestion window in segments.
    #[must_use]
    pub fn snd_cwnd(&self) -> u32 {
        self.word(80)
    }

    /// Segments that came in.
    #[must_use]
    pub fn segments_in(&self) -> u32 {
        self.word(140)
    }

    /// Bytes a second that are sent at most; BBR's word.
    #[must_use]
    pub fn pacing_rate(&self) -> u64 {
        u64::from(self.word(104)) | u64::from(self.word(108)) << 32
    }

    /// Bytes written and not sent.
    #[must_use]
    pub fn notsent(&self) -> usize {
        self.word(144) as usize
    }
}
