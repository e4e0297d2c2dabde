//! Flows that go to other modules, with real sockets: `a`, the module that yields, and `b` in a chain, with fresh pairs and with
//! pooled ones; the new modules write a mark around what they see, so that order and way show.

use modnet_abi::steal::HELLO_FAIL_CLOSED;

use super::*;
use crate::hooks::{Place, Yield};
use crate::revoke::peer;
use crate::steal::tests::Shim;

const BOTH: [Pairs; 2] = [Pairs::Fresh, Pairs::Pooled];
const QUEUE: usize = 1 << 16;

/// Yields when it has read so many bytes of a way, which it holds until then.
struct Yields {
    names: Vec<String>,
    place: Place,
    way: Way,
    after: usize,
}

impl Yields {
    fn to(names: &[&str], place: Place, way: Way, after: usize) -> Self {
        Self { names: names.iter().map(|name| (*name).to_owned()).collect(), place, way, after }
    }
}

impl Hooks for Yields {
    fn wants(&self) -> Wants {
        // The other way is native, and may be spliced.
        let data = Way::BOTH.map(|way| way == self.way);
        Wants { data, closed: true, ..Wants::default() }
    }
    fn state(&self, _opened: Opened) -> OfFlow {
        Box::new(Some(Vec::<u8>::new()))
    }
    fn data(
        &self,
        state: &mut OfFlow,
        way: Way,
        data: &[u8],
        _bytes: [u64; 2],
        out: &mut Vec<u8>,
        orders: &mut Orders,
    ) -> Verdict {
        let seen = state.downcast_mut::<Option<Vec<u8>>>().unwrap();
        let Some(held) = seen else { return Verdict::Same };
        held.extend_from_slice(data);
        if held.len() < self.after {
            return Verdict::Replaced;
        }
        let held = seen.take().unwrap();
        let (names, held_back) = (self.names.clone(), Default::default());
        let mut order = Yield { names, place: self.place, held: held_back, passed: Vec::new() };
        match (self.place, way) {
            (Place::Left, Way::Outbound) | (Place::Right, Way::Inbound) => order.held[way as usize] = held,
            _ => out.extend(held),
        }
        orders.yielding = Some(Box::new(order));
        Verdict::Replaced
    }
}

/// Says which of the letters a to z it has seen, by making them large, and adds one of its own at the end.
struct Marks(u8);

impl Hooks for Marks {
    fn wants(&self) -> Wants {
        Wants { data: [true; 2], end: [true; 2], ..Wants::default() }
    }
    fn data(
        &self,
        _state: &mut OfFlow,
        _way: Way,
        data: &[u8],
        _bytes: [u64; 2],
        out: &mut Vec<u8>,
        _orders: &mut Orders,
    ) -> Verdict {
        out.extend(data.iter().map(|byte| if *byte == self.0 { byte.to_ascii_uppercase() } else { *byte }));
        Verdict::Replaced
    }
    fn end(
        &self,
        _state: &mut OfFlow,
        _way: Way,
        _bytes: [u64; 2],
        out: &mut Vec<u8>,
        _orders: &mut Orders,
    ) -> Verdict {
        out.push(self.0);
        Verdict::Replaced
    }
}

/// `a`, `m` (which yields), `b`; and `x`, `y`, which get flows from `m`.
struct Chain {
    modules: Vec<Module>,
    shim: Shim,
    listener: TcpListener,
    scratch: Scratch,
}

impl Chain {
    fn start(names: &[&str], yields: Yields, pairs: Pairs) -> Self {
        Self::with(names, yields, pairs, None)
    }

    /// `revocable`: the outlet's bound, where `m` may take outbound bytes back.
    fn with(names: &[&str], yields: Yields, pairs: Pairs, revocable: Option<usize>) -> Self {
        let scratch = Scratch::new();
        let runtime = scratch.runtime();
        let mut yields = Some(yields);
        let start = |name: &&str| match *name {
            "m" => {
                Module::start_with(&runtime, "m", pairs, (QUEUE, revocable), Arc::new(yields.take().unwrap()))
            }
            name => Module::start(&runtime, name, pairs, QUEUE),
        };
        let mut modules: Vec<Module> = names.iter().map(start).collect();
        for name in ["x", "y"] {
            let marks = Arc::new(Marks(name.as_bytes()[0]));
            modules.push(Module::start_with(&runtime, name, pairs, (QUEUE, None), marks));
        }
        let shim = Shim::connect(&runtime, names);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { modules, shim, listener, scratch }
    }

