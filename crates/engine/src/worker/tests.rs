//! A worker on its own thread, with real sockets: TCP over loopback on the right, the application's pair on the left.
//!
//! What the flow's machine decides is tested in `crate::flow`; here, that the kernel sees it.
//!
//! | file | holds |
//! | --- | --- |
//! | [`chain`] | two workers in a row, with fresh pairs and with pooled ones |
//! | [`ends`] | how a connection ends: in order, reset, with errors left for the application |
//! | [`inline`] | small writes of a client that no socket carries |
//! | [`late`] | what waits where it can be taken back |
//! | [`pooled`] | a client's pool step by step, in order and out of it |
//! | [`turns`] | flows that have much to do, beside one that has little |
//! | [`urgent`] | urgent data of the network's |
//! | [`yanking`] | bytes that are taken back from before a module with hooks |
//! | [`yielding`] | flows that go to other modules, from every place in a chain |
//! | [`young`] | flows that begin together |
//! | here | one worker with a pair of its own for each flow |

mod chain;
mod ends;
mod inline;
mod late;
mod pooled;
mod turns;
mod urgent;
mod yanking;
mod yielding;
mod young;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{channel, Receiver as Signals, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use std::os::fd::AsFd;

use modnet_revoke::queue::outlet::Outlet;

use super::*;
use crate::flow::Way;
use crate::hooks::{Forward, Opened, Orders, State as OfFlow, Verdict};
use crate::pairs::Pairs;
use crate::registry::Registration;
use crate::runtime::Runtime;
use crate::scratch::Scratch;
use crate::sock;

/// No test waits longer for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

type Begins = Box<dyn Fn(Opened) + Send + Sync>;
type Looks = Box<dyn Fn(&[u8]) + Send + Sync>;

/// Hooks that see, and change nothing.
#[derive(Default)]
struct Sees {
    wants: Wants,
    begins: Option<Begins>,
    data: Option<Looks>,
}

impl Sees {
    /// What the application sends; at most `reads` bytes at a time, as [`Wants::reads`].
    fn outbound(reads: usize, data: impl Fn(&[u8]) + Send + Sync + 'static) -> Arc<Self> {
        let wants = Wants { data: [true, false], reads, ..Wants::default() };
        Arc::new(Self { wants, data: Some(Box::new(data)), begins: None })
    }

    /// Each flow that begins.
    fn flows(begins: impl Fn(Opened) + Send + Sync + 'static) -> Arc<Self> {
        let wants = Wants { closed: true, ..Wants::default() };
        Arc::new(Self { wants, begins: Some(Box::new(begins)), data: None })
    }
}

impl Hooks for Sees {
    fn wants(&self) -> Wants {
        self.wants
    }
    fn state(&self, opened: Opened) -> OfFlow {
        if let Some(begins) = &self.begins {
            begins(opened);
        }
        Box::new(())
    }
    fn data(
        &self,
        _: &mut OfFlow,
        _: Way,
        data: &[u8],
        _: [u64; 2],
        _: &mut Vec<u8>,
        _: &mut Orders,
    ) -> Verdict {
        if let Some(see) = &self.data {
            see(data);
        }
        Verdict::Same
    }
}

/// Hooks that hand the outlets of their flows to the test; then `stay` is called with the flow's number.
fn showing(stay: impl Fn(u64) + Send + Sync + 'static) -> (Arc<Sees>, Signals<Arc<Outlet>>) {
    let (found, outlets) = channel();
    let show = move |opened: Opened| {
        found.send(opened.outlet.expect("the flow is revocable")).unwrap();
        stay(opened.id);
    };
    (Sees::flows(show), outlets)
}

/// Where a worker stays, in a hook, until the test lets it go on.
struct Gate {
    arrivals: Signals<()>,
    go_on: Sender<()>,
}

impl Gate {
    /// The gate, and what the hook calls.
    fn new() -> (Self, impl Fn() + Send + Sync) {
        let ((there, arrivals), (go_on, signals)) = (channel(), channel());
        let signals = Mutex::new(signals);
        let stay = move || {
            there.send(()).unwrap();
            signals.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        };
        (Self { arrivals, go_on }, stay)
    }

