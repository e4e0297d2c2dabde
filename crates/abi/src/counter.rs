//! The named counters of the record: how many sockets were stolen, and why the others were not.
//!
//! Every drop and bypass has a name here, an increment in the shim and a row in `modnet ps`.

/// Counters in a record's second page; spare ones are zero.
pub const COUNTERS: usize = 64;

macro_rules! counters {
    ($($(#[doc = $doc:expr])* $variant:ident = $index:literal, $name:literal;)*) => {
        /// What is counted; the value is the index in the record.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Counter { $($(#[doc = $doc])* $variant = $index),* }

        /// Index, name and meaning of every counter, for whoever shows them.
        pub const TABLE: &[(usize, &str, &str)] = &[$(($index, $name, concat!($($doc),*))),*];
    };
}

counters! {
    /// Sockets handed to the chain.
    Stolen = 0, "stolen";
    /// Not stolen: no module of the chain could be reached.
    NoModule = 1, "no_module";
    /// Not stolen: the steal queue was full.
    QueueFull = 2, "queue_full";
    /// Not stolen: no descriptor was left for the pair (EMFILE or ENFILE).
    NoDescriptor = 3, "no_descriptor";
    /// Not stolen: too many descriptors in flight between processes (ETOOMANYREFS).
    InFlight = 4, "in_flight";
    /// Not stolen: the descriptor's number leaves no room for a hidden duplicate.
    FdRange = 5, "fd_range";
    /// Not stolen: the process may not enter the registry (chroot, permission).
    NoRegistry = 6, "no_registry";
    /// Not stolen: the peer at the module's address is neither the owner nor root.
    WrongOwner = 7, "wrong_owner";
    /// Not stolen: memory, or any other error of the system.
    SystemError = 8, "system_error";
    /// Refused, because the chain could not be reached and the policy is fail closed.
    Refused = 9, "refused";
    /// Modules passed over because they could not be reached, while a later one could.
    Skipped = 10, "skipped";
    /// Answered with an error that makes servers fall back: SO_ZEROCOPY, TCP_ULP, TCP_REPAIR.
    Declined = 11, "declined";
    /// MSG_OOB answered with EOPNOTSUPP.
    OutOfBand = 12, "out_of_band";
    /// Hidden duplicates swept because the descriptor had been closed where no hook sees it.
    Swept = 13, "swept";
    /// Hidden duplicates found again after exec.
    Adopted = 14, "adopted";
    /// Connections made to a steal queue.
    Connects = 15, "connects";
    /// Not stolen: the module has no descriptors left for more flows.
    ModuleFull = 16, "module_full";
    /// Pairs made.
    PairsNew = 17, "pairs_new";
    /// Flows that got a pair which had carried another.
    PairsReused = 18, "pairs_reused";
    /// Pairs closed with their flow: the network's end was shown on them first, or their module has yielded it, or held its bytes.
    PairsDirty = 19, "pairs_dirty";
    /// Pairs closed with their flow: bytes lay unread in them.
    PairsUnread = 20, "pairs_unread";
    /// Pairs that the module closed.
    PairsKilled = 21, "pairs_killed";
    /// Idle pairs that were not needed for long.
    PairsTrimmed = 22, "pairs_trimmed";
    /// Pairs that end with their descriptor: it was duplicated.
    PairsDuplicated = 23, "pairs_duplicated";
    /// Likewise: a child may have inherited it.
    PairsForked = 24, "pairs_forked";
    /// Likewise: shutdown was called.
    PairsShutdown = 25, "pairs_shutdown";
    /// Likewise: it was passed to another process.
    PairsPassed = 26, "pairs_passed";
    /// Likewise: an option or an owner was set on it, or inherited from its listener.
    PairsOptions = 27, "pairs_options";
    /// Likewise: it was in several epoll sets, or could not be taken out of its set.
    PairsEpoll = 28, "pairs_epoll";
    /// Likewise: another thread was inside a call on it when it was closed, or a stream (fdopen) used it.
    PairsBusy = 29, "pairs_busy";
    /// Likewise: its number was closed or replaced by other means than close.
    PairsReplaced = 30, "pairs_replaced";
    /// Likewise: the connection to its module had gone.
    PairsAbandoned = 31, "pairs_abandoned";
    /// Likewise: no number was left to keep it at.
    PairsNoRoom = 32, "pairs_no_room";
    /// Likewise: the process uses io_uring, whose calls no hook sees.
    PairsIoUring = 33, "pairs_io_uring";
    /// Flows whose begin travelled in one message with others of an accept burst.
    BeginsJoined = 34, "begins_joined";
    /// Given back to the application: their begin waited for others, and could not be sent any more. (`stolen` has them.)
    Returned = 35, "returned";
    /// Sockets that the application has yielded to modules itself.
    Yielded = 36, "yielded";
    /// Pairs that end with their descriptor: the application has yielded it.
    PairsYielded = 37, "pairs_yielded";
    /// Small writes that went through shared memory, without a call on the socket.
    InlineWrites = 38, "inline_writes";
    /// Connections whose small writes go through the socket: something was written to them that no hook has seen.
    InlineUntold = 39, "inline_untold";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_and_names_are_unique_and_in_range() {
        for (i, (index, name, doc)) in TABLE.iter().enumerate() {
            assert!(*index < COUNTERS && !doc.is_empty());
            assert!(TABLE[..i].iter().all(|(other, n, _)| other != index && n != name));
        }
    }
}
