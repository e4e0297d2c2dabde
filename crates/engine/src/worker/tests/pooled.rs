//! A client's pool step by step, in order and out of it: this test is the client, and writes the words itself.

use std::io::Read;
use std::os::fd::OwnedFd;

use modnet_abi::pool::{ACCEPTED, CLOSED, DIRTY, DONE, FREE, ORDINARY, SLOTS};
use modnet_pool::{bell, word, Shared as _, Tally};

use super::*;
use crate::revoke::peer;
use crate::steal::page::Page;
use crate::steal::tests::Shim;

pub(super) struct Client {
    pub module: Module,
    pub shim: Shim,
    pub page: Page,
    pub bell: Waker,
    listener: TcpListener,
    scratch: Scratch,
}

/// A near socket and the network's end.
pub(super) type Flow = (UnixStream, TcpStream);

impl Client {
    pub fn start() -> Self {
        Self::start_with(None, Arc::new(Forward))
    }

    /// `revocable`: the outlet's bound, where the module may take outbound bytes back.
    pub fn start_with(revocable: Option<usize>, hooks: Arc<dyn Hooks>) -> Self {
        let scratch = Scratch::new();
        let runtime = scratch.runtime();
        let module = Module::start_with(&runtime, "m", Pairs::Pooled, (1 << 16, revocable), hooks);
        let (page, memory) = Page::new().unwrap();
        let bell = Waker::new().unwrap();
        let shim = Shim::offer(&runtime, "m", &[memory.as_raw_fd(), bell.as_raw_fd()]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Self { module, shim, page, bell, listener, scratch };
        until("the offer is taken", || client.page.accepted.0.load(Ordering::Acquire) == ACCEPTED);
        client
    }

    pub fn stats(&self) -> &Stats {
        &self.module.shared.receiver.stats
    }

    pub fn new_pair(&self, slot: usize) -> Flow {
        let (near, left) = UnixStream::pair().unwrap();
        near.set_read_timeout(Some(PATIENCE)).unwrap();
        word::begin(self.page.word(slot));
        (near, self.send(slot, Some(left.into())))
    }

    pub fn begin(&self, slot: usize) -> TcpStream {
        assert!(word::again(self.page.word(slot)));
        self.send(slot, None)
    }

    pub fn send(&self, slot: usize, left: Option<OwnedFd>) -> TcpStream {
        let (real, network) = connection(&self.listener);
        self.shim.steal_at(slot as u32, left, real.into());
        network
    }

    pub fn close(&self, slot: usize) {
        assert!(word::close(self.page.word(slot), false));
        if bell::ring(&*self.page, slot) {
            self.bell.ring();
        }
    }

    /// By a client that counts what it writes and reads.
    fn close_counted(&self, slot: usize, tally: Tally) {
        self.page.heard(slot).store(tally.read, Ordering::Relaxed);
        assert!(word::close(self.page.word(slot), true));
        let is_read = self.page.taken(slot).load(Ordering::Relaxed) == tally.written;
        if is_read && bell::ring(&*self.page, slot) {
            self.bell.ring();
        }
    }

    /// Somebody takes bytes back of what the pair of `near` has brought: the flow, which is frozen.
    fn freeze(&self, near: &UnixStream) -> u64 {
        self.take(near, 1).0
    }

    /// The same, and up to `length` bytes, the last ones.
    pub fn take(&self, near: &UnixStream, length: usize) -> (u64, Vec<u8>) {
        let ino = peer::of(peer::inode(near.as_fd()).unwrap()).unwrap();
        loop {
            let (answer, found) = channel();
            self.module.tell(Order::Yank(Ask::Take { ino, session: 7, length, answer }));
            match found.recv_timeout(PATIENCE).unwrap() {
                Some(Ok(Found::Ready(flow, bytes))) => return (flow, bytes),
                // It is still on its way.
                None => std::thread::yield_now(),
                Some(_) => panic!("it cannot be held"),
            }
        }
    }

    /// He takes none, and holds them from now on.
    fn hold(&self, flow: u64) {
        self.module.tell(Order::Yank(Ask::Settle { flow, session: 7, taken: 0, hold: true }));
    }

    pub fn bits(&self, slot: usize) -> u32 {
        self.page.word(slot).load(Ordering::Acquire)
    }

    pub fn await_bits(&self, slot: usize, bits: u32) {
        until("the word changes", || self.bits(slot) == bits);
    }

    /// Another client is served as if nothing had been, and the worker comes to its end.
    pub fn end(self) -> Arc<Shared> {
        let other = Shim::connect(&self.scratch.runtime_again(), &["m"]);
        let (mut near, left) = UnixStream::pair().unwrap();
        let (real, mut network) = connection(&self.listener);
        other.steal(left.into(), real.into());
        near.write_all(b"served").unwrap();
        drop(near);
        assert_eq!(rest(&mut network), b"served");
        drop((self.shim, other));
        self.module.end()
    }
}

pub(super) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "waited for: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn one_pair_carries_flow_after_flow() {
    let client = Client::start();
    let (mut near, mut network) = client.new_pair(5);
    for round in 0..50u8 {
        network.write_all(&[round]).unwrap();
        let mut byte = [0];
        near.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [round]);
        near.write_all(&[round; 100]).unwrap();
        client.close(5);
        assert_eq!(rest(&mut network), [round; 100]);
        client.await_bits(5, DONE);
        network = client.begin(5);
    }
    drop(near);
    assert_eq!(rest(&mut network), b"");
    client.await_bits(5, DIRTY | FREE);
    client.end();
}

