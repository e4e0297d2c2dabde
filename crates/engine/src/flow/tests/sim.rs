//! Sockets as the kernel has them, as small as possible: one of ours and its peer, with bounded buffers and one
//! edge-triggered registration. Every rule here is one of `net/unix/af_unix.c`, `net/ipv4/tcp.c` or `fs/eventpoll.c`.

use std::collections::VecDeque;

use super::super::Ready;
use crate::sock::Outcome;

/// Chance, the same for the same seed (xorshift64*).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).expect("31 bits") % end
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// What the peer hears when it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    Nothing,
    End,
    Reset,
}

/// Our socket, with both of its buffers.
#[derive(Debug)]
pub struct Socket {
    tcp: bool,
    capacity: usize,
    /// From the peer.
    pub inbox: VecDeque<u8>,
    /// To the peer.
    outbox: VecDeque<u8>,
    receive_shut: bool,
    send_shut: bool,
    error: bool,
    peer_closed: bool,
    peer_error: bool,
    pub closed: bool,
    /// Whether EPOLLOUT is watched.
    pub room: bool,
    /// On the ready list.
    listed: bool,
}

impl Socket {
    pub fn new(tcp: bool, capacity: usize) -> Self {
        Self {
            tcp,
            capacity,
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            receive_shut: false,
            send_shut: false,
            error: false,
            peer_closed: false,
            peer_error: false,
            closed: false,
            room: false,
            listed: false,
        }
    }

    // --- our side ---

    fn poll(&self) -> Ready {
        Ready {
            readable: !self.inbox.is_empty() || self.receive_shut || self.error,
            writable: self.room && self.is_writable(),
            half: self.receive_shut,
            hang_up: self.receive_shut && self.send_shut,
            failed: self.error,
            urgent: false,
        }
    }

    /// Room is told when three quarters are free (TCP: a third; and always when nothing can be sent any more).
    pub fn is_writable(&self) -> bool {
        self.outbox.len() * 4 <= self.capacity || (self.tcp && self.send_shut)
    }

    /// Whether a read would find something, be it the end.
    pub fn is_readable(&self) -> bool {
        self.poll().readable
    }

    /// EPOLL_CTL_MOD: what is ready is told again.
    pub fn watch(&mut self, room: bool) {
        self.room = room;
        self.listed |= self.poll() != Ready::default();
    }

    /// epoll_wait: what is on the list is looked at once more.
    pub fn event(&mut self) -> Option<Ready> {
        let listed = std::mem::take(&mut self.listed) && !self.closed;
        listed.then(|| self.poll()).filter(|ready| *ready != Ready::default())
    }

    pub fn is_listed(&self) -> bool {
        self.listed && !self.closed && self.poll() != Ready::default()
    }

    pub fn receive(&mut self, most: usize) -> (Outcome, Vec<u8>) {
        assert!(!self.closed && most > 0);
        if !self.inbox.is_empty() {
            let count = most.min(self.inbox.len());
            return (Outcome::Bytes(count), self.inbox.drain(..count).collect());
        }
        let outcome = match (std::mem::take(&mut self.error), self.receive_shut) {
            (true, _) => Outcome::Broken(libc::ECONNRESET),
            (false, true) => Outcome::End,
            (false, false) => Outcome::Again,
        };
        (outcome, Vec::new())
    }

    /// All that is there, without finding an end.
    pub fn receive_all(&mut self) -> Vec<u8> {
        self.inbox.drain(..).collect()
    }

    pub fn send(&mut self, data: &[u8]) -> Outcome {
        assert!(!self.closed && !data.is_empty());
        if self.send_shut {
            // TCP tells the error here, and then it is told.
            self.error &= !self.tcp;
            return Outcome::Broken(libc::EPIPE);
        }
        let count = data.len().min(self.capacity - self.outbox.len());
        if count == 0 {
            return Outcome::Again;
        }
        if self.tcp && self.peer_closed {
            // Nobody is there: a reset comes back.
            self.peer_resets();
        } else {
            self.outbox.extend(&data[..count]);
        }
        Outcome::Bytes(count)
    }

    pub fn shutdown_write(&mut self) {
        self.send_shut = true;
        self.listed = true;
    }

    /// The last close; `reset`: by connect(AF_UNSPEC), and some of what was on its way does not arrive.
    pub fn close(&mut self, reset: bool, dice: &mut Dice) {
        self.closed = true;
        self.peer_error = reset || !self.inbox.is_empty();
        if self.tcp && self.peer_error {
            self.outbox.truncate(dice.below(self.outbox.len() + 1));
        }
        self.inbox.clear();
    }

    // --- the peer ---

    /// How many bytes it could write.
    pub fn peer_room(&self) -> usize {
        if self.closed {
            0
        } else {
            self.capacity - self.inbox.len()
        }
    }

    pub fn peer_writes(&mut self, data: &[u8]) {
        assert!(data.len() <= self.peer_room() && !self.receive_shut);
        self.inbox.extend(data);
        self.listed = true;
    }

    pub fn peer_reads(&mut self, most: usize) -> (Vec<u8>, Heard) {
        let data: Vec<u8> = self.outbox.drain(..most.min(self.outbox.len())).collect();
        if !data.is_empty() {
            // Room is told to who watches for it.
            self.listed |= self.room && self.is_writable();
            return (data, Heard::Nothing);
        }
        let heard = match (self.peer_error, self.closed || self.send_shut) {
            (true, _) => Heard::Reset,
            (false, true) => Heard::End,
            (false, false) => Heard::Nothing,
        };
        (data, heard)
    }

    pub fn peer_shuts_write(&mut self) {
        self.receive_shut = true;
        self.listed = true;
    }

    /// Only a pair notices.
    pub fn peer_shuts_read(&mut self) {
        if !self.tcp {
            self.send_shut = true;
            self.listed = true;
        }
    }

    pub fn peer_closes(&mut self) {
        self.peer_closed = true;
        if self.tcp && self.outbox.is_empty() {
            return self.peer_shuts_write();
        }
        if self.tcp {
            return self.peer_resets();
        }
        self.error |= !self.outbox.is_empty();
        self.outbox.clear();
        (self.receive_shut, self.send_shut, self.listed) = (true, true, true);
    }

    pub fn peer_resets(&mut self) {
        self.peer_closed = true;
        self.outbox.clear();
        (self.error, self.receive_shut, self.send_shut, self.listed) = (true, true, true, true);
    }
}
