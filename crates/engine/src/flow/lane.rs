//! What is known of one direction.

use super::{Bucket, Queue};

/// One direction.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) queue: Queue,
    pub(super) bucket: Option<Bucket>,
    /// Bytes in the driver's hand: read, and not sent yet.
    pub(super) hand: Option<usize>,
    /// They, or the end, still go to the hook.
    pub(super) to_hook: bool,
    pub(super) hook: bool,
    pub(super) hook_end: bool,
    /// So many of the next bytes pass the hook by.
    pub(super) skip: u64,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The source has said that it sends no more: a short read is the last.
    pub(super) half: bool,
    /// A read may stop before urgent data: a short one says nothing about what is behind.
    pub(super) urgent: bool,
    pub(super) ended: bool,
    /// The destination knows of the end.
    pub(super) closed: bool,
    /// The destination takes nothing any more: what is read is thrown away.
    pub(super) discard: bool,
    pub(super) bytes: u64,
}

impl Lane {
    /// A direction at its beginning, and which hooks it has.
    pub(super) fn new(hook: bool, hook_end: bool) -> Self {
        Self {
            queue: Queue::default(),
            bucket: None,
            hand: None,
            to_hook: false,
            hook,
            hook_end,
            skip: 0,
            readable: false,
            writable: true,
            half: false,
            urgent: false,
            ended: false,
            closed: false,
            discard: false,
            bytes: 0,
        }
    }
}
