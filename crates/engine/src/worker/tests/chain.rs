//! Two workers in a row, both with real sockets: every test with fresh pairs between them and with pooled ones.

use super::*;
use crate::steal::tests::Shim;

struct Chain {
    first: Module,
    second: Option<Module>,
    shim: Shim,
    listener: TcpListener,
    scratch: Scratch,
    pairs: Pairs,
}

const BOTH: [Pairs; 2] = [Pairs::Fresh, Pairs::Pooled];
const QUEUE: usize = 1 << 16;

impl Chain {
    fn start(pairs: Pairs) -> Self {
        Self::of([pairs, pairs])
    }

    fn of(pairs: [Pairs; 2]) -> Self {
        Self::before(pairs, QUEUE, Arc::new(Forward))
    }

    /// The second reads at most `queue` bytes at a time, and has hooks.
    fn before(pairs: [Pairs; 2], queue: usize, hooks: Arc<dyn Hooks>) -> Self {
        let scratch = Scratch::new();
        let runtime = scratch.runtime();
        let first = Module::start(&runtime, "a", pairs[0], QUEUE);
        let second = Module::start_with(&runtime, "b", pairs[1], (queue, None), hooks);
        let shim = Shim::connect(&runtime, &["a", "b"]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let chain = Self { first, second: Some(second), shim, listener, scratch, pairs: pairs[0] };
        // Until the second has seen the first's offer pairs are fresh.
        chain.exchange(b"0", b"1");
        chain
    }

    fn connect(&self) -> (UnixStream, TcpStream) {
        let (application, network, _) = self.connect_and_keep();
        (application, network)
    }

    fn connect_and_keep(&self) -> (UnixStream, TcpStream, TcpStream) {
        let (real, network) = connection(&self.listener);
        let (application, left) = UnixStream::pair().unwrap();
        application.set_read_timeout(Some(PATIENCE)).unwrap();
        let kept = real.try_clone().unwrap();
        self.shim.steal(left.into(), real.into());
        (application, network, kept)
    }

    /// A request, an answer, and the application's close.
    fn exchange(&self, request: &[u8], answer: &[u8]) {
        let (mut application, mut network) = self.connect();
        std::thread::scope(|scope| {
            let got = scope.spawn(|| {
                network.write_all(request).unwrap();
                rest(&mut network)
            });
            let mut read = vec![0; request.len()];
            application.read_exact(&mut read).unwrap();
            assert!(read == request);
            application.write_all(answer).unwrap();
            drop(application);
            assert!(got.join().unwrap() == answer);
        });
    }

    fn stats(&self) -> &Stats {
        &self.first.shared.receiver.stats
    }

    fn stop(self) {
        self.first.end();
        self.second.unwrap().end();
    }

    /// Whether pairs are used again after what a test has done to one of them.
    fn end(self) {
        let before = count(&self.stats().pairs_reused);
        for number in 0..20u8 {
            self.exchange(&[number; 10], &[number; 1000]);
        }
        let reused = count(&self.stats().pairs_reused) - before;
        assert_eq!(reused > 10, self.pairs == Pairs::Pooled, "{reused}");
        self.stop();
    }
}

#[test]
fn flows_of_every_size_pass_one_after_the_other() {
    for pairs in BOTH {
        let chain = Chain::start(pairs);
        for size in [0, 1, 100, 70_000, 1 << 20] {
            for number in 0..20 {
                let tag: Vec<u8> = pattern(size).iter().map(|byte| byte ^ number).collect();
                chain.exchange(&tag[..size.min(5000)], &tag);
            }
        }
        let made = count(&chain.stats().pairs_new);
        assert_eq!(made < 50, pairs == Pairs::Pooled, "{made}");
        let inline = count(&chain.stats().inline_writes);
        assert_eq!(inline > 30, pairs == Pairs::Pooled, "{inline}");
        chain.end();
    }
}

#[test]
fn half_closes_pass_in_both_orders() {
    for pairs in BOTH {
        let chain = Chain::start(pairs);
        for network_first in [true, false] {
            let (mut application, mut network) = chain.connect();
            if network_first {
                network.write_all(b"question").unwrap();
                network.shutdown(Shutdown::Write).unwrap();
                assert_eq!(rest(&mut application), b"question");
                application.write_all(b"answer").unwrap();
                drop(application);
                assert_eq!(rest(&mut network), b"answer");
            } else {
                application.write_all(b"answer").unwrap();
                application.shutdown(Shutdown::Write).unwrap();
                assert_eq!(rest(&mut network), b"answer");
                network.write_all(b"late").unwrap();
                drop(network);
                assert_eq!(rest(&mut application), b"late");
            }
        }
        chain.end();
    }
}

#[test]
fn an_application_that_resets_is_seen_to_reset() {
    for pairs in BOTH {
        let chain = Chain::start(pairs);
        for round in 0..300 {
            let (mut application, mut network, real) = chain.connect_and_keep();
            network.write_all(b"x").unwrap();
            application.read_exact(&mut [0]).unwrap();
            set_linger_0(&real);
            drop(real);
            if round % 2 == 0 {
                application.write_all(b"y").unwrap();
            }
            drop(application);
            let error = network.read_to_end(&mut Vec::new()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "round {round}");
        }
        chain.end();
    }
}

/// On which the second module stays in its hook.
const STAY: u8 = b'!';

/// A module that reads on finds the end before the poller could tell it more.
#[test]
fn a_reset_that_comes_while_the_next_module_is_reading_is_a_reset() {
    for pairs in BOTH {
        let (gate, stay) = Gate::new();
        let staying = Sees::outbound(0, move |data| (data == [STAY]).then(&stay).unwrap_or_default());
        let chain = Chain::before([pairs, pairs], 1, staying);
        let (mut application, mut network) = chain.connect();
        network.write_all(b"not read").unwrap();
        application.peek_one();
        application.write_all(&[STAY]).unwrap();
        gate.await_worker();
        drop(application);
        wait_until("the first module's end", || chain.first.shared.flows.load(Ordering::Relaxed) == 0);
        gate.open();
        let error = network.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{pairs:?}");
        chain.stop();
    }
}

/// A socket that is passed to another process has a name.
#[test]
fn a_name_that_a_shim_gave_is_no_reset() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let module = Module::start(&runtime, "b", Pairs::Fresh, QUEUE);
    let shim = Shim::connect_at(&runtime, &["away", "b"], 1);
    let (real, mut network) = connection(&TcpListener::bind("127.0.0.1:0").unwrap());
    let (mut application, left) = UnixStream::pair().unwrap();
    let family = libc::AF_UNIX as libc::sa_family_t;
    // SAFETY: a family, for which the kernel finds a name, of the length that is passed.
    let named = unsafe { libc::bind(application.as_raw_fd(), (&raw const family).cast(), 2) };
    assert_eq!(named, 0);
    shim.steal(left.into(), real.into());
    application.write_all(b"all").unwrap();
    drop(application);
    assert_eq!(rest(&mut network), b"all");
    module.end();
}

