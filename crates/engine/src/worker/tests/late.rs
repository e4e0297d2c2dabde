//! Flows whose outbound bytes may be revoked, with real sockets.

use super::*;
use crate::hooks::{Hooks, Opened, State, Wants};
use modnet_inspect::sample;
use modnet_revoke::queue::outlet::Outlet;
use std::sync::Mutex;

/// What the outlet may hold.
const MOST: usize = 4 << 20;
const ME: u64 = 7;

/// Hands the outlets of its flows to the test.
#[derive(Default)]
struct Show(Mutex<Vec<Arc<Outlet>>>);

impl Hooks for Show {
    fn wants(&self) -> Wants {
        Wants { opened: true, ..Wants::default() }
    }

    fn state(&self, opened: Opened) -> State {
        self.0.lock().unwrap().push(opened.outlet.expect("the flow is revocable"));
        Box::new(())
    }
}

fn start() -> (Running, Arc<Show>) {
    let show = Arc::new(Show::default());
    (Running::start_with(1 << 18, Some(MOST), Arc::clone(&show) as Arc<dyn Hooks>), show)
}

fn outlet(show: &Show) -> Arc<Outlet> {
    let started = Instant::now();
    loop {
        if let Some(outlet) = show.0.lock().unwrap().pop() {
            return outlet;
        }
        assert!(started.elapsed() < PATIENCE, "no flow has begun");
        std::thread::yield_now();
    }
}

/// The peer takes little that it does not read.
fn narrow(network: &TcpStream) {
    let size: libc::c_int = 32 * 1024;
    let at = (&raw const size).cast();
    // SAFETY: an int, of the length that is passed, is readable.
    let result = unsafe { libc::setsockopt(network.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, at, 4) };
    assert_eq!(result, 0);
}

#[test]
fn megabytes_pass_and_memory_is_given_back() {
    let (running, show) = start();
    let (application, network) = running.connect();
    let data = pattern(16 << 20);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (&application).write_all(&data).unwrap();
            application.shutdown(Shutdown::Write).unwrap();
        });
        assert!(rest(&mut &network) == data);
    });
    assert_eq!(outlet(&show).len(), 0);
    drop((application, network));
    let shared = running.end();
    assert_eq!(count(&shared.receiver.stats.bytes_outbound), 16 << 20);
}

#[test]
fn the_kernel_holds_little_that_is_unsent_and_the_application_stops_at_the_outlets_size() {
    let (running, show) = start();
    let (application, network, real) = running.connect_and_keep();
    narrow(&network);
    let outlet = outlet(&show);
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
    let (running, show) = start();
    let (application, network) = running.connect();
    narrow(&network);
    let data = pattern(6 << 20);
    let outlet = outlet(&show);
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
    let (running, show) = start();
    let (application, network) = running.connect();
    let outlet = outlet(&show);
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
    let (running, show) = start();
    let (application, network) = running.connect();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| (&application).write_all(&[1; 32 << 20]).unwrap_err().kind());
        let outlet = outlet(&show);
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

/// Behind a peer that reads nothing, what the application writes stays in the pair for a while.
fn stalled() -> (Running, Arc<Outlet>, UnixStream, TcpStream, Vec<u8>) {
    let (running, show) = start();
    let (application, network) = running.connect();
    narrow(&network);
    let data = pattern(8 << 20);
    let outlet = outlet(&show);
    application.set_nonblocking(true).unwrap();
    let mut written = 0;
    while let Ok(count) = (&application).write(&data[written..]) {
        written += count;
    }
    application.set_nonblocking(false).unwrap();
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
    wait_until("a full outlet", || {
        application.set_nonblocking(true).unwrap();
        let _ = (&application).write(&[0; 1 << 16]);
        outlet.len() > MOST / 2
    });
    assert!(outlet.len() > data.len(), "more than a pair holds");
    drop((application, network));
    running.end();
}
