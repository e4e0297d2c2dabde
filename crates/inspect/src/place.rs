//! Where the pins are.
//!
//! ```text
//! /sys/fs/bpf/modnet/          0750 root:GROUP; closed to everybody else
//!     states  control          0660: the states, the slots' counters; frozen: only programs write them
//!     chosen                   0660: which socket has which slot; frozen
//!     answers                  0660: what a thread that has asked is told, by core; frozen
//!     wanted                   0660: where a reader says which socket it wants
//!     programs/                0750: programs (0660), for whoever reads to place them (crate::attend)
//!     links/                   0700: what keeps one where it always is
//! ```
//! What is mapped must be opened for reading and writing, since the kernel maps nothing else shared; hence the freezing.
//! `MODNET_BPF_DIR` names another directory of a bpf file system, for tests and for a second, separate set.

use std::env;
use std::path::{Path, PathBuf};

/// Environment variable that overrides the directory.
pub const DIR_ENV: &str = "MODNET_BPF_DIR";
/// Where it is else.
pub const DIR: &str = "/sys/fs/bpf/modnet";
/// What root puts into `wanted`, and asks, to have the programs say that they end.
pub const STOP: u32 = u32::MAX;

/// A pinned map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Map {
    /// The states.
    States,
    /// One [`crate::access::Control`].
    Control,
    /// Which socket has which slot.
    Chosen,
    /// Which socket somebody wants.
    Wanted,
    /// What those who asked are told.
    Answers,
}

impl Map {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::States, Self::Control, Self::Chosen, Self::Wanted, Self::Answers];

    /// File and map have the same name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::States => "states",
            Self::Control => "control",
            Self::Chosen => "chosen",
            Self::Wanted => "wanted",
            Self::Answers => "answers",
        }
    }

    /// Whether no process may write it.
    #[must_use]
    pub fn is_frozen(self) -> bool {
        self != Self::Wanted
    }

    /// Its pin below `dir`.
    #[must_use]
    pub fn pin(self, dir: &Path) -> PathBuf {
        dir.join(self.name())
    }
}

/// The directory that this process means.
#[must_use]
pub fn directory() -> PathBuf {
    env::var_os(DIR_ENV).filter(|dir| !dir.is_empty()).map_or_else(|| DIR.into(), PathBuf::from)
}

/// The programs that stand at their places while somebody reads, and these places (tracepoints), in the order in which they are put
/// there; `bpf/sockstate.bpf.c` says what each does. The last is what begins everything.
pub const PLACED: [(&str, &str); 5] = [
    ("probed", "tcp_probe"),
    ("calmed", "softirq_exit"),
    ("resent", "tcp_retransmit_skb"),
    ("changed", "inet_sock_set_state"),
    ("called", "sock_send_length"),
];

/// The pins of the programs.
#[must_use]
pub fn programs(dir: &Path) -> PathBuf {
    dir.join("programs")
}

/// What keeps programs at their places for good.
#[must_use]
pub fn links(dir: &Path) -> PathBuf {
    dir.join("links")
}
