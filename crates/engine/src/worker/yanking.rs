//! Somebody at the left takes bytes back: what a worker does of it, in steps that never wait.
//!
//! [`crate::revoke`] has the protocol. From the first step to the last the flow is frozen outbound, and what was taken out of the
//! pair, the hook and the queue lies in its `stash`, which belongs behind all that is queued. In the end the stash goes
//! on as if it had just been read, less what was taken.

use std::os::fd::AsFd;
use std::sync::mpsc::Sender;
use std::sync::Arc;

use super::conn::{Flow, Pair};
use super::Worker;
use crate::error::{Error, Result};
use crate::flow::{Ready, Side, Way};
use crate::hooks::{Orders, Verdict};
use crate::revoke::{peer, Next};
use crate::sock::Outcome;
use crate::stats::Stats;

/// Most that is read out of the pair before the module: more than both its buffers hold. An application that goes on
/// writing meanwhile must not keep the worker.
const MOST: usize = 8 << 20;

/// What a worker is asked.
pub enum Ask {
    /// Freezes the flow whose left socket has this inode, and takes its last bytes.
    Take {
        /// The inode.
        ino: u32,
        /// For whom.
        session: u64,
        /// How many.
        length: usize,
        /// None: the flow is not this worker's.
        answer: Sender<Option<Result<Found>>>,
    },
    /// What the next module had; all of them are told then.
    Supply {
        /// The flow.
        flow: u64,
        /// For whom.
        session: u64,
        /// They come before those that are there.
        bytes: Vec<u8>,
        /// None: the flow is over.
        answer: Sender<Option<Vec<u8>>>,
    },
    /// The session has ended: whatever it has frozen goes on.
    Forget {
        /// Which.
        session: u64,
    },
    /// The last `taken` bytes are gone; the flow goes on unless `hold` says otherwise.
    Settle {
        /// The flow.
        flow: u64,
        /// For whom.
        session: u64,
        /// How many.
        taken: usize,
        /// Whether a lock holds it.
        hold: bool,
    },
}

/// What was found.
pub enum Found {
    /// The flow, and its last bytes.
    Ready(u64, Vec<u8>),
    /// The flow, and how many bytes the next module should be asked for.
    More(u64, usize, Next),
}

/// What belongs to a flow that is frozen.
#[derive(Debug)]
pub struct Frozen {
    session: u64,
    stash: Vec<u8>,
    /// As the last request says.
    length: usize,
    /// A lock holds it, and nothing else is under way.
    locked: bool,
}

impl Frozen {
    fn last(&self) -> Vec<u8> {
        self.stash[self.stash.len().saturating_sub(self.length)..].to_vec()
    }

    fn put_before(&mut self, mut bytes: Vec<u8>) {
        bytes.append(&mut self.stash);
        self.stash = bytes;
    }

    /// Bytes held.
    pub fn len(&self) -> usize {
        self.stash.len()
    }
}

impl Worker {
    /// Does what is asked.
    pub(super) fn yank(&mut self, ask: Ask) {
        match ask {
            Ask::Take { ino, session, length, answer } => {
                let found = self.flow_of(ino).map(|key| {
                    let held = self.frozen(key, session).is_some_and(|frozen| frozen.locked);
                    let found = self.take_back(key, session, length);
                    if found.is_err() {
                        self.settle_yank(key, session, 0, held);
                    }
                    found
                });
                // Whoever does not hear it has given up, and says so by [`Ask::Forget`].
                let _ = answer.send(found);
            }
            Ask::Supply { flow, session, bytes, answer } => {
                let frozen = self.frozen(flow, session);
                let _ = answer.send(frozen.map(|frozen| {
                    frozen.put_before(bytes);
                    frozen.last()
                }));
            }
            Ask::Forget { session } => {
                for key in self.flows.keys() {
                    self.settle_yank(key, session, 0, false);
                }
            }
            Ask::Settle { flow, session, taken, hold } => self.settle_yank(flow, session, taken, hold),
        }
    }

    /// The application has closed, or the module before: its lock ends.
    pub(super) fn end_lock(&mut self, key: u64) {
        let frozen = self.flows.get_mut(key).and_then(|flow| flow.frozen.as_ref());
        if let Some(session) = frozen.filter(|frozen| frozen.locked).map(|frozen| frozen.session) {
            self.settle_yank(key, session, 0, false);
        }
    }

    fn frozen(&mut self, key: u64, session: u64) -> Option<&mut Frozen> {
        self.flows.get_mut(key)?.frozen.as_deref_mut().filter(|frozen| frozen.session == session)
    }