    fn connect(&self) -> (UnixStream, TcpStream) {
        let (application, network, _) = self.connect_and_keep();
        (application, network)
    }

    /// And a duplicate of the real socket.
    fn connect_and_keep(&self) -> (UnixStream, TcpStream, TcpStream) {
        let (real, network) = connection(&self.listener);
        let (application, left) = UnixStream::pair().unwrap();
        application.set_read_timeout(Some(PATIENCE)).unwrap();
        let kept = real.try_clone().unwrap();
        self.shim.steal(left.into(), real.into());
        (application, network, kept)
    }

    fn of(&self, name: &str) -> &Module {
        self.modules.iter().find(|module| module.shared.receiver.name == name).unwrap()
    }

    fn stats(&self, name: &str) -> &Stats {
        &self.of(name).shared.receiver.stats
    }

    /// Returns when `m` has no flow, though one is open: it sends before it forgets.
    fn await_left(&self) {
        let started = Instant::now();
        while self.of("m").shared.flows.load(Ordering::Relaxed) > 0 {
            assert!(started.elapsed() < PATIENCE, "the flow is still in m");
            std::thread::yield_now();
        }
    }

    /// Ends all, the nearest to the application first.
    fn end(self) {
        drop(self.shim);
        for module in self.modules {
            module.end();
        }
    }
}

/// Every chain in which `m` is first, last, between others, alone.
const CHAINS: [&[&str]; 4] = [&["m"], &["a", "m"], &["m", "b"], &["a", "m", "b"]];

fn each(test: impl Fn(&[&str], Pairs)) {
    for pairs in BOTH {
        for names in CHAINS {
            // Pairs are pooled from the second flow on.
            test(names, pairs);
        }
    }
}

impl Module {
    /// Read from the network, by all flows.
    fn bytes_inbound(&self) -> u64 {
        let (sender, answer) = channel();
        self.tell(Order::List(sender));
        let flows = answer.recv_timeout(PATIENCE).unwrap();
        flows.iter().map(|flow| flow["bytes_inbound"].as_u64().unwrap()).sum()
    }
}

/// TCP_NOTSENT_LOWAT, as it was set.
fn low_water(socket: &TcpStream) -> u32 {
    let (mut value, mut length) = (0u32, 4u32);
    let at = (&raw mut value).cast();
    // SAFETY: four bytes of room, which live through the call.
    let answer = unsafe {
        let name = libc::TCP_NOTSENT_LOWAT;
        libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, name, at, &raw mut length)
    };
    assert_eq!(answer, 0);
    value
}

fn read(from: &mut impl Read, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    from.read_exact(&mut bytes).unwrap();
    bytes
}

/// Letters without x and y, and an x and a y now and then.
fn letters(count: usize) -> Vec<u8> {
    (0..count).map(|n| b"abcxdefyg"[n % 9]).collect()
}

fn marked(bytes: &[u8], marks: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| if marks.contains(byte) { byte.to_ascii_uppercase() } else { *byte }).collect()
}

