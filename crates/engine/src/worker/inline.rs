//! What is read of a pair: its socket, and small writes that its client has put into shared memory (`modnet_pool::inline`).
//!
//! Whoever reads left reads by [`Pair::read`], or shuts the area before: [`Pair::shuts`] for one splice, [`Pair::shut`] until the flow is over.
//! Only bytes of the socket are counted.

use std::os::fd::AsFd;

use modnet_abi::pool::AREAS;
use modnet_pool::inline;

use super::conn::{Pair, Seat, Unread};
use crate::sock::{self, Outcome};

/// What comes before the socket's bytes.
#[derive(Default)]
pub struct First {
    /// Bytes of the area that are this module's.
    from: usize,
    to: usize,
    /// Bytes of the socket that were read before those were seen, and come behind them.
    behind: Unread,
    /// What a read of the socket has found, and has not been told: an end.
    found: Option<Outcome>,
    /// The poller has told of the socket, and no read has found it empty since.
    pub socket: bool,
}

impl Pair {
    /// Reads, whatever is next. What was found, and how many bytes that might have been: fewer are the last for now.
    pub fn read(&mut self, into: &mut [u8]) -> (Outcome, usize) {
        let mut count = 0;
        while count < into.len() {
            // Also behind what came first a moment ago: since the area is free again its bell may have told of more already.
            match self.read_head(&mut into[count..]) {
                0 => break,
                more => count += more,
            }
        }
        // The socket has more, or nothing follows what it has: then the last bytes and the end go on together.
        let goes_on = count == 0 || self.first.socket || self.is_closed();
        if count == into.len() || (count > 0 && self.first.found.is_some()) {
            return (Outcome::Bytes(count), count);
        }
        if !goes_on {
            return (Outcome::Bytes(count), count + 1);
        }
        match self.first.found.take().unwrap_or_else(|| self.read_socket(&mut into[count..])) {
            Outcome::Bytes(more) => {
                let is_all = self.has_no_first() && self.first.found.is_none();
                (Outcome::Bytes(count + more), if is_all { into.len() } else { count + more })
            }
            found if count == 0 => (found, into.len()),
            Outcome::Again => (Outcome::Bytes(count), into.len()),
            // Some of these a socket tells once.
            found => {
                self.first.found = Some(found);
                (Outcome::Bytes(count), count)
            }
        }
    }

    /// Reads from the socket; and what turns out to come before what that has, first.
    fn read_socket(&mut self, into: &mut [u8]) -> Outcome {
        let before = self.taken;
        if self.is_read() {
            // What the kernel would say costs a call.
            self.first.socket = false;
            return Outcome::Again;
        }
        if let Some(seat) = self.area() {
            inline::enter(&**seat.page, seat.slot);
        }
        let found = sock::receive(&self.left, into);
        if let Outcome::Bytes(count) = found {
            self.took(count);
        }
        if let Some(seat) = self.area() {
            inline::leave(&**seat.page, seat.slot);
        }
        let is_passed = match found {
            Outcome::Bytes(count) => {
                self.first.socket &= count == into.len();
                self.area().is_some_and(|seat| inline::goes_before(&**seat.page, seat.slot, before))
            }
            Outcome::Again => {
                self.first.socket = false;
                false
            }
            // Whoever ends has written before.
            Outcome::End | Outcome::Broken(_) => true,
        };
        let Some(first) = is_passed.then(|| self.take_area()).flatten() else { return found };
        match found {
            Outcome::Bytes(count) => self.first.behind = Unread::new(into[..count].to_vec()),
            other => self.first.found = Some(other),
        }
        (self.first.from, self.first.to) = (0, first);
        Outcome::Bytes(self.read_first(into))
    }

    /// All that was written before the client closed by word. What comes later is a client's that does not keep its word, and
    /// would come without end.
    pub fn read_last(&mut self, into: &mut [u8]) -> Vec<u8> {
        let mut bytes = self.shut();
        let mut left = sock::unread(self.left.as_fd()).unwrap_or(0);
        while left > 0 {
            let most = left.min(into.len());
            let Outcome::Bytes(count) = self.read_socket(&mut into[..most]) else { break };
            bytes.extend_from_slice(&into[..count]);
            left -= count;
        }
        bytes
    }