#[test]
fn bytes_that_the_application_did_not_read_are_a_reset_and_come_to_nobody_else() {
    for pairs in BOTH {
        let chain = Chain::start(pairs);
        for round in 0..300 {
            let (application, mut network) = chain.connect();
            network.write_all(b"not read").unwrap();
            if round % 3 > 0 {
                application.peek_one();
            }
            if round % 3 == 2 {
                (&application).write_all(b"bye").unwrap();
            }
            drop(application);
            let result = network.read_to_end(&mut Vec::new());
            // In round 0 of 3 they were on their way, anywhere: a module that had not seen them ends in order.
            if round % 3 > 0 {
                assert_eq!(result.unwrap_err().kind(), ErrorKind::ConnectionReset, "round {round}");
            }
            if round % 10 == 0 {
                chain.exchange(b"clean?", b"clean");
            }
        }
        chain.end();
    }
}

#[test]
fn a_reset_by_the_network_ends_an_idle_application() {
    for pairs in BOTH {
        let chain = Chain::start(pairs);
        let (mut application, mut network) = chain.connect();
        application.write_all(b"unread").unwrap();
        network.write_all(b"last").unwrap();
        assert_eq!(network.peek(&mut [0]).unwrap(), 1);
        drop(network);
        assert_eq!(rest(&mut application), b"last");
        application.await_hang_up();
        chain.end();
    }
}

#[test]
fn a_slow_network_gets_everything_after_the_application_has_closed() {
    for pairs in BOTH {
        let chain = Chain::start(pairs);
        let (mut application, mut network) = chain.connect();
        let data = pattern(8 << 20);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                application.write_all(&data).unwrap();
                drop(application);
            });
            // Nobody reads until every buffer on the way is full; other flows pass meanwhile.
            for number in 0..20 {
                chain.exchange(&[number], &[number; 500]);
            }
            assert!(rest(&mut (&mut network).take(4 << 20)) == data[..4 << 20]);
            let mut got = vec![0; 4 << 20];
            network.read_exact(&mut got).unwrap();
            writer.join().unwrap();
            assert!(got == data[4 << 20..] && rest(&mut network).is_empty());
        });
        chain.end();
    }
}