    /// The flow of a left socket. O(pairs), each of which is asked once.
    fn flow_of(&mut self, ino: u32) -> Option<u64> {
        self.pairs.keys().into_iter().find_map(|key| {
            let pair = self.pairs.get_mut(key)?;
            (pair.inode() == Some(ino)).then_some(pair.flow).flatten()
        })
    }

    fn take_back(&mut self, key: u64, session: u64, length: usize) -> Result<Found> {
        let can_answer = self.wants.yank_requested;
        let over = || Error::new(libc::ENOTCONN, "the flow is over");
        let flow = self.flows.get_mut(key).ok_or_else(over)?;
        let hooked = flow.machine.has_hook(Way::Outbound);
        if hooked && !can_answer {
            return Err(Error::new(
                libc::EOPNOTSUPP,
                format!(
                    "module {} changes what passes and cannot give it back: it needs yank_requested",
                    self.shared.receiver.name
                ),
            ));
        }
        let busy =
            || Error::new(libc::EAGAIN, "somebody else takes or holds this flow's unsent bytes; try again");
        match &mut flow.frozen {
            Some(frozen) if frozen.session != session => return Err(busy()),
            Some(frozen) => (frozen.length, frozen.locked) = (length, false),
            None if flow.machine.outlet().is_some_and(|outlet| outlet.is_locked()) => return Err(busy()),
            None => {
                flow.frozen = Some(Box::new(Frozen { session, stash: Vec::new(), length, locked: false }));
                flow.machine.freeze(Way::Outbound, true);
                flow.recall();
            }
        }
        self.read_out(key);
        let missing = self.missing(key, session);
        if missing > 0 {
            let back =
                if hooked { self.call_yank_requested(key, missing)? } else { self.unqueue(key, missing) };
            if let Some(frozen) = self.frozen(key, session) {
                frozen.put_before(back);
            }
        }
        let missing = self.missing(key, session);
        let flow = self.flows.get_mut(key).ok_or_else(over)?;
        if missing > 0 && !hooked && !flow.right_is_tcp {
            let ino = peer::inode(flow.right.as_fd())?;
            let origin = flow.origin();
            let names = origin.chain.get(origin.position + 1..).unwrap_or_default().to_vec();
            let next = Next { runtime: self.shared.receiver.runtime.clone(), names, ino };
            return Ok(Found::More(key, missing, next));
        }
        let last = flow.frozen.as_ref().map_or_else(Vec::new, |frozen| frozen.last());
        Ok(Found::Ready(key, last))
    }

    fn missing(&mut self, key: u64, session: u64) -> usize {
        self.frozen(key, session).map_or(0, |frozen| frozen.length.saturating_sub(frozen.stash.len()))
    }

    /// What lies in the pair before this module goes to the stash.
    fn read_out(&mut self, key: u64) {
        let Some(flow) = self.flows.get_mut(key) else { return };
        let Some(pair) = flow.pair.and_then(|pair| self.pairs.get_mut(pair)) else { return };
        if flow.frozen.is_none() {
            return;
        }
        flow.tell_fetched(pair);
        // What came along when the flow was yielded, and was not read yet, comes before.
        let held = flow.take_held(Way::Outbound);
        let Some(frozen) = &mut flow.frozen else { return };
        frozen.stash.extend(held);
        while frozen.stash.len() < MOST {
            let (found, asked) = pair.read(&mut self.scratch);
            match found {
                Outcome::Bytes(count) => {
                    frozen.stash.extend_from_slice(&self.scratch[..count]);
                    // Behind what lay in the area the socket may have bytes of which no event has told yet.
                    flow.machine.kept(Way::Outbound, count, asked);
                }
                // The next read, once the flow goes on, finds the same.
                Outcome::Again | Outcome::End | Outcome::Broken(_) => break,
            }
        }
        let again = Ready { readable: true, ..Ready::default() };
        flow.machine.ready(Side::Left, again);
    }

    /// Takes the last bytes out of the queues of a flow without a hook.
    fn unqueue(&mut self, key: u64, most: usize) -> Vec<u8> {
        let Some(flow) = self.flows.get_mut(key) else { return Vec::new() };
        // Nobody holds the outlet's lock: it was asked before, and only this thread ...
        let session = flow.frozen.as_ref().map_or(0, |frozen| frozen.session);
        let late = flow.machine.outlet().map(|outlet| outlet.withdraw(session, most));
        let mut back = match late {
            Some(Ok(bytes)) => bytes,
            // ... but a thread of the module's own may have locked it since.
            Some(Err(_)) => return Vec::new(),
            None => Vec::new(),
        };
        let queue = flow.machine.queue(Way::Outbound);
        let mut earlier = queue.yank(most - back.len());
        earlier.append(&mut back);
        back = earlier;
        if back.len() < most && queue.outside() > 0 {
            if let Some(pipe) = flow.pipes[Way::Outbound as usize].take() {
                let mut bytes = pipe.read(queue.outside());
                queue.outside_is_gone();
                self.pipes.give(pipe);
                let mut last = bytes.split_off(bytes.len() - (most - back.len()).min(bytes.len()));
                queue.push(&bytes);
                last.append(&mut back);
                back = last;
            }
        }
        back
    }