#[test]
fn a_request_that_was_read_goes_to_the_modules_that_replace_this_one() {
    each(|names, pairs| {
        let yields = Yields::to(&["x", "y"], Place::Replace, Way::Inbound, 10);
        let chain = Chain::start(names, yields, pairs);
        for round in 0..6 {
            let (mut application, mut network) = chain.connect();
            network.write_all(b"GET ").unwrap();
            network.write_all(b"/yx.html").unwrap();
            assert_eq!(read(&mut application, 12), b"GET /YX.html", "{names:?} {pairs:?} {round}");
            chain.await_left();
            let answer = letters(300_000);
            std::thread::scope(|scope| {
                let reader = scope.spawn(|| rest(&mut network));
                application.write_all(&answer).unwrap();
                drop(application);
                let mut expected = marked(&answer, b"xy");
                // What x adds at the end passes y.
                expected.extend(b"xy");
                assert!(reader.join().unwrap() == expected, "{names:?} {pairs:?} {round}");
            });
        }
        assert_eq!(count(&chain.stats("m").yielded), 6);
        assert_eq!((count(&chain.stats("x").stolen), count(&chain.stats("y").stolen)), (6, 6));
        assert_eq!(count(&chain.stats("m").yields_lost), 0);
        chain.end();
    });
}

/// The application has closed before `m` has decided: by word, where `a` has a pool towards `m`.
#[test]
fn an_answer_whose_application_has_gone_goes_to_the_new_modules_whole() {
    each(|names, pairs| {
        let yields = Yields::to(&["x"], Place::Replace, Way::Outbound, 9000);
        let chain = Chain::start(names, yields, pairs);
        for round in 0..30 {
            let (mut application, mut network) = chain.connect();
            network.write_all(b"?").unwrap();
            assert_eq!(read(&mut application, 1), b"?");
            let answer = letters(9000 + round * 3000);
            application.write_all(&answer).unwrap();
            drop(application);
            let mut expected = marked(&answer, b"x");
            expected.push(b'x');
            assert!(rest(&mut network) == expected, "{names:?} {pairs:?} {round}");
        }
        assert_eq!((count(&chain.stats("x").stolen), count(&chain.stats("m").yields_lost)), (30, 0));
        chain.end();
    });
}

#[test]
fn what_waits_for_a_network_that_does_not_read_is_carried_in_order() {
    // Every buffer on the way has to be filled, which takes its time: not every chain.
    for names in [CHAINS[0], CHAINS[3]] {
        for (pairs, revocable) in [(BOTH[0], None), (BOTH[1], None), (BOTH[1], Some(1 << 20))] {
            let yields = Yields::to(&["x"], Place::Replace, Way::Inbound, 10);
            let chain = Chain::with(names, yields, pairs, revocable);
            let (mut application, mut network, real) = chain.connect_and_keep();
            let answer = letters(9 << 20);
            std::thread::scope(|scope| {
                let writer = scope.spawn(|| {
                    application.write_all(&answer).unwrap();
                    // Nobody has written to the pair for long when that comes.
                    assert_eq!(read(&mut application, 10), b"more, X? !");
                    drop(application);
                });
                // Every buffer on the way fills; what m has read waits in it, or in a pipe of its.
                read(&mut network, 1 << 20);
                let started = Instant::now();
                while revocable.is_some() && names.len() == 1 && low_water(&real) == 0 {
                    assert!(started.elapsed() < PATIENCE, "nothing is bound late");
                    std::thread::yield_now();
                }
                network.write_all(b"more, x? ").unwrap();
                network.write_all(b"!").unwrap();
                chain.await_left();
                assert_eq!(low_water(&real), 0, "late binding has left its mark");
                drop(real);
                let mut got = read(&mut network, 8 << 20);
                assert!(got.to_ascii_lowercase() == answer[1 << 20..]);
                got.drain(..7 << 20);
                assert!(got == marked(&answer[8 << 20..], b"x"), "its end has not passed x");
                assert_eq!(rest(&mut network), b"x");
                writer.join().unwrap();
            });
            chain.end();
        }
    }
}