#[test]
fn no_byte_of_one_flow_appears_in_another_however_flows_end() {
    for pairs in BOTH {
        let chain = Chain::start(pairs);
        std::thread::scope(|scope| {
            for thread in 0..4u32 {
                let chain = &chain;
                scope.spawn(move || {
                    for round in 0..250 {
                        one_of_many(chain, thread * 250 + round);
                    }
                });
            }
        });
        if pairs == Pairs::Pooled {
            let stats = chain.stats();
            assert!(count(&stats.pairs_reused) > 0 && count(&stats.pairs_dirty) > 0);
            assert!(count(&stats.pairs_ordinary) > 50);
        }
        chain.end();
    }
}

/// A flow whose bytes are its own number; how it ends, and how long it is, depends on that.
fn one_of_many(chain: &Chain, number: u32) {
    let own = number.to_le_bytes();
    let random = number.wrapping_mul(2_654_435_761) >> 8;
    let words = [0, 1, 25, 300, 20_000][(random / 8 % 5) as usize];
    let data = own.repeat(words);
    // Accepting is the first thing of several threads: whose connection it is does not matter, whose bytes does.
    let (mut application, mut network) = {
        static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _alone = ONE.lock().unwrap();
        chain.connect()
    };
    let check = |got: &[u8]| assert!(got == &data[..got.len()], "a byte of another flow in {number}");
    let all = data.len();
    network.write_all(&own).unwrap();
    let mut word = [0; 4];
    if random % 8 != 7 {
        application.read_exact(&mut word).unwrap();
        assert_eq!(word, own, "a byte of another flow in {number}");
    }
    std::thread::scope(|scope| {
        let (check, mut network) = (&check, network);
        let reader = scope.spawn(move || {
            let mut got = Vec::new();
            match random % 8 {
                0..=3 => assert_eq!(network.read_to_end(&mut got).unwrap(), all),
                // The network closes, resets, or half-closes at some moment of the answer.
                4 => _ = network.read(&mut [0; 100]),
                5 => network.shutdown(Shutdown::Write).unwrap(),
                _ => _ = network.read_to_end(&mut got),
            }
            if random % 8 == 5 {
                network.read_to_end(&mut got).unwrap();
            }
            check(&got);
        });
        // A network that has gone is EPIPE here.
        let _ = application.write_all(&own.repeat(words));
        match random % 8 {
            3 => {
                // The network hears the end while the application still stands.
                application.shutdown(Shutdown::Write).unwrap();
                reader.join().unwrap();
            }
            6 => _ = application.shutdown(Shutdown::Read),
            _ => {}
        }
        drop(application);
    });
}

#[test]
fn settings_that_differ_understand_each_other() {
    for mixed in [[Pairs::Pooled, Pairs::Fresh], [Pairs::Fresh, Pairs::Pooled]] {
        let chain = Chain::of(mixed);
        for number in 0..20 {
            chain.exchange(&[number], &[number; 300]);
        }
        assert_eq!(count(&chain.stats().pairs_reused), 0);
        chain.stop();
    }
}

#[test]
fn a_next_module_that_stops_is_passed_over_and_its_successor_gets_a_pool_of_its_own() {
    for pairs in BOTH {
        let mut chain = Chain::start(pairs);
        for number in 0..10 {
            chain.exchange(&[number], &[number; 300]);
        }
        let (mut application, mut network) = chain.connect();
        network.write_all(b"before").unwrap();
        application.read_exact(&mut [0; 6]).unwrap();
        let next = chain.second.take().unwrap();
        drop(next.registration);
        next.orders.send(Order::Drain(Instant::now() + PATIENCE)).unwrap();
        next.waker.ring();
        // It takes what was sent before it has heard.
        let started = Instant::now();
        while count(&chain.stats().skipped) == 0 {
            assert!(started.elapsed() < PATIENCE, "it is still there");
            chain.exchange(b"without", b"b");
        }
        // Its last flow ends, though its connection is gone.
        application.write_all(b"after").unwrap();
        drop(application);
        assert_eq!(rest(&mut network), b"after");
        let started = Instant::now();
        next.thread.join().unwrap().unwrap();
        assert!(started.elapsed() < PATIENCE, "a flow did not end");
        chain.second = Some(Module::start(&chain.scratch.runtime_again(), "b", pairs, QUEUE));
        chain.exchange(b"with", b"b");
        chain.end();
    }
}
