//! Flows that begin together, which the poller does not know at first: whatever happens to them is heard of all the same.

use super::*;
use crate::worker::young::BURST;

const FLOWS: usize = 2 * BURST;

/// Connections that wait for a worker which has not begun: the applications' sockets, the networks', duplicates of the real ones.
struct Burst {
    module: Module,
    flows: Vec<(UnixStream, TcpStream, TcpStream)>,
    _scratch: Scratch,
}

impl Burst {
    /// Each network has done what `before` does, and it has come in.
    fn begin(hooks: Arc<dyn Hooks>, revocable: Option<usize>, before: impl Fn(&mut TcpStream)) -> Self {
        let scratch = Scratch::new();
        let runtime = scratch.runtime();
        let idle = Idle::new(&runtime, "m", Pairs::Fresh, (1 << 18, revocable), hooks);
        let shim = crate::steal::tests::Shim::connect(&runtime, &["m"]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let flows = (0..FLOWS)
            .map(|_| {
                let (real, mut network) = connection(&listener);
                before(&mut network);
                wait_until("what was sent", || sock::unsent(network.as_fd()).is_none_or(|count| count == 0));
                let (application, left) = UnixStream::pair().unwrap();
                application.set_read_timeout(Some(PATIENCE)).unwrap();
                let kept = real.try_clone().unwrap();
                shim.steal(left.into(), real.into());
                (application, network, kept)
            })
            .collect();
        Self { module: idle.run(), flows, _scratch: scratch }
    }

    fn end(self) {
        drop(self.flows);
        self.module.end();
    }
}

fn expect(mut from: impl Read, bytes: &[u8]) {
    let mut found = vec![0; bytes.len()];
    from.read_exact(&mut found).unwrap();
    assert_eq!(found, bytes);
}

fn ask(network: &mut TcpStream) {
    network.write_all(b"one").unwrap();
}

#[test]
fn what_was_there_before_and_what_comes_later_arrives() {
    for revocable in [None, Some(1 << 20)] {
        let burst = Burst::begin(Arc::new(Forward), revocable, ask);
        for (application, network, _) in &burst.flows {
            expect(application, b"one");
            (&*network).write_all(b"two").unwrap();
        }
        for (application, network, _) in &burst.flows {
            expect(application, b"two");
            (&*application).write_all(b"answer").unwrap();
            expect(network, b"answer");
        }
        burst.end();
    }
}

#[test]
fn a_client_that_has_sent_nothing_yet_is_heard_when_it_does() {
    let mut burst = Burst::begin(Arc::new(Forward), None, |_| ());
    for (application, network, _) in &mut burst.flows {
        ask(network);
        expect(application, b"one");
    }
    burst.end();
}

#[test]
fn the_end_of_a_client_is_heard_whether_it_came_before_or_after_the_begin() {
    let half_close = |network: &mut TcpStream| network.shutdown(Shutdown::Write).unwrap();
    let ask_and_close = |network: &mut TcpStream| {
        ask(network);
        half_close(network);
    };
    for (before, after) in [(&ask_and_close as &dyn Fn(&mut _), false), (&ask, true)] {
        let mut burst = Burst::begin(Arc::new(Forward), None, before);
        for (application, network, _) in &mut burst.flows {
            if after {
                expect(&*application, b"one");
                half_close(network);
                assert_eq!(rest(application), b"");
            } else {
                assert_eq!(rest(application), b"one");
            }
            application.write_all(b"answer").unwrap();
            expect(network, b"answer");
        }
        burst.end();
    }
}

#[test]
fn a_reset_is_left_for_the_application() {
    let mut burst = Burst::begin(Arc::new(Forward), None, ask);
    for (application, network, real) in burst.flows.drain(..) {
        expect(&application, b"one");
        set_linger_0(&network);
        drop(network);
        application.await_hang_up();
        assert_eq!(error_left_on(&real), Some(libc::ECONNRESET));
    }
    burst.end();
}

#[test]
fn a_client_that_is_slower_than_the_application_gets_all_of_it() {
    for revocable in [None, Some(1 << 20)] {
        let mut burst = Burst::begin(Arc::new(Forward), revocable, ask);
        let data = pattern(8 << 20);
        std::thread::scope(|scope| {
            for (application, network, kept) in burst.flows.drain(..) {
                drop(kept);
                expect(&application, b"one");
                let data = &data;
                scope.spawn(move || (&application).write_all(data).unwrap());
                scope.spawn(move || assert!(rest(&mut &network) == *data));
            }
        });
        burst.end();
    }
}

#[test]
fn an_answer_that_ends_at_once_is_whole() {
    let mut burst = Burst::begin(Arc::new(Forward), None, ask);
    for (mut application, mut network, kept) in burst.flows.drain(..) {
        drop(kept);
        expect(&application, b"one");
        application.write_all(b"answer").unwrap();
        drop(application);
        assert_eq!(rest(&mut network), b"answer");
    }
    burst.end();
}

#[test]
fn a_hook_sees_what_came_before_the_begin() {
    let (sender, seen) = channel();
    let sender = Mutex::new(sender);
    let wants = Wants { data: [false, true], ..Wants::default() };
    let see = move |data: &[u8]| sender.lock().unwrap().send(data.to_vec()).unwrap();
    let burst = Burst::begin(Arc::new(Sees { wants, data: Some(Box::new(see)), begins: None }), None, ask);
    for (application, _, _) in &burst.flows {
        expect(application, b"one");
    }
    assert!(seen.try_iter().eq(vec![b"one".to_vec(); FLOWS]));
    burst.end();
}