    fn call_yank_requested(&mut self, key: u64, length: usize) -> Result<Vec<u8>> {
        let hooks = Arc::clone(&self.shared.hooks);
        let mut orders = Orders::default();
        let mut out = Vec::new();
        let state = self.flows.get_mut(key).and_then(|flow| flow.state.as_mut());
        let Some(state) = state else { return Ok(out) };
        let name = &self.shared.receiver.name;
        let verdict = hooks.yank_requested(state, length, &mut out, &mut orders).map_err(|errno| {
            Error::new(
                errno,
                format!("a module behind {name} gives nothing back now, or never: its answer is {errno}"),
            )
        })?;
        self.settle(key, verdict, &mut orders);
        if verdict == Verdict::Failed || out.len() > length {
            return Err(Error::new(
                libc::EIO,
                format!("yank_requested of module {} failed; see its log", self.shared.receiver.name),
            ));
        }
        Ok(out)
    }

    fn settle_yank(&mut self, key: u64, session: u64, taken: usize, hold: bool) {
        let Some(frozen) = self.frozen(key, session) else { return };
        let left = frozen.stash.len().saturating_sub(taken);
        frozen.stash.truncate(left);
        // Also where it is not held any more: nobody is in the middle of anything now.
        frozen.locked = true;
        Stats::add(&self.shared.receiver.stats.bytes_yanked, taken as u64);
        let Some(flow) = self.flows.get_mut(key) else { return };
        flow.yanked += taken as u64;
        if hold {
            // A client that closes by word does not ring where bytes are unread: they would be read, but for the lock.
            let pair = flow.pair.and_then(|pair| self.pairs.get_mut(pair));
            if let Some(closed) = pair.and_then(Pair::leave_word) {
                flow.machine.ready(Side::Left, closed);
            }
            if !flow.machine.left_is_gone() {
                return;
            }
        }
        if flow.yielding.is_some() && !self.hand_over(key) {
            return;
        }
        let Some(stash) = self.flows.get_mut(key).and_then(Flow::thaw) else { return self.pump(key) };
        let size = self.scratch.len();
        for (index, piece) in stash.chunks(size).enumerate() {
            self.feed(key, piece);
            if self.is_yielding(key) {
                if let Some(flow) = self.flows.get_mut(key) {
                    flow.hold(Way::Outbound, stash[((index + 1) * size).min(stash.len())..].to_vec());
                }
                if !self.hand_over(key) {
                    return;
                }
                break;
            }
        }
        self.pump(key);
    }

    /// Bytes go on as if they had just been read.
    fn feed(&mut self, key: u64, piece: &[u8]) {
        let Some(flow) = self.flows.get_mut(key) else { return };
        if !flow.machine.has_hook(Way::Outbound) {
            return flow.append(piece);
        }
        let (passes, piece) = piece.split_at(flow.machine.skip_some(Way::Outbound, piece.len()));
        flow.append(passes);
        if piece.is_empty() {
            return;
        }
        self.scratch[..piece.len()].copy_from_slice(piece);
        let count = self.call_data(key, Way::Outbound, piece.len());
        let mut left = count.unwrap_or(piece.len());
        if self.is_yielding(key) {
            self.take_along(key, Way::Outbound, count.is_some(), &mut left);
        }
        let Some(flow) = self.flows.get_mut(key) else { return };
        match count {
            Some(_) => flow.append(&self.out[..left]),
            None => flow.append(&piece[..left]),
        }
    }
}

impl Flow {
    /// Whether somebody is in the middle of taking bytes back.
    pub fn is_being_yanked(&self) -> bool {
        self.frozen.as_ref().is_some_and(|frozen| !frozen.locked)
    }

    /// Ends what holds its outbound bytes, a lock or nothing; those that were read and have not passed.
    pub fn thaw(&mut self) -> Option<Vec<u8>> {
        let frozen = self.frozen.take()?;
        for way in Way::BOTH {
            self.machine.freeze(way, false);
        }
        Some(frozen.stash)
    }

    /// Puts outbound bytes behind all that wait.
    fn append(&mut self, bytes: &[u8]) {
        match self.machine.outlet() {
            Some(outlet) => outlet.push(bytes),
            None => self.machine.queue(Way::Outbound).push(bytes),
        }
    }
}