#[test]
fn bytes_and_the_close_may_come_before_their_begin() {
    let client = Client::start();
    let (mut near, mut network) = client.new_pair(0);
    client.close(0);
    assert_eq!(rest(&mut network), b"");
    client.await_bits(0, DONE);
    for round in 0..50u8 {
        assert!(word::again(client.page.word(0)));
        near.write_all(&[round; 10]).unwrap();
        if round % 2 == 0 {
            client.close(0);
        }
        let mut network = client.send(0, None);
        if round % 2 == 1 {
            client.close(0);
        }
        assert_eq!(rest(&mut network), [round; 10]);
        client.await_bits(0, DONE);
    }
    drop(near);
    client.await_bits(0, DIRTY | FREE);
    client.end();
}

#[test]
fn bytes_behind_the_applications_close_are_a_reset_and_the_pair_is_not_kept() {
    let client = Client::start();
    let (near, mut network) = client.new_pair(0);
    network.write_all(b"for nobody").unwrap();
    near.peek_one();
    client.close(0);
    let error = network.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    client.await_bits(0, CLOSED | DIRTY | FREE);
    client.end();
}

#[test]
fn whoever_is_first_decides_how_the_flow_ends() {
    let client = Client::start();
    let (mut near, network) = client.new_pair(0);
    network.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut near), b"");
    assert_eq!(client.bits(0), DIRTY);
    // Second: it closes near, as everybody does.
    assert!(!word::close(client.page.word(0), false));
    drop(near);
    client.await_bits(0, DIRTY | FREE | CLOSED);
    drop(network);
    client.end();
}

#[test]
fn an_ordinary_pair_ends_with_its_socket_whatever_else_the_word_says() {
    let client = Client::start();
    let (mut near, mut network) = client.new_pair(0);
    word::ordinary(client.page.word(0));
    // Rubbish: both.
    assert!(word::close(client.page.word(0), false));
    assert!(bell::ring(&*client.page, 0));
    client.bell.ring();
    near.write_all(b"still there").unwrap();
    network.read_exact(&mut [0; 11]).unwrap();
    network.write_all(b"here too").unwrap();
    near.read_exact(&mut [0; 8]).unwrap();
    assert_eq!(client.bits(0), CLOSED | ORDINARY);
    drop(near);
    assert_eq!(rest(&mut network), b"");
    client.end();
}

#[test]
fn an_idle_pair_that_is_thrown_away_is_freed_and_its_slot_used_again() {
    let client = Client::start();
    for _ in 0..3 {
        let (near, network) = client.new_pair(SLOTS - 1);
        client.close(SLOTS - 1);
        client.await_bits(SLOTS - 1, DONE);
        drop((near, network));
        client.await_bits(SLOTS - 1, DIRTY | FREE);
    }
    client.end();
}

#[test]
fn a_client_that_goes_leaves_neither_idle_pairs_nor_flows() {
    let client = Client::start();
    let (idle, network) = client.new_pair(0);
    client.close(0);
    client.await_bits(0, DONE);
    drop(network);
    let (mut near, mut network) = client.new_pair(1);
    let Client { module, shim, page, bell, .. } = client;
    drop(shim);
    // Closed by the module, with the connection.
    idle.await_hang_up();
    // What runs ends by word as before: closes are heard as long as there is a flow.
    near.write_all(b"last").unwrap();
    assert!(word::close(page.word(1), false));
    if bell::ring(&*page, 1) {
        bell.ring();
    }
    assert_eq!(rest(&mut network), b"last");
    near.await_hang_up();
    module.end();
}

#[test]
fn entries_that_make_no_sense_are_counted_and_reset() {
    let client = Client::start();
    let not_understood = || count(&client.stats().not_understood);
    // A BEGIN for a slot without a pair, for one beyond the end, for a pair that is busy; a NEW for a slot that is taken.
    let busy = client.new_pair(3);
    let (_other, left) = UnixStream::pair().unwrap();
    let wrong = [(7, None), (SLOTS, None), (u32::MAX as usize, None), (3, None), (3, Some(left.into()))];
    for (number, (slot, left)) in wrong.into_iter().enumerate() {
        let mut network = client.send(slot, left);
        match network.read(&mut [0]) {
            Ok(0) => {}
            other => assert_eq!(other.unwrap_err().kind(), ErrorKind::ConnectionReset),
        }
        until("it is counted", || not_understood() == number as u64 + 1);
    }
    drop(busy);
    client.end();
}

