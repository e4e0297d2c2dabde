//! What an engine counts. Every drop has a name here and is shown by `modnet module show` and `modnet ps --json`.

use std::sync::atomic::{AtomicU64, Ordering};

use modnet_inspect::watch;
use serde_json::{Map, Value};

macro_rules! stats {
    ($($(#[doc = $doc:expr])* $name:ident,)*) => {
        /// Counters of one module process.
        #[derive(Debug, Default)]
        pub struct Stats { $($(#[doc = $doc])* pub $name: AtomicU64,)* }

        impl Stats {
            /// All of them by name.
            #[must_use]
            pub fn as_json(&self) -> Value {
                let mut all = Map::new();
                $(all.insert(stringify!($name).to_owned(), self.$name.load(Ordering::Relaxed).into());)*
                Value::Object(all)
            }
        }
    };
}

stats! {
    /// Flows taken from the steal queues.
    stolen,
    /// Flows that ended.
    ended,
    /// Flows yielded to modules that replaced this one; they are among those that ended.
    yielded,
    /// Flows between which and a neighbour this module has put others.
    yielded_beside,
    /// Flows that were yielded and could not be handed over (skipped, queue_full, in_flight or no_descriptor says why): they go on natively.
    yields_lost,
    /// Flows that were to be yielded when they were ending: the network had reset them. They end here.
    yields_late,
    /// Sides of flows that came with bytes for a program with its own loop, which a thread of the library passes to it.
    relayed,
    /// Bytes read from applications, of flows that ended.
    bytes_outbound,
    /// Bytes read from the network, of flows that ended.
    bytes_inbound,
    /// Outbound bytes that were taken back.
    bytes_yanked,
    /// Flows ended by a reset that the module asked for, or that its failed hook brought.
    resets,
    /// Flows cut off because the time to drain was over.
    cut,
    /// Hooks that failed.
    hook_failures,
    /// Flows for which a later module of the chain could not be reached and was passed over.
    skipped,
    /// Flows reset because the rest of their chain could not be reached (fail closed).
    refused,
    /// Flows not passed on because the next module's queue was full.
    queue_full,
    /// Flows not passed on because too many descriptors were on their way between processes (ETOOMANYREFS).
    in_flight,
    /// Flows not passed on, or not served, for want of descriptors or memory.
    no_descriptor,
    /// Sockets lost on their way, because this process had no descriptor left for them.
    lost,
    /// Times that the module closed its entrance for want of descriptors; shims pass without it meanwhile.
    full,
    /// Connections to a steal queue without the right to send sockets.
    unwelcome,
    /// Messages that were not understood.
    not_understood,
    /// Pairs made towards the next module.
    pairs_new,
    /// Flows to the next module over a pair that had another before.
    pairs_reused,
    /// Writes to the next module by shared memory, without a system call.
    inline_writes,
    /// Pairs not used again: the next module had shown the network's end on them.
    pairs_dirty,
    /// Pairs not used again: bytes lay unread in them.
    pairs_unread,
    /// Pairs not used again: their flow was half-closed or reset on this side, or yielded.
    pairs_ordinary,
    /// Pairs of the application's, or of the module before, not used again: their flow was yielded.
    pairs_yielded,
    /// Pairs not used again: the next module has closed them.
    pairs_killed,
    /// Idle pairs closed, since they were not needed for long or their descriptors were.
    pairs_trimmed,
}

impl Stats {
    /// All of them, and how the flows' TCP states were read.
    #[must_use]
    pub fn and_inspection(&self) -> Value {
        let mut all = self.as_json();
        for (name, count) in watch::counters() {
            all[name] = count.into();
        }
        all
    }

    /// What counts flows that could not be sent to another module.
    pub fn unsent(&self, errno: Option<i32>) -> &AtomicU64 {
        match errno {
            Some(libc::EAGAIN) => &self.queue_full,
            Some(libc::ETOOMANYREFS) => &self.in_flight,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => &self.no_descriptor,
            _ => &self.skipped,
        }
    }

    /// Counts.
    pub fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_sent_is_counted_by_its_reason() {
        let stats = Stats::default();
        let errors = [libc::EAGAIN, libc::ETOOMANYREFS, libc::ENOBUFS, libc::ENOENT, libc::ECONNREFUSED];
        for errno in errors {
            Stats::add(stats.unsent(Some(errno)), 1);
        }
        let all = stats.as_json();
        let counted: Vec<_> = all.as_object().unwrap().iter().filter(|(_, count)| **count != 0).collect();
        let expected = [("skipped", 2), ("queue_full", 1), ("in_flight", 1), ("no_descriptor", 1)];
        assert_eq!(counted.len(), expected.len(), "{counted:?}");
        assert!(expected.iter().all(|(name, count)| all[*name] == *count), "{counted:?}");
    }
}