    fn await_worker(&self) {
        self.arrivals.recv_timeout(PATIENCE).unwrap();
    }

    fn open(&self) {
        self.go_on.send(()).unwrap();
    }
}

/// A worker whose steps the test takes.
struct Idle {
    worker: Worker,
    orders: Sender<Order>,
    registration: Registration,
}

impl Idle {
    /// `bounds`: see [`Module::start_with`].
    fn new(
        runtime: &Runtime,
        name: &str,
        pairs: Pairs,
        bounds: (usize, Option<usize>),
        hooks: Arc<dyn Hooks>,
    ) -> Self {
        let (send_queue, revocable) = bounds;
        let mut registration = Registration::bind(runtime, name, &[0]).unwrap();
        let (runtime, name) = (runtime.clone(), name.to_owned());
        let receiver = Receiver {
            runtime,
            name,
            stats: Arc::default(),
            pairs,
            spare: Arc::default(),
            keeps_real: hooks.wants().any(),
        };
        let shared = Shared {
            receiver,
            hooks,
            send_queue,
            revocable,
            workers: 1,
            flows: AtomicU64::new(0),
            next_id: AtomicU64::new(1),
        };
        let (orders, listening) = channel();
        let queues = std::mem::take(&mut registration.queues);
        let waker = Arc::new(Waker::new().unwrap());
        let worker = Worker::new(Arc::new(shared), queues, listening, waker).unwrap();
        Self { worker, orders, registration }
    }

    /// On its own thread from now on.
    fn run(self) -> Module {
        let Self { worker, orders, registration } = self;
        let (shared, waker) = (Arc::clone(&worker.shared), Arc::clone(&worker.waker));
        let thread = std::thread::spawn(move || worker.run());
        Module { shared, orders, waker, thread, registration }
    }
}

/// A worker of a registered module.
struct Module {
    shared: Arc<Shared>,
    orders: Sender<Order>,
    waker: Arc<Waker>,
    thread: JoinHandle<std::io::Result<()>>,
    registration: Registration,
}

impl Module {
    fn start(runtime: &Runtime, name: &str, pairs: Pairs, send_queue: usize) -> Self {
        Self::start_with(runtime, name, pairs, (send_queue, None), Arc::new(Forward))
    }

    /// `bounds`: the send queue's, and the outlet's where flows are revocable.
    fn start_with(
        runtime: &Runtime,
        name: &str,
        pairs: Pairs,
        bounds: (usize, Option<usize>),
        hooks: Arc<dyn Hooks>,
    ) -> Self {
        Idle::new(runtime, name, pairs, bounds, hooks).run()
    }

    fn tell(&self, order: Order) {
        self.orders.send(order).unwrap();
        self.waker.ring();
    }

    fn drain(&self, time: Duration) {
        self.tell(Order::Drain(Instant::now() + time));
    }

    /// Ends the worker, which must have no flow left, and gives what it counted.
    fn end(self) -> Arc<Shared> {
        drop(self.registration);
        self.orders.send(Order::Drain(Instant::now() + PATIENCE)).unwrap();
        self.waker.ring();
        let before = Instant::now();
        self.thread.join().unwrap().unwrap();
        assert!(before.elapsed() < PATIENCE, "a flow did not end");
        assert_eq!(self.shared.flows.load(Ordering::Relaxed), 0);
        assert_eq!(self.shared.receiver.spare.load(Ordering::Relaxed), 0, "a pair was left behind");
        self.shared
    }
}

struct Running {
    module: Module,
    shared: Arc<Shared>,
    shim: crate::steal::tests::Shim,
    listener: TcpListener,
    _scratch: Scratch,
}

impl Running {
    fn start(send_queue: usize) -> Self {
        Self::start_with(send_queue, None, Arc::new(Forward))
    }

