//! `processes/<pid>`: which chain applies to a process and to its children.
//!
//! One file of two pages. The shim maps the first read-only (from a descriptor opened read-only, so that a
//! process that was given up by its owner cannot write itself into another chain) and the second, the
//! counters, for writing. Fork inherits both mappings; `MODNET_RECORD` in the environment names the file for
//! programs started by exec. The file is its owner's alone (0600): who holds the token was given it.
//!
//! Writer and readers meet in `generation`, a sequence count: odd while the owner writes, and different after
//! each change, so `modnet apply` takes effect at the next accept.

use core::sync::atomic::{AtomicU32, AtomicU64};

use crate::counter::COUNTERS;
use crate::name::Name;

/// First word of a record: `MODR`.
pub const RECORD_MAGIC: u32 = 0x5244_4f4d;
/// Changes with every change of layout or meaning; a shim that finds another version leaves sockets alone.
pub const RECORD_VERSION: u32 = 2;
/// Most modules in one chain (the paper measured 10).
pub const MAX_CHAIN: usize = 16;
/// Where the second page begins.
pub const COUNTERS_OFFSET: usize = 4096;
/// Bytes of the file.
pub const RECORD_BYTES: usize = 8192;
/// Environment variable that holds the record's absolute path.
pub const RECORD_ENV: &str = "MODNET_RECORD";

/// `ChainPage::flags`: refuse a connection whose chain cannot be reached, instead of letting it pass unstolen.
pub const FAIL_CLOSED: u32 = 1;
/// `ChainPage::flags`: every flow gets a pair of its own (`MODNET_PAIRS=fresh`).
pub const FRESH_PAIRS: u32 = 2;
/// `ChainPage::flags`: small writes go through the socket (`MODNET_INLINE=off`).
pub const NO_INLINE: u32 = 4;

/// The first page.
#[repr(C)]
#[derive(Debug)]
pub struct ChainPage {
    /// [`RECORD_MAGIC`].
    pub magic: u32,
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// Sequence count; odd while being written.
    pub generation: AtomicU32,
    /// The process the chain was applied to: `modnet run`'s own pid, which the command keeps. The file's name.
    pub root_pid: u32,
    /// Whose modules may receive sockets (root's always may).
    pub owner_uid: u32,
    /// [`FAIL_CLOSED`], [`FRESH_PAIRS`], [`NO_INLINE`].
    pub flags: AtomicU32,
    /// The hidden duplicate of descriptor `n` has the number `hidden_base + n`; the last numbers below `2 * hidden_base`
    /// are [`Reserved`], and descriptors whose duplicates would come there are not stolen.
    pub hidden_base: u32,
    /// Modules in `chain`.
    pub length: AtomicU32,
    /// RLIMIT_NOFILE's hard value that the application is to see, where the launcher raised the real one to
    /// make room for hidden duplicates; 0: as it is.
    pub shown_hard_limit: u64,
    /// Proves to a module that a chain with it was applied to the sender, whoever the sender has become since.
    pub token: [u8; 16],
    /// Names, nearest to the application first.
    pub chain: [Name; MAX_CHAIN],
}

/// The second page: see [`crate::counter`] for what each stands for.
#[repr(C)]
#[derive(Debug)]
pub struct CounterPage {
    /// Indexed by `counter::Counter as usize`.
    pub counters: [AtomicU64; COUNTERS],
}

/// Most connections to steal queues that one process has (one per core it steals on, and old ones with flows left).
pub const MAX_CONNECTIONS: u32 = 64;
/// Smallest `hidden_base`.
pub const LEAST_BASE: u32 = 128;

/// Numbers that the shim keeps for descriptors of its own: connections, their bells, and idle pairs, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// Connections, and as many bells.
    pub connections: u32,
    /// Idle pairs, of all connections.
    pub idle: u32,
}

impl Reserved {
    /// An eighth of the numbers or less: most are for hidden duplicates.
    #[must_use]
    pub const fn of(hidden_base: u32) -> Self {
        let connections = match hidden_base / 32 {
            0..4 => 4,
            some @ 4..MAX_CONNECTIONS => some,
            _ => MAX_CONNECTIONS,
        };
        let idle = if hidden_base < 65_536 { hidden_base / 16 } else { 4096 };
        Self { connections, idle }
    }

    /// All of them.
    #[must_use]
    pub const fn count(self) -> u32 {
        2 * self.connections + self.idle
    }
}

const _: () = assert!(size_of::<ChainPage>() <= COUNTERS_OFFSET);
const _: () = assert!(size_of::<CounterPage>() <= RECORD_BYTES - COUNTERS_OFFSET);
const _: () = assert!(align_of::<CounterPage>() <= COUNTERS_OFFSET);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_numbers_are_for_hidden_duplicates() {
        for base in [LEAST_BASE, 512, 10_000, 20_000, 65_536, 1 << 29] {
            let reserved = Reserved::of(base);
            assert!(reserved.count() <= base / 5, "{base}: {reserved:?}");
            assert!(
                reserved.connections >= 4 && reserved.connections <= MAX_CONNECTIONS && reserved.idle >= 8
            );
        }
        assert_eq!(Reserved::of(20_000), Reserved { connections: 64, idle: 1250 });
    }
}
