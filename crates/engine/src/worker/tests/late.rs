//! Flows whose outbound bytes may be revoked, with real sockets.

use modnet_abi::pool::SLOTS;
use modnet_inspect::sample;
use modnet_pool::Shared as _;

use super::*;
use crate::flow::{Ready, Side};
use crate::hooks::Origin;
use crate::steal::page::Page;
use crate::worker::conn::{Flow, Pair, Seat};
use crate::worker::late::{append, Late, Means, Traffic};
use crate::worker::pipe::Pipes;

/// What the outlet may hold.
const MOST: usize = 4 << 20;
const ME: u64 = 7;

/// The outlets of a module's flows, as they begin.
type Outlets = Signals<Arc<Outlet>>;

fn start() -> (Running, Outlets) {
    let (show, outlets) = showing(|_| ());
    (Running::start_with(1 << 18, Some(MOST), show), outlets)
}

fn outlet(outlets: &Outlets) -> Arc<Outlet> {
    outlets.recv_timeout(PATIENCE).expect("no flow has begun")
}

/// The peer takes little that it does not read.
fn narrow(network: &TcpStream) {
    set_buffer(network, libc::SO_RCVBUF, 32 * 1024);
}

#[test]
fn megabytes_pass_and_memory_is_given_back() {
    let (running, outlets) = start();
    let (application, network) = running.connect();
    let data = pattern(16 << 20);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (&application).write_all(&data).unwrap();
            application.shutdown(Shutdown::Write).unwrap();
        });
        assert!(rest(&mut &network) == data);
    });
    assert_eq!(outlet(&outlets).len(), 0);
    drop((application, network));
    let shared = running.end();
    assert_eq!(count(&shared.receiver.stats.bytes_outbound), 16 << 20);
}

#[test]
fn the_kernel_holds_little_that_is_unsent_and_the_application_stops_at_the_outlets_size() {
    let (running, outlets) = start();
    let (application, network, real) = running.connect_and_keep();
    narrow(&network);
    let outlet = outlet(&outlets);
    application.set_nonblocking(true).unwrap();
    let data = pattern(32 << 20);
    let mut written = 0;
    wait_until("a full outlet", || {
        match (&application).write(&data[written..]) {
            Ok(count) => written += count,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        outlet.len() > MOST - MOST / 64
    });
    // The peer's window is closed: what the kernel was given beyond it is what lies ahead, a millisecond of loopback.
    let unsent = sample::info(real.as_fd()).unwrap().notsent_bytes;
    assert!(unsent <= 1 << 20, "{unsent} bytes unsent in the kernel");
    application.shutdown(Shutdown::Write).unwrap();
    let got = rest(&mut &network);
    assert!(got == data[..written], "{} of {written}", got.len());
    drop((application, network, real));
    running.end();
}

#[test]
fn what_is_yanked_never_arrives_and_everything_else_does() {
    let (running, outlets) = start();
    let (application, network) = running.connect();
    narrow(&network);
    let data = pattern(6 << 20);
    let outlet = outlet(&outlets);
    let (last, kept) = (&data[data.len() - 10_000..], data.len() - 10_000);
    std::thread::scope(|scope| {
        scope.spawn(|| (&application).write_all(&data).unwrap());
        let mut first = vec![0; 3 << 20];
        (&network).read_exact(&mut first).unwrap();
        assert!(first == data[..3 << 20]);
    });
    // All was written, so what is not here yet is on its way.
    wait_until("the last byte", || outlet.peek(ME, 10_000).unwrap() == last);
    assert!(outlet.yank(ME, 10_000).unwrap() == last);
    drop(application);
    let got = rest(&mut &network);
    assert!(got == data[3 << 20..kept], "{} bytes", got.len());
    let shared = running.end();
    assert_eq!(count(&shared.receiver.stats.bytes_yanked), 10_000);
}

#[test]
fn a_lock_holds_the_bytes_the_end_and_the_reading_until_it_is_over() {
    let (running, outlets) = start();
    let (application, network) = running.connect();
    let outlet = outlet(&outlets);
    outlet.lock(ME).unwrap();
    (&application).write_all(b"held").unwrap();
    drop(application);
    network.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let error = (&network).read(&mut [0; 9]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    network.set_read_timeout(Some(PATIENCE)).unwrap();
    outlet.write(ME, b"first ").unwrap();
    outlet.unlock(ME).unwrap();
    assert_eq!(rest(&mut &network), b"first held");
    running.end();
}

#[test]
fn a_reset_by_the_client_throws_away_what_waits() {
    let (running, outlets) = start();
    let (application, network) = running.connect();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| (&application).write_all(&[1; 32 << 20]).unwrap_err().kind());
        let outlet = outlet(&outlets);
        wait_until("bytes that wait", || outlet.len() > 1 << 20);
        set_linger_0(&network);
        drop(network);
        assert_eq!(writer.join().unwrap(), ErrorKind::BrokenPipe);
        wait_until("the end of what waits", || outlet.is_empty());
        assert_eq!(outlet.yank(ME, 100), Ok(Vec::new()));
    });
    drop(application);
    running.end();
}