    fn start_with(send_queue: usize, revocable: Option<usize>, hooks: Arc<dyn Hooks>) -> Self {
        let scratch = Scratch::new();
        let runtime = scratch.runtime();
        let module = Module::start_with(&runtime, "m", Pairs::Fresh, (send_queue, revocable), hooks);
        let shim = crate::steal::tests::Shim::connect(&runtime, &["m"]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { shared: Arc::clone(&module.shared), module, shim, listener, _scratch: scratch }
    }

    /// A connection: the application's socket, the network's.
    fn connect(&self) -> (UnixStream, TcpStream) {
        let (application, network, _) = self.connect_and_keep();
        (application, network)
    }

    /// And a duplicate of the real socket.
    fn connect_and_keep(&self) -> (UnixStream, TcpStream, TcpStream) {
        let (network, real) = self.accept();
        let kept = real.try_clone().unwrap();
        (self.steal(real), network, kept)
    }

    /// A connection that is not stolen yet: the network's socket, the real one.
    fn accept(&self) -> (TcpStream, TcpStream) {
        let (real, network) = connection(&self.listener);
        (network, real)
    }

    /// Hands it to the worker; the application's socket.
    fn steal(&self, real: TcpStream) -> UnixStream {
        let (application, left) = UnixStream::pair().unwrap();
        self.shim.steal(left.into(), real.into());
        application.set_read_timeout(Some(PATIENCE)).unwrap();
        application
    }

    /// Read from the applications, by all flows.
    fn bytes_on_their_way(&self) -> u64 {
        let (sender, answer) = channel();
        self.module.tell(Order::List(sender));
        let flows = answer.recv_timeout(PATIENCE).unwrap();
        flows.iter().map(|flow| flow["bytes_outbound"].as_u64().unwrap()).sum()
    }

    /// Ends the worker, which must have no flow left, and gives what it counted.
    fn end(self) -> Arc<Shared> {
        self.module.end()
    }
}

/// A connection: the real socket, the network's end.
fn connection(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let network = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (real, _) = listener.accept().unwrap();
    network.set_read_timeout(Some(PATIENCE)).unwrap();
    (real, network)
}

fn wait_until(what: &str, mut true_: impl FnMut() -> bool) {
    let started = Instant::now();
    while !true_() {
        assert!(started.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// All that comes until the end.
fn rest(from: &mut impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    from.read_to_end(&mut all).unwrap();
    all
}

/// So many bytes, each told from its neighbours.
fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|n| (n % 251) as u8).collect()
}

#[test]
fn megabytes_pass_both_ways_at_once_through_a_small_queue() {
    megabytes_pass_both_ways_at_once(5000);
}

/// Spliced, with pipes that fill.
#[test]
fn megabytes_pass_both_ways_at_once_through_a_large_queue() {
    megabytes_pass_both_ways_at_once(1 << 18);
}

#[test]
fn more_flows_are_held_up_than_there_are_pipes() {
    let running = Running::start(1 << 18);
    let data = pattern(3 << 20);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..100)
            .map(|_| {
                let (mut application, mut network) = running.connect();
                let data = &data;
                scope.spawn(move || application.write_all(data).unwrap());
                move || assert!(rest(&mut network) == pattern(3 << 20))
            })
            .collect();
        // Nobody reads until more has come in than first reads bring.
        let started = Instant::now();
        while running.bytes_on_their_way() < 100 * 50_000 {
            assert!(started.elapsed() < PATIENCE, "they do not come in");
        }
        for reader in readers {
            scope.spawn(reader);
        }
    });
    running.end();
}

/// The error is met by a splice, which takes it away.
#[test]
fn a_reset_in_the_middle_of_an_upload_is_left_for_the_application() {
    let running = Running::start(1 << 18);
    for _ in 0..20 {
        let (mut application, mut network, real) = running.connect_and_keep();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                network.write_all(&[0; 3 << 20]).unwrap();
                set_linger_0(&network);
            });
            let _ = application.read_to_end(&mut Vec::new());
        });
        application.await_hang_up();
        assert_eq!(error_left_on(&real), Some(libc::ECONNRESET));
    }
    running.end();
}

