//! Why a state does not come from eBPF: each reason has a name, a line, and what to do about it.

use std::fmt;
use std::io;

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// `MODNET_INSPECT=off`.
    Off,
    /// `MODNET_INSPECT=sampled`.
    Forced,
    /// Nothing is pinned: nobody has run `modnet inspect enable`, or somebody `disable`.
    NotEnabled,
    /// The pins are there, and closed to this user.
    NotInGroup,
    /// The kernel lets unprivileged users make no bpf call (before 5.19 with `kernel.unprivileged_bpf_disabled`).
    Refused,
    /// The pins belong to somebody who is neither root nor this user.
    Untrusted,
    /// The pins are another version's.
    OtherVersion,
    /// Every slot is taken.
    NoSlot,
    /// The process that kept the programs at their places has gone a moment ago, and another is about to take them over.
    Unattended,
    /// The connection is being closed: of packets in those states the kernel tells no program.
    Closing,
    /// The socket is not one that can be inspected: not TCP, or not connected.
    NotConnected,
    /// Any other answer of the system.
    System(i32),
}

impl Reason {
    /// What is counted under.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Forced => "forced",
            Self::NotEnabled => "not_enabled",
            Self::NotInGroup => "not_in_group",
            Self::Refused => "refused",
            Self::Untrusted => "untrusted",
            Self::OtherVersion => "other_version",
            Self::NoSlot => "no_slot",
            Self::Unattended => "unattended",
            Self::Closing => "closing",
            Self::NotConnected => "not_connected",
            Self::System(_) => "system_error",
        }
    }

    /// What to do about it; empty where it is what was asked for.
    #[must_use]
    pub fn todo(&self) -> &'static str {
        match self {
            Self::Off | Self::Forced | Self::Closing | Self::Unattended => "",
            Self::NotEnabled => "as root: modnet inspect enable [--group GROUP]",
            Self::NotInGroup => "as root: modnet inspect enable --group GROUP, and let the user be in it",
            Self::Refused => "sysctl kernel.unprivileged_bpf_disabled=0, or Linux 5.19",
            Self::Untrusted => "remove that directory; as root: modnet inspect enable",
            Self::OtherVersion => "as root: modnet inspect disable, then enable",
            Self::NoSlot => "as root: modnet inspect disable, then enable --slots with a larger number",
            Self::NotConnected => "inspect a connected TCP socket",
            Self::System(_) => "see the system's message",
        }
    }

    /// The errno value that the calls answer with.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            Self::Off | Self::Forced | Self::NotEnabled | Self::OtherVersion | Self::Closing => {
                libc::EOPNOTSUPP
            }
            Self::NotInGroup | Self::Refused | Self::Untrusted => libc::EACCES,
            Self::NoSlot => libc::ENOSPC,
            Self::Unattended => libc::EAGAIN,
            Self::NotConnected => libc::ENOTCONN,
            Self::System(errno) => *errno,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "inspection is switched off (MODNET_INSPECT=off)",
            Self::Forced => "sampling was asked for (MODNET_INSPECT=sampled)",
            Self::NotEnabled => "it is not enabled on this machine",
            Self::NotInGroup => "it is enabled for another group",
            Self::Refused => "this kernel lets ordinary users make no bpf call",
            Self::Untrusted => "its directory belongs to another user",
            Self::OtherVersion => "what is enabled is another version of modnet's",
            Self::NoSlot => "every slot is taken",
            Self::Unattended => "the programs are being put at their places",
            Self::Closing => "the connection is being closed",
            Self::NotConnected => "the socket is not a connected TCP socket",
            Self::System(errno) => return io::Error::from_raw_os_error(*errno).fmt(f),
        })
    }
}

impl std::error::Error for Reason {}

impl From<io::Error> for Reason {
    fn from(error: io::Error) -> Self {
        Self::System(error.raw_os_error().unwrap_or(libc::EIO))
    }
}