#[test]
fn an_offer_with_too_few_or_wrong_descriptors_is_refused() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let module = Module::start(&runtime, "m", Pairs::Pooled, 1 << 16);
    let stats = Arc::clone(&module.shared.receiver.stats);
    for descriptors in 0..3 {
        let bell = Waker::new().unwrap();
        let fds = [bell.as_raw_fd(), bell.as_raw_fd()];
        let _shim = Shim::offer(&runtime, "m", &fds[..descriptors]);
        until("it is refused", || count(&stats.unwelcome) == descriptors as u64 + 1);
    }
    module.end();
}

#[test]
fn a_second_offer_on_one_connection_is_refused_and_the_first_one_goes() {
    let client = Client::start();
    let (mut near, mut network) = client.new_pair(0);
    let (_page, memory) = Page::new().unwrap();
    client.shim.offer_again("m", &[memory.as_raw_fd(), client.bell.as_raw_fd()]);
    until("it is refused", || count(&client.stats().unwelcome) == 1);
    near.write_all(b"still there").unwrap();
    drop(near);
    assert_eq!(rest(&mut network), b"still there");
    client.end();
}

#[test]
fn rubbish_in_the_shared_memory_hurts_nobody_else() {
    let client = Client::start();
    let mut state = 7_u32;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize
    };
    let mut flows: Vec<Flow> = Vec::new();
    let mut sent = 0;
    for round in 0..3000 {
        let slot = random() % 8;
        let kind = random() % 8;
        sent += u64::from(kind < 2);
        match kind {
            0 => {
                let (near, left) = UnixStream::pair().unwrap();
                flows.push((near, client.send(slot, Some(left.into()))));
            }
            1 => drop(client.send(slot, None)),
            2 => client.page.word(slot).store(random() as u32 & 63, Ordering::Relaxed),
            3 => {
                client
                    .page
                    .closed(random() % (SLOTS / 64))
                    .store(u64::MAX << (random() % 64), Ordering::Relaxed);
                client.page.bell().store(random() as u32 % 2, Ordering::Relaxed);
                client.bell.ring();
            }
            4 => client.page.accepted.0.store(random() as u32, Ordering::Relaxed),
            5 if !flows.is_empty() => drop(flows.swap_remove(random() % flows.len())),
            _ => {
                if let Some((near, network)) = flows.last_mut() {
                    let _ = (near.set_nonblocking(true), near.write(&[0; 50]), network.write(&[0; 50]));
                }
            }
        }
        // The queue is short.
        let taken = || count(&client.stats().stolen) + count(&client.stats().not_understood);
        until("it has come", || taken() == sent);
        if flows.len() > 50 || round % 500 == 0 {
            flows.clear();
        }
    }
    flows.clear();
    client.end();
}

/// What a thread of the module's own takes out of the pair the worker did not read, and has to count.
#[test]
fn a_close_behind_what_was_looked_at_ahead_of_the_worker_is_heard() {
    let (gate, stay) = Gate::new();
    let (show, outlets) = showing(move |flow| (flow > 1).then(&stay).unwrap_or_default());
    let client = Client::start_with(Some(1 << 16), show);
    let (mut near, mut network) = client.new_pair(0);
    let outlet = outlets.recv_timeout(PATIENCE).unwrap();
    let other = client.new_pair(1);
    gate.await_worker();
    near.write_all(b"seen").unwrap();
    assert_eq!(outlet.peek(7, 9), Ok(b"seen".to_vec()));
    client.close_counted(0, Tally { written: 4, read: 0 });
    gate.open();
    assert_eq!(rest(&mut network), b"seen");
    client.await_bits(0, DONE);
    drop(other);
    // The flow that `end` begins stays as well.
    gate.open();
    client.end();
}

/// As with any socket: what lies unread, and is not read under a lock, keeps nobody from hearing of the close.
#[test]
fn a_lock_ends_with_the_clients_close_whatever_it_has_left_to_read() {
    let client = Client::start();
    for closes_first in [false, true] {
        let (mut near, mut network) = client.new_pair(0);
        let flow = client.freeze(&near);
        if !closes_first {
            client.hold(flow);
            until("the client is to close its socket", || client.bits(0) == DIRTY);
        }
        near.write_all(b"held").unwrap();
        assert_eq!(word::close(client.page.word(0), false), closes_first);
        if closes_first {
            client.hold(flow);
            assert_eq!(rest(&mut network), b"held");
            client.await_bits(0, DONE);
        }
        drop(near);
        if !closes_first {
            assert_eq!(rest(&mut network), b"held");
        }
        until("the pair is freed", || client.bits(0) & FREE != 0);
    }
    client.end();
}
