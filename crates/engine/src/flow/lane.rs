//! What is known of one direction.

use std::sync::Arc;

use modnet_revoke::queue::outlet::Outlet;

use super::{Bucket, Queue};

/// A read to an outlet fills at least this part of it: of 4 MB one segment (64 KB).
const PIECES: usize = 64;

/// One direction.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) queue: Queue,
    /// Where bytes wait behind the queue until the kernel can send them, and at most so many; None: all go at once.
    pub(super) late: Option<(Arc<Outlet>, usize)>,
    /// What the source has stays there until the destination has room: there it can be taken back as well.
    pub(super) postponed: bool,
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
    /// Nothing is read, sent or ended for now.
    pub(super) frozen: bool,
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
            late: None,
            postponed: false,
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
            frozen: false,
            closed: false,
            discard: false,
            bytes: 0,
        }
    }
    /// Bytes that wait.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len() + self.late.as_ref().map_or(0, |(outlet, _)| outlet.len())
    }

    /// Whether bytes that wait may be sent, with room at the destination or without.
    pub(super) fn has_to_send(&self) -> bool {
        !self.frozen && self.may_send()
    }

    /// Whether room at the destination is of use: to send, or to read again.
    pub(super) fn wants_room(&self) -> bool {
        !self.writable && (self.has_to_send() || self.postponed && !self.is_locked())
    }

    fn may_send(&self) -> bool {
        !self.queue.is_empty() || self.late.as_ref().is_some_and(|(outlet, _)| outlet.may_send())
    }

    /// How many bytes may be read.
    pub(super) fn room(&self, limit: usize) -> usize {
        match &self.late {
            _ if self.frozen => 0,
            Some((outlet, most)) if !outlet.is_locked() => {
                let room = most.saturating_sub(self.waiting());
                // A full outlet is not read into for every segment that has gone.
                if room < most / PIECES {
                    0
                } else {
                    room
                }
            }
            Some(_) => 0,
            None if self.queue.is_empty() => limit,
            None => 0,
        }
    }

    /// Whether somebody holds back what follows, the end included.
    pub(super) fn is_locked(&self) -> bool {
        self.frozen || self.late.as_ref().is_some_and(|(outlet, _)| outlet.is_locked())
    }

    /// Throws away what waits.
    pub(super) fn clear(&mut self) {
        self.postponed = false;
        self.queue.clear();
        if let Some((outlet, _)) = &self.late {
            outlet.clear();
        }
    }
}