    /// Whether bytes lie in the area.
    pub fn has_inline(&self) -> bool {
        self.area().is_some_and(|seat| inline::is_full(&**seat.page, seat.slot))
    }

    /// Whether bytes lie in the area, and at least `least` that its client has written behind them in the socket.
    pub fn has_body(&self, least: usize) -> bool {
        self.first.socket
            && (self.first.from < self.first.to || self.has_inline())
            && sock::unread(self.left.as_fd()).is_some_and(|count| count >= least)
    }

    /// Reads those of the area alone.
    pub fn read_head(&mut self, into: &mut [u8]) -> usize {
        if self.has_no_first() {
            (self.first.from, self.first.to) = (0, self.take_area().unwrap_or(0));
        }
        self.read_first(into)
    }

    /// Whether the socket is all there is to read, until [`Pair::open`].
    pub fn shuts(&mut self) -> bool {
        self.has_no_first()
            && self.first.found.is_none()
            && self.area().is_none_or(|seat| inline::shut(&**seat.page, seat.slot))
    }

    /// Nothing comes by the area any more until [`Pair::open`]. What did, which comes before what the socket has.
    pub fn shut(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut room = [0; 4096];
        while !self.has_no_first() {
            let count = self.read_first(&mut room);
            bytes.extend_from_slice(&room[..count]);
        }
        if let Some(seat) = self.area() {
            let more = inline::shut_for_good(&**seat.page, seat.slot);
            let at = bytes.len();
            bytes.resize(at + more, 0);
            seat.page.copy_out(seat.slot, 0, &mut bytes[at..]);
        }
        bytes
    }

    /// The client may use the area.
    pub fn open(&mut self) {
        if let Some(seat) = self.area() {
            inline::free(&**seat.page, seat.slot);
        }
    }

    /// Its place, if that has an area.
    fn area(&self) -> Option<&Seat> {
        self.seat.as_ref().filter(|seat| seat.slot < AREAS)
    }

    fn take_area(&self) -> Option<usize> {
        self.area().and_then(|seat| inline::take(&**seat.page, seat.slot))
    }

    fn has_no_first(&self) -> bool {
        self.first.from == self.first.to && self.first.behind.is_empty()
    }

