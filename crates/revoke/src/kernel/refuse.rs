//! The states in which a yank must not be done, as a table. Pure.
//!
//! `EAGAIN`: it may be possible later. `EOPNOTSUPP`: never on this connection.

use super::facts::Facts;
use super::info::state;

/// Which line of the table. `Late` comes up while the queues are read, not by a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Refusal {
    NotTcp,
    InRepair,
    State,
    Ulp,
    Filter,
    FilterLocked,
    Signed,
    Urgent,
    PeekOffset,
    Recovery,
    Blind,
    Output,
    Input,
    Raw,
    Late,
}

/// What the yanker can do.
#[derive(Clone, Copy, Debug)]
pub struct Means {
    /// Bytes that each queue may have.
    pub most: usize,
    /// The peer's FIN can be sent again.
    pub raw: bool,
}

struct Line {
    refusal: Refusal,
    errno: i32,
    reason: &'static str,
    applies: fn(&Facts, Means) -> bool,
}

const TABLE: [Line; 15] = [
    Line {
        refusal: Refusal::NotTcp,
        errno: libc::EOPNOTSUPP,
        reason: "it is no plain TCP socket; of MPTCP's, the kernel can put back neither subflows nor keys",
        applies: |facts, _| !facts.is_tcp,
    },
    Line {
        refusal: Refusal::InRepair,
        errno: libc::EAGAIN,
        reason: "somebody has the socket in repair; if that process was killed, modnet doctor brings it back",
        applies: |facts, _| facts.in_repair,
    },
    Line {
        refusal: Refusal::State,
        errno: libc::EAGAIN,
        reason: "the connection is not open for writing: a repaired one is always ESTABLISHED, a FIN of ours is lost",
        applies: |facts, _| !matches!(facts.state, state::ESTABLISHED | state::CLOSE_WAIT),
    },
    Line {
        refusal: Refusal::Ulp,
        errno: libc::EOPNOTSUPP,
        reason: "an upper layer (kernel TLS) counts the records that were written, and cannot be told of fewer",
        applies: |facts, _| facts.has_ulp,
    },
    Line {
        refusal: Refusal::Filter,
        errno: libc::EOPNOTSUPP,
        reason: "the socket has a filter, which would have to make room for the guard's and cannot be put back",
        applies: |facts, _| facts.has_filter,
    },
    Line {
        refusal: Refusal::FilterLocked,
        errno: libc::EOPNOTSUPP,
        reason: "SO_LOCK_FILTER keeps the guard's filter out",
        applies: |facts, _| facts.filter_is_locked,
    },
    Line {
        refusal: Refusal::Signed,
        errno: libc::EOPNOTSUPP,
        reason: "TCP-AO signs with sequence numbers that begin with the connection",
        applies: |facts, _| facts.is_signed,
    },
    Line {
        refusal: Refusal::Urgent,
        errno: libc::EOPNOTSUPP,
        reason: "urgent data has come, and its mark cannot be put back",
        applies: |facts, _| facts.is_urgent,
    },
    Line {
        refusal: Refusal::PeekOffset,
        errno: libc::EOPNOTSUPP,
        reason: "SO_PEEK_OFF is set: reading the queue would move it",
        applies: |facts, _| facts.peeks_at_offset,
    },
    Line {
        refusal: Refusal::Recovery,
        errno: libc::EAGAIN,
        reason: "segments are missing on a path without timestamps: which ones would be forgotten, and no round trip \
                 could be measured",
        applies: |facts, _| facts.is_recovering && !facts.has_timestamps,
    },
    Line {
        refusal: Refusal::Blind,
        errno: libc::EAGAIN,
        reason: "bytes are in flight on a path without timestamps and SACK that is long, or modelled by BBR: nothing would \
                 measure it, and a loss would wait for a timer of 3 s",
        applies: |facts, _| facts.is_blind,
    },
    Line {
        refusal: Refusal::Output,
        errno: libc::EAGAIN,
        reason: "more is queued for sending than the yanker has memory for",
        applies: |facts, means| facts.output > means.most,
    },
    Line {
        refusal: Refusal::Input,
        errno: libc::EAGAIN,
        reason: "more is waiting to be read than the yanker has memory for",
        applies: |facts, means| facts.input > means.most,
    },
    Line {
        refusal: Refusal::Raw,
        errno: libc::EPERM,
        reason: "the peer has closed its half, and sending its FIN again needs the capability CAP_NET_RAW",
        applies: |facts, means| facts.state == state::CLOSE_WAIT && !means.raw,
    },
    Line {
        refusal: Refusal::Late,
        errno: libc::EAGAIN,
        reason: "segments kept slipping in before the guard; try again",
        applies: |_, _| false,
    },
];

impl Refusal {
    /// All of them, in the table's order.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|line| line.refusal)
    }

    /// The first that applies.
    #[must_use]
    pub fn of(facts: &Facts, means: Means) -> Option<Self> {
        TABLE.iter().find(|line| (line.applies)(facts, means)).map(|line| line.refusal)
    }

    fn line(self) -> Option<&'static Line> {
        TABLE.iter().find(|line| line.refusal == self)
    }

    /// An errno value.
    #[must_use]
    pub fn errno(self) -> i32 {
        self.line().map_or(libc::EAGAIN, |line| line.errno)
    }

    /// In words.
    #[must_use]
    pub fn reason(self) -> &'static str {
        self.line().map_or("", |line| line.reason)
    }
}

#[cfg(test)]
#[path = "refuse_tests.rs"]
mod tests;