#[test]
fn a_reset_in_the_middle_of_many_bytes_ends_the_flow() {
    let running = Running::start(1 << 18);
    for _ in 0..20 {
        let (application, network) = running.connect();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| (&application).write_all(&[0; 8 << 20]).unwrap_err().kind());
            (&network).read_exact(&mut vec![0; 1 << 20]).unwrap();
            set_linger_0(&network);
            drop(network);
            assert_eq!(writer.join().unwrap(), ErrorKind::BrokenPipe);
        });
    }
    running.end();
}

fn megabytes_pass_both_ways_at_once(send_queue: usize) {
    let running = Running::start(send_queue);
    let (application, network) = running.connect();
    let data = pattern(8 << 20);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (&application).write_all(&data).unwrap();
            application.shutdown(Shutdown::Write).unwrap();
        });
        scope.spawn(|| {
            (&network).write_all(&data).unwrap();
            network.shutdown(Shutdown::Write).unwrap();
        });
        let inbound = scope.spawn(|| rest(&mut &application));
        assert!(rest(&mut &network) == data);
        assert!(inbound.join().unwrap() == data);
    });
    let shared = running.end();
    let stats = &shared.receiver.stats;
    assert_eq!((count(&stats.bytes_outbound), count(&stats.bytes_inbound)), (8 << 20, 8 << 20));
}

/// What a shim would tell: the error that the worker has met, or the kernel still has.
fn error_left_on(real: &TcpStream) -> Option<i32> {
    let kept = real.take_error().unwrap().and_then(|error| error.raw_os_error());
    let left = real.write_timeout().unwrap().unwrap_or_default();
    kept.or(modnet_abi::fault::errno(left.as_secs() as i64))
}

fn set_linger_0(socket: &TcpStream) {
    set_linger(socket, 0);
}

fn set_linger(socket: &TcpStream, seconds: i32) {
    let linger = libc::linger { l_onoff: 1, l_linger: seconds };
    let (at, size) = ((&raw const linger).cast(), size_of_val(&linger) as libc::socklen_t);
    // SAFETY: `linger` is as large as `size` says.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, at, size) };
    assert_eq!(result, 0);
}

fn set_buffer(socket: &TcpStream, option: libc::c_int, bytes: libc::c_int) {
    let (at, size) = ((&raw const bytes).cast(), size_of_val(&bytes) as libc::socklen_t);
    // SAFETY: an int, of the length that is passed, is readable.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, at, size) };
    assert_eq!(result, 0);
}

#[test]
fn a_sender_without_pause_still_hears_its_peer() {
    let running = Running::start(4096);
    let (application, network) = running.connect();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut buffer = [0; 65536];
            while (&network).read(&mut buffer).unwrap() > 0 {}
        });
        (&network).write_all(b"stop").unwrap();
        application.set_nonblocking(true).unwrap();
        let started = Instant::now();
        let mut word = [0; 4];
        while (&application).read(&mut word).is_err() {
            assert!(started.elapsed() < PATIENCE, "never heard");
            let _ = (&application).write(&[0; 65536]);
        }
        assert_eq!(&word, b"stop");
        application.shutdown(Shutdown::Both).unwrap();
        reader.join().unwrap();
    });
    running.end();
}

/// A worker's first flow, and its ends.
fn flow_of(worker: &mut Worker, runtime: &Runtime) -> (u64, (UnixStream, TcpStream)) {
    let (real, network) = connection(&TcpListener::bind("127.0.0.1:0").unwrap());
    let (application, left) = UnixStream::pair().unwrap();
    let shim = crate::steal::tests::Shim::connect(runtime, &["m"]);
    shim.steal(left.into(), real.into());
    worker.accept(0);
    worker.receive(worker.clients.keys()[0]);
    (worker.flows.keys()[0], (application, network))
}