    /// Reads what comes before the socket; 0: nothing does.
    fn read_first(&mut self, into: &mut [u8]) -> usize {
        let First { from, to, behind, .. } = &mut self.first;
        let count = (*to - *from).min(into.len());
        if count == 0 {
            return behind.read(into).unwrap_or(0);
        }
        let at = *from;
        *from += count;
        let is_last = *from == *to;
        if let Some(seat) = self.area() {
            seat.page.copy_out(seat.slot, at, &mut into[..count]);
            if is_last {
                inline::free(&**seat.page, seat.slot);
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::Ordering;
    use std::sync::Arc;

    use modnet_pool::{word, Shared};

    use super::*;
    use crate::steal::page::Page;

    struct Client {
        page: Arc<Page>,
        near: UnixStream,
    }

    impl Client {
        fn start() -> (Self, Pair) {
            let (page, _memory) = Page::new().unwrap();
            let page = Arc::new(page);
            let (near, left) = UnixStream::pair().unwrap();
            let pair = Pair::new(left.into(), Some(Seat { pool: 0, slot: 0, page: Arc::clone(&page) }));
            (Self { page, near }, pair)
        }

        fn put(&self, bytes: &[u8], written: u32) {
            let room = inline::begin(&**self.page, 0, bytes.len(), written, || false).unwrap();
            self.page.copy_in(0, room.at(), bytes);
            room.publish(&**self.page, bytes.len()).unwrap();
        }
    }

    #[track_caller]
    fn reads(pair: &mut Pair, most: usize, bytes: &[u8], asked: usize) {
        let mut room = vec![0; most];
        let (found, might) = pair.read(&mut room);
        assert_eq!(found, Outcome::Bytes(bytes.len()), "{might}");
        assert_eq!((&room[..bytes.len()], might), (bytes, asked));
    }

    #[test]
    fn what_comes_while_bytes_of_the_socket_wait_comes_behind_them_and_is_not_missed() {
        let (mut client, mut pair) = Client::start();
        // Between a look at the area and the read of the socket one came into each.
        client.put(b"one", 0);
        client.near.write_all(b"two").unwrap();
        let mut room = [0; 9];
        assert_eq!(pair.read_socket(&mut room), Outcome::Bytes(3));
        assert_eq!(&room[..3], b"one");
        client.put(b"three", 3);
        reads(&mut pair, 4, b"twot", 4);
        reads(&mut pair, 9, b"hree", 5);
        client.put(b"four", 3);
        client.near.write_all(b"five").unwrap();
        pair.first.socket = true;
        reads(&mut pair, 9, b"fourfive", 9);
        assert_eq!(pair.read(&mut room).0, Outcome::Again);
    }

    #[test]
    fn who_writes_on_after_its_close_is_read_as_far_as_it_had_come() {
        let (mut client, mut pair) = Client::start();
        client.put(b"first", 0);
        client.near.write_all(b"second").unwrap();
        assert_eq!(pair.read_last(&mut [0; 4]), b"firstsecond");
        let mut near = client.near.try_clone().unwrap();
        let writer = std::thread::spawn(move || while near.write_all(&[1; 4096]).is_ok() {});
        while sock::unread(pair.left.as_fd()) == Some(0) {
            std::thread::yield_now();
        }
        // A byte at a time: it writes more than is read.
        let bytes = pair.read_last(&mut [0]);
        assert!(!bytes.is_empty() && bytes.iter().all(|byte| *byte == 1));
        drop(pair);
        writer.join().unwrap();
    }

    #[test]
    fn a_socket_of_which_the_client_says_that_nothing_is_left_is_not_asked() {
        for (sent, bytes) in [(1, &b"last!"[..]), (0, b"last")] {
            let (mut client, mut pair) = Client::start();
            client.put(b"last", 0);
            client.near.write_all(b"!").unwrap();
            client.page.sent(0).store(sent, Ordering::Relaxed);
            assert!(word::close(client.page.word(0), true));
            assert!(pair.heed().is_some_and(|closed| closed.hang_up && !closed.failed));
            reads(&mut pair, 9, bytes, 9);
            assert_eq!(pair.read(&mut [0; 9]).0, Outcome::Again);
        }
    }

    #[test]
    fn what_was_put_there_before_an_end_comes_before_it() {
        let (client, mut pair) = Client::start();
        client.put(b"last", 0);
        client.near.shutdown(Shutdown::Write).unwrap();
        let mut room = [0; 9];
        assert_eq!(pair.read_socket(&mut room), Outcome::Bytes(4));
        assert_eq!(pair.read(&mut room).0, Outcome::End);
    }

    #[test]
    fn a_head_is_read_alone_where_much_follows_it() {
        let (mut client, mut pair) = Client::start();
        client.put(b"head", 0);
        client.near.write_all(&[1; 1000]).unwrap();
        assert!(!pair.has_body(1000), "the poller has not told of it");
        pair.first.socket = true;
        assert!(!pair.has_body(1001));
        assert!(pair.has_body(1000));
        let mut room = [0; 9];
        assert_eq!((pair.read_head(&mut room), &room[..4]), (4, &b"head"[..]));
        assert!(!pair.has_body(1) && pair.shuts());
        pair.open();
        reads(&mut pair, 1000, &[1; 1000], 1000);
    }

    #[test]
    fn an_error_is_told_after_what_was_put_there_before_it() {
        let (mut client, mut pair) = Client::start();
        pair.left.try_clone().map(UnixStream::from).unwrap().write_all(b"never read").unwrap();
        client.put(b"last", 0);
        client.near.write_all(b"!").unwrap();
        drop(client.near);
        pair.first.socket = true;
        reads(&mut pair, 4, b"last", 4);
        let mut room = [0; 9];
        let told = [pair.read(&mut room).0, pair.read(&mut room).0, pair.read(&mut room).0];
        assert!(told.contains(&Outcome::Broken(libc::ECONNRESET)), "{told:?}");
    }
}