#[test]
fn modules_come_between_this_one_and_a_neighbour() {
    each(|names, pairs| {
        for (place, way) in [
            (Place::Left, Way::Outbound),
            (Place::Left, Way::Inbound),
            (Place::Right, Way::Inbound),
            (Place::Right, Way::Outbound),
        ] {
            let chain = Chain::start(names, Yields::to(&["x", "y"], place, way, 9), pairs);
            for round in 0..3 {
                let (mut application, mut network) = chain.connect();
                let (first, last) = (letters(9), letters(200_000));
                std::thread::scope(|scope| {
                    let (near, far): (&mut dyn Talk, &mut (dyn Talk + Send)) = match way {
                        Way::Outbound => (&mut application, &mut network),
                        Way::Inbound => (&mut network, &mut application),
                    };
                    let reader = scope.spawn(|| {
                        let got = far.rest();
                        far.tell(b"thanks xy");
                        got
                    });
                    near.tell(&first);
                    near.tell(&last);
                    near.half_close();
                    let mut expected = marked(&[&first[..], &last].concat(), b"xy");
                    expected.extend(if way == Way::Outbound { b"xy" } else { b"yx" });
                    let got = reader.join().unwrap();
                    assert!(got == expected, "{names:?} {pairs:?} {place:?} {way:?} {round}");
                    assert_eq!(near.read(9), b"thanks XY", "{names:?} {place:?} {way:?}");
                });
                drop((application, network));
            }
            assert_eq!((count(&chain.stats("m").yielded_beside), count(&chain.stats("x").stolen)), (3, 3));
            chain.end();
        }
    });
}

/// What both ends can do.
trait Talk {
    fn tell(&mut self, bytes: &[u8]);
    fn read(&mut self, count: usize) -> Vec<u8>;
    fn rest(&mut self) -> Vec<u8>;
    fn half_close(&mut self);
}

macro_rules! talk {
    ($stream:ty) => {
        impl Talk for $stream {
            fn tell(&mut self, bytes: &[u8]) {
                self.write_all(bytes).unwrap();
            }
            fn read(&mut self, count: usize) -> Vec<u8> {
                read(self, count)
            }
            fn rest(&mut self) -> Vec<u8> {
                rest(self)
            }
            fn half_close(&mut self) {
                self.shutdown(Shutdown::Write).unwrap();
            }
        }
    };
}
talk!(UnixStream);
talk!(TcpStream);

#[test]
fn resets_pass_the_new_modules_both_ways() {
    each(|names, pairs| {
        let yields = Yields::to(&["x"], Place::Replace, Way::Inbound, 3);
        let chain = Chain::start(names, yields, pairs);
        for round in 0..20 {
            let (mut application, mut network) = chain.connect();
            network.write_all(b"abx").unwrap();
            if round % 2 == 0 {
                assert_eq!(read(&mut application, 3), b"abX");
                network.write_all(b"unread").unwrap();
                application.peek_one();
                drop(application);
                let error = network.read_to_end(&mut Vec::new()).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{names:?} {pairs:?}");
            } else {
                assert_eq!(read(&mut application, 3), b"abX");
                set_linger_0(&network);
                drop(network);
                application.await_hang_up();
            }
        }
        chain.end();
    });
}

/// The moment between the look and the message, held open: the module has never been there.
#[test]
fn a_flow_that_nobody_takes_goes_on_without_this_module() {
    each(|names, pairs| {
        for (place, way) in [(Place::Replace, Way::Inbound), (Place::Left, Way::Outbound)] {
            let chain = Chain::start(names, Yields::to(&["gone", "x"], place, way, 9), pairs);
            for _ in 0..3 {
                let (mut application, mut network) = chain.connect();
                let (question, answer) = (letters(20_000), letters(100_000));
                std::thread::scope(|scope| {
                    let (network, question, answer) = (&mut network, &question, &answer);
                    scope.spawn(move || {
                        network.write_all(question).unwrap();
                        assert!(rest(network) == *answer);
                    });
                    assert!(read(&mut application, question.len()) == *question);
                    application.write_all(answer).unwrap();
                    drop(application);
                });
            }
            let stats = chain.stats("m");
            assert_eq!((count(&stats.yields_lost), count(&stats.yielded), count(&stats.skipped)), (3, 0, 3));
            chain.end();
        }
    });
}