#[test]
fn a_client_that_sends_without_pause_leaves_the_others_their_turn() {
    let scratch = Scratch::new();
    let (runtime, bounds) = (scratch.runtime(), (1 << 16, None));
    let mut idle = Idle::new(&runtime, "m", Pairs::Fresh, bounds, Arc::new(Forward));
    let worker = &mut idle.worker;
    let shim = crate::steal::tests::Shim::connect(&runtime, &["m"]);
    for _ in 0..200 {
        shim.say_nonsense();
    }
    worker.accept(0);
    let key = worker.clients.keys()[0];
    let seen = |worker: &Worker| count(&worker.shared.receiver.stats.not_understood);
    worker.receive(key);
    assert!((32..200).contains(&seen(worker)), "{}", seen(worker));
    worker.receive(key);
    assert_eq!(seen(worker), 200);
}

#[test]
fn a_wake_that_is_put_off_with_every_byte_is_one_timer() {
    let scratch = Scratch::new();
    let (runtime, bounds) = (scratch.runtime(), (1 << 16, None));
    let mut idle = Idle::new(&runtime, "m", Pairs::Fresh, bounds, Arc::new(Forward));
    let worker = &mut idle.worker;
    let (key, _ends) = flow_of(worker, &runtime);
    for hours in 1..100 {
        let mut orders = Orders { wake: Some(hours * 3600 * 1_000_000_000), ..Orders::default() };
        worker.settle(key, Verdict::Same, &mut orders);
    }
    let first = worker.timers.due(u64::MAX).map(|key| (key, worker.timers.is_empty()));
    assert_eq!(first, Some((key, true)));
    // It comes at the first of those times, and is set to the last.
    let before = worker.flows.get_mut(key).and_then(|flow| flow.wake);
    worker.resume(key, 2 * 3600 * 1_000_000_000);
    assert_eq!(worker.timers.next(), before);
}

/// Its new pair could not be watched.
#[test]
fn a_flow_that_has_lost_its_pair_ends() {
    let scratch = Scratch::new();
    let (runtime, bounds) = (scratch.runtime(), (1 << 16, None));
    let mut idle = Idle::new(&runtime, "m", Pairs::Fresh, bounds, Arc::new(Forward));
    let worker = &mut idle.worker;
    let (key, (_application, mut network)) = flow_of(worker, &runtime);
    let flow = worker.flows.get_mut(key).unwrap();
    flow.pair = None;
    flow.machine.reset();
    worker.pump(key);
    assert!(worker.flows.is_empty());
    assert_eq!(network.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn when_the_time_to_drain_is_over_flows_are_cut_and_counted() {
    let running = Running::start(1 << 16);
    let (mut application, mut network) = running.connect();
    network.write_all(b"x").unwrap();
    application.read_exact(&mut [0]).unwrap();
    running.module.drain(Duration::ZERO);
    assert_eq!(network.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(rest(&mut application), b"");
    let shared = Arc::clone(&running.shared);
    running.module.thread.join().unwrap().unwrap();
    assert_eq!((count(&shared.receiver.stats.cut), count(&shared.receiver.stats.ended)), (1, 1));
}

/// What the standard library has not.
trait Also {
    /// Looks at the first byte, and leaves it.
    fn peek_one(&self);
    /// Returns when both halves are closed.
    fn await_hang_up(&self);
}

impl Also for UnixStream {
    fn peek_one(&self) {
        let mut byte = 0u8;
        // SAFETY: one byte is written to one byte.
        let got = unsafe { libc::recv(self.as_raw_fd(), (&raw mut byte).cast(), 1, libc::MSG_PEEK) };
        assert_eq!(got, 1);
    }

    fn await_hang_up(&self) {
        let mut watched = libc::pollfd { fd: self.as_raw_fd(), events: 0, revents: 0 };
        // SAFETY: one pollfd is passed.
        let count = unsafe { libc::poll(&raw mut watched, 1, PATIENCE.as_millis() as i32) };
        assert_eq!((count, watched.revents & libc::POLLHUP), (1, libc::POLLHUP), "no hang-up came");
    }
}