/// Behind a peer that reads nothing: the outlet is full, and so is the pair.
fn stalled() -> (Running, Arc<Outlet>, UnixStream, TcpStream, Vec<u8>) {
    let (running, outlets) = start();
    let (application, network) = running.connect();
    narrow(&network);
    let data = pattern(8 << 20);
    let outlet = outlet(&outlets);
    // Longer than a worker waits before it reads what does not go.
    application.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut written = 0;
    while let Ok(count) = (&application).write(&data[written..]) {
        written += count;
        assert!(written < data.len(), "nothing stalls");
    }
    application.set_write_timeout(None).unwrap();
    (running, outlet, application, network, data[..written].to_vec())
}

#[test]
fn the_last_bytes_are_those_that_the_application_has_written_last_wherever_they_lie() {
    let (running, outlet, application, network, data) = stalled();
    // The rest may be in the outlet, in the pair, or in both.
    let last = data.len() - 10_000;
    assert!(outlet.yank(ME, 10_000).unwrap() == data[last..]);
    outlet.write(ME, b"new").unwrap();
    application.shutdown(Shutdown::Write).unwrap();
    let got = rest(&mut &network);
    assert!(got[..last] == data[..last] && &got[last..] == b"new", "{} bytes", got.len());
    drop(application);
    let shared = running.end();
    assert_eq!(count(&shared.receiver.stats.bytes_outbound), data.len() as u64);
    assert_eq!(count(&shared.receiver.stats.bytes_yanked), 10_000);
}

#[test]
fn under_a_lock_nothing_of_what_lies_in_the_pair_goes() {
    let (running, outlet, application, network, data) = stalled();
    outlet.lock(ME).unwrap();
    let held = outlet.peek(ME, usize::MAX).unwrap();
    assert!(!held.is_empty() && held == data[data.len() - held.len()..]);
    // Makes room for all of it.
    let mut got = vec![0; data.len() - held.len()];
    (&network).read_exact(&mut got).unwrap();
    network.set_nonblocking(true).unwrap();
    assert_eq!((&network).read(&mut [0; 9]).unwrap_err().kind(), ErrorKind::WouldBlock);
    network.set_nonblocking(false).unwrap();
    assert!(outlet.peek(ME, usize::MAX).unwrap() == held);
    outlet.unlock(ME).unwrap();
    application.shutdown(Shutdown::Write).unwrap();
    got.extend(rest(&mut &network));
    assert!(got == data);
    drop(application);
    running.end();
}

#[test]
fn what_waits_long_is_read_so_that_the_application_goes_on() {
    let (running, outlet, application, network, data) = stalled();
    assert!(outlet.len() > MOST / 2, "{} of {}", outlet.len(), data.len());
    drop((application, network));
    running.end();
}

/// A look takes bytes out of the pair, so that the poller has none to tell of: the worker is busy elsewhere while they come.
#[test]
fn what_is_looked_at_ahead_of_the_worker_arrives() {
    let (gate, stay) = Gate::new();
    let (show, outlets) = showing(move |flow| (flow > 1).then(&stay).unwrap_or_default());
    let running = Running::start_with(1 << 18, Some(MOST), show);
    let (mut application, mut network) = running.connect();
    let outlet = outlet(&outlets);
    let other = running.connect();
    gate.await_worker();
    application.write_all(b"seen").unwrap();
    assert_eq!(outlet.peek(ME, 9), Ok(b"seen".to_vec()));
    gate.open();
    network.read_exact(&mut [0; 4]).unwrap();
    drop((application, network, other));
    running.end();
}

/// A late flow whose destination is a pair: that and its other end.
fn flow_to_a_pair() -> (Flow, UnixStream) {
    let (right, network) = UnixStream::pair().unwrap();
    let (chain, token) = (vec!["m".to_owned()], [0; 16]);
    let origin =
        Origin { application: 1, record: 1, chain, position: 0, until: 1, token, fail_closed: false };
    let mut flow = Flow::new(1, Arc::new(origin), right.into(), false, Wants::default(), 1 << 18);
    let outlet = Arc::new(Outlet::new(Box::new(|_| ())));
    flow.machine.bind_late(Arc::clone(&outlet), MOST);
    flow.late = Some(Box::new(Late::new(outlet)));
    (flow, network)
}

/// A client that counts waits for nothing but that number.
#[test]
fn what_was_read_for_a_destination_that_has_gone_is_counted() {
    let (page, slot) = (Arc::new(Page::new().unwrap().0), SLOTS - 1);
    let (mut near, left) = UnixStream::pair().unwrap();
    let mut pair = Pair::new(left.into(), Some(Seat { pool: 1, slot, page: Arc::clone(&page) }));
    let (mut flow, _) = flow_to_a_pair();
    near.write_all(&pattern(100_000)).unwrap();
    flow.machine.ready(Side::Left, Ready { readable: true, ..Ready::default() });
    let (mut pipes, mut scratch, mut traffic) = (Pipes::new(1), [0; 1024], Traffic::default());
    let mut means =
        Means { pipes: &mut pipes, scratch: &mut scratch, traffic: &mut traffic, flows: 1, now: 0 };
    assert!(append(&mut flow, &mut pair, usize::MAX, &mut means).is_none());
    assert!(flow.machine.right_is_gone());
    let taken = 100_000 - sock::unread(pair.left.as_fd()).unwrap();
    assert!(taken > 0);
    assert_eq!(page.taken(slot).load(Ordering::Relaxed) as usize, taken);
    assert_eq!(flow.machine.bytes()[Way::Outbound as usize], taken as u64);
}
