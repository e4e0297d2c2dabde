//! Revocable sockets, over loopback.

use super::*;
use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

const PATIENCE: Duration = Duration::from_secs(20);
const ME: u64 = 7;

fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    far.set_read_timeout(Some(PATIENCE)).unwrap();
    (listener.accept().unwrap().0, far)
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i % 251) as u8).collect()
}

fn append_all(revocable: &Revocable, mut data: &[u8]) {
    let started = Instant::now();
    while !data.is_empty() {
        let count = revocable.append(data).unwrap();
        data = &data[count..];
        if count == 0 {
            assert!(revocable.wait(Some(PATIENCE)).unwrap() && started.elapsed() < PATIENCE);
        }
    }
}

fn rest(far: &TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    { far }.read_to_end(&mut all).unwrap();
    all
}

#[test]
fn megabytes_arrive_in_order_and_the_close_waits_for_them() {
    let (near, far) = connected();
    let revocable = Revocable::new(near.as_fd(), 1 << 20).unwrap();
    let data = pattern(16 << 20);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            append_all(&revocable, &data);
            revocable.close();
            drop(near);
        });
        assert!(rest(&far) == data);
    });
}

#[test]
fn what_is_yanked_never_arrives_and_everything_else_does() {
    let (near, far) = connected();
    let revocable = Revocable::new(near.as_fd(), 64 << 20).unwrap();
    let data = pattern(32 << 20);
    append_all(&revocable, &data);
    let taken = revocable.outlet().yank(ME, 10_000).unwrap();
    assert!(taken == data[data.len() - 10_000..]);
    append_all(&revocable, b"instead");
    revocable.shutdown().unwrap();
    assert_eq!(revocable.append(b"more").unwrap_err().kind(), ErrorKind::BrokenPipe);
    let got = rest(&far);
    assert!(got.len() == data.len() - 10_000 + 7 && got.ends_with(b"instead"));
    assert!(got[..got.len() - 7] == data[..data.len() - 10_000]);
    assert_eq!(revocable.unsent(), 0);
}

#[test]
fn a_full_queue_says_so_and_rings_when_there_is_room() {
    let (near, far) = connected();
    let revocable = Revocable::new(near.as_fd(), 1000).unwrap();
    revocable.outlet().lock(ME).unwrap();
    assert_eq!(revocable.append(&[1; 1500]).unwrap(), 1000);
    assert_eq!(revocable.append(&[1; 500]).unwrap(), 0);
    assert!(!revocable.wait(Some(Duration::from_millis(20))).unwrap());
    revocable.outlet().unlock(ME).unwrap();
    assert!(revocable.wait(Some(PATIENCE)).unwrap());
    assert_eq!(revocable.append(&[1; 500]).unwrap(), 500);
    revocable.ring_at(0);
    assert!(revocable.wait(Some(PATIENCE)).unwrap());
    drop((revocable, near));
    assert_eq!(rest(&far).len(), 1500);
}

#[test]
fn a_close_ends_a_lock_and_with_linger_0_throws_away_what_waits() {
    for linger in [false, true] {
        let (near, far) = connected();
        let revocable = Revocable::new(near.as_fd(), 1 << 20).unwrap();
        revocable.outlet().lock(ME).unwrap();
        append_all(&revocable, b"held");
        if linger {
            set_linger_0(&near);
        }
        drop((revocable, near));
        let mut all = Vec::new();
        match { &far }.read_to_end(&mut all) {
            Ok(_) => assert!(!linger && all == b"held"),
            Err(error) => assert!(linger && error.kind() == ErrorKind::ConnectionReset),
        }
    }
}

/// The kernel waits in the last close, which is the pump's.
#[test]
fn a_socket_that_lingers_keeps_no_other_waiting() {
    let (near, far) = connected();
    let revocable = Revocable::new(near.as_fd(), 1 << 20).unwrap();
    set_linger(&near, 10_000);
    // Unsent to the end: the peer's window is smaller, and closed.
    let data = pattern(100_000);
    let size: libc::c_int = 32 * 1024;
    let at = (&raw const size).cast();
    // SAFETY: an int, of the length that is passed, is readable.
    unsafe { libc::setsockopt(far.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, at, 4) };
    append_all(&revocable, &data);
    drop((revocable, near));
    let (near, others_far) = connected();
    let other = Revocable::new(near.as_fd(), 1 << 20).unwrap();
    append_all(&other, b"served");
    drop((other, near));
    assert_eq!(rest(&others_far), b"served");
    assert!(rest(&far) == data);
}

fn set_linger_0(socket: &TcpStream) {
    set_linger(socket, 0);
}

fn set_linger(socket: &TcpStream, seconds: i32) {
    let linger = libc::linger { l_onoff: 1, l_linger: seconds };
    let length = libc::socklen_t::try_from(size_of::<libc::linger>()).unwrap();
    let at = (&raw const linger).cast();
    // SAFETY: a whole linger is readable.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, at, length) };
    assert_eq!(result, 0);
}

#[test]
fn a_broken_connection_is_told_once_with_its_reason_and_wakes_who_waits() {
    let (near, far) = connected();
    let revocable = Revocable::new(near.as_fd(), 8 << 20).unwrap();
    while revocable.append(&[1; 1 << 20]).unwrap() > 0 {}
    set_linger_0(&far);
    drop(far);
    assert!(revocable.wait(Some(PATIENCE)).unwrap());
    let started = Instant::now();
    while revocable.broken().is_none() {
        assert!(started.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    assert_eq!(revocable.append(b"x").unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(revocable.append(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert!(revocable.outlet().is_empty());
}

#[test]
fn what_is_no_connected_tcp_socket_is_refused() {
    let (pair, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    assert_eq!(Revocable::new(pair.as_fd(), 1).unwrap_err().errno, libc::EINVAL);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(Revocable::new(listener.as_fd(), 1).unwrap_err().errno, libc::ENOTCONN);
}