#[test]
fn a_flow_that_nobody_takes_is_reset_where_its_chain_is_fail_closed() {
    let mut chain =
        Chain::start(&["m"], Yields::to(&["gone"], Place::Replace, Way::Inbound, 1), Pairs::Fresh);
    chain.shim = Shim::connect_with(&chain.scratch.runtime_again(), &["m"], HELLO_FAIL_CLOSED);
    let (mut application, mut network) = chain.connect();
    network.write_all(b"?").unwrap();
    let error = network.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(rest(&mut application), b"");
    let stats = chain.stats("m");
    assert_eq!((count(&stats.yields_lost), count(&stats.refused)), (1, 1));
    chain.end();
}

/// It has the message, and has not looked at it yet.
#[test]
fn a_module_that_dies_during_the_hand_over_takes_that_flow_and_no_other() {
    each(|names, pairs| {
        let yields = Yields::to(&["dying"], Place::Replace, Way::Inbound, 3);
        let chain = Chain::start(names, yields, pairs);
        let dying = Registration::bind(&chain.scratch.runtime_again(), "dying", &[0]).unwrap();
        let (mut other, mut others_network) = chain.connect();
        let (mut application, mut network) = chain.connect();
        network.write_all(b"abc").unwrap();
        let started = Instant::now();
        while count(&chain.stats("m").yielded) == 0 {
            assert!(started.elapsed() < PATIENCE, "it was not yielded");
            std::thread::yield_now();
        }
        drop(dying);
        assert_eq!(rest(&mut application), b"", "{names:?} {pairs:?}");
        drop(application);
        let _ = network.read_to_end(&mut Vec::new());
        others_network.write_all(b"abcd").unwrap();
        assert_eq!(read(&mut other, 4), b"abcd");
        other.write_all(b"answer").unwrap();
        drop(other);
        assert_eq!(rest(&mut others_network), b"answer");
        let stats = chain.stats("m");
        assert_eq!((count(&stats.yielded), count(&stats.yields_lost)), (1, 1));
        chain.end();
    });
}

/// Somebody takes bytes back meanwhile: what is taken is gone, the rest passes the new module, once.
#[test]
fn a_flow_that_is_frozen_is_handed_over_when_it_goes_on() {
    for (place, taken) in [(Place::Replace, 0), (Place::Replace, 10), (Place::Left, 0), (Place::Right, 10)] {
        let yields = Yields::to(&["x"], place, Way::Inbound, 3);
        let chain = Chain::start(&["m"], yields, Pairs::Fresh);
        let (mut application, mut network) = chain.connect();
        let near = peer::inode(application.as_fd()).unwrap();
        let left = || peer::of(near).unwrap();
        let take = |length| {
            let (answer, found) = channel();
            chain.of("m").tell(Order::Yank(Ask::Take { ino: left(), session: 7, length, answer }));
            match found.recv_timeout(PATIENCE).unwrap() {
                Some(Ok(Found::Ready(flow, bytes))) => Some((flow, bytes)),
                Some(Ok(Found::More(..)) | Err(_)) => panic!("it has them all"),
                // The message with the flow is still on its way.
                None => None,
            }
        };
        let started = Instant::now();
        let (flow, nothing) = loop {
            assert!(started.elapsed() < PATIENCE, "the flow does not come");
            if let Some(found) = take(10) {
                break found;
            }
        };
        assert_eq!(nothing, b"");
        let written = letters(100);
        application.write_all(&written).unwrap();
        network.write_all(b"abx").unwrap();
        while chain.of("m").bytes_inbound() < 3 {
            assert!(started.elapsed() < PATIENCE, "they do not come in");
        }
        assert_eq!(take(10).unwrap(), (flow, written[90..].to_vec()));
        assert_eq!((count(&chain.stats("m").yielded), count(&chain.stats("x").stolen)), (0, 0));
        chain.of("m").tell(Order::Yank(Ask::Settle { flow, session: 7, taken, hold: false }));
        let kept = written.len() - taken;
        assert_eq!(read(&mut network, kept), marked(&written[..kept], b"x"));
        assert_eq!(read(&mut application, 3), b"abX", "{place:?}");
        if place == Place::Replace {
            chain.await_left();
        }
        drop(application);
        assert_eq!(rest(&mut network), b"x");
        assert_eq!(count(&chain.stats("m").yields_lost), 0);
        chain.end();
    }
}
