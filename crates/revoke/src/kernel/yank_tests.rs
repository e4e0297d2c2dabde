//! Yanks on live connections over loopback. They need root: `cargo test -p modnet-revoke --features loader -- --ignored`.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use super::super::info::negotiated;
use super::super::options::name;
use super::super::testing::*;
use super::*;

#[test]
#[ignore = "needs root"]
fn the_last_bytes_are_taken_and_the_rest_arrives() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (ours, peer) = pair_at(address);
        let written = fill(&ours);
        let mut yanker = yanker();
        let taken = yanker.yank(ours.as_fd(), 100_000, Operation::Yank).unwrap();
        assert_eq!(taken.bytes, bytes(written - 100_000, written));
        assert!(taken.kept > 0 && taken.gap < taken.total);
        drop(ours);
        assert_stream(&read_to_end(&peer), written - 100_000);
    }
}

#[test]
#[ignore = "needs root"]
fn what_was_sent_stays_sent() {
    let (ours, peer) = pair();
    let written = fill(&ours);
    let mut yanker = yanker();
    let taken = yanker.yank(ours.as_fd(), usize::MAX, Operation::Yank).unwrap();
    assert_eq!(taken.kept, 0);
    let length = taken.bytes.len();
    assert_eq!(taken.bytes, bytes(written - length, written));
    assert_eq!(unsent(&ours), 0);
    assert_eq!(yanker.yank(ours.as_fd(), 1, Operation::Yank).unwrap().bytes, b"");
    drop(ours);
    assert_stream(&read_to_end(&peer), written - length);
}

#[test]
#[ignore = "needs root"]
fn a_peek_takes_nothing_and_shows_what_a_yank_then_takes() {
    let (ours, peer) = pair();
    let written = fill(&ours);
    let mut yanker = yanker();
    let peeked = yanker.yank(ours.as_fd(), 5000, Operation::Peek).unwrap().bytes.to_vec();
    assert_eq!(peeked, bytes(written - 5000, written));
    assert_eq!(yanker.yank(ours.as_fd(), 5000, Operation::Yank).unwrap().bytes, peeked);
    drop(ours);
    assert_stream(&read_to_end(&peer), written - 5000);
}

#[test]
#[ignore = "needs root"]
fn a_connection_can_be_written_and_yanked_many_times_while_it_is_read() {
    let (mut ours, peer) = pair();
    let reader = std::thread::spawn(move || read_to_end(&peer));
    let mut yanker = yanker();
    let (mut at, mut yanks) = (0usize, 0);
    ours.set_nonblocking(true).unwrap();
    for round in 0..2000usize {
        at += ours.write(&bytes(at, at + 60_000)).unwrap_or(0);
        let taken = yanker.yank(ours.as_fd(), 1 + round * 37 % 50_000, Operation::Yank).unwrap().bytes.len();
        yanks += usize::from(taken > 0);
        at -= taken;
    }
    assert!(yanks > 20, "{yanks}");
    drop(ours);
    assert_stream(&reader.join().unwrap(), at);
}

#[test]
#[ignore = "needs root"]
fn unread_input_is_kept_and_input_goes_on() {
    let (mut ours, mut peer) = pair();
    let written = fill(&ours);
    peer.write_all(&bytes(0, 70_000)).unwrap();
    while options::queued(ours.as_fd(), libc::FIONREAD).unwrap() < 70_000 {
        std::thread::yield_now();
    }
    let mut yanker = yanker();
    let taken = yanker.yank(ours.as_fd(), 1000, Operation::Yank).unwrap();
    assert_eq!((taken.bytes.len(), taken.input), (1000, 70_000));
    peer.write_all(&bytes(70_000, 140_000)).unwrap();
    let mut got = vec![0; 140_000];
    ours.read_exact(&mut got).unwrap();
    assert_stream(&got, 140_000);
    drop(ours);
    assert_stream(&read_to_end(&peer), written - 1000);
}

#[test]
#[ignore = "needs root"]
fn a_peer_that_has_closed_its_half_stays_so() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (ours, mut peer) = pair_at(address);
        let written = fill(&ours);
        peer.write_all(&bytes(0, 3000)).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        while Info::read(ours.as_fd()).unwrap().state() != state::CLOSE_WAIT {
            std::thread::yield_now();
        }
        let mut yanker = yanker();
        for round in 1..=2 {
            assert_eq!(yanker.yank(ours.as_fd(), 500, Operation::Yank).unwrap().bytes.len(), 500);
            assert_eq!(Info::read(ours.as_fd()).unwrap().state(), state::CLOSE_WAIT, "round {round}");
        }
        assert_stream(&read_to_end(&ours), 3000);
        drop(ours);
        assert_stream(&read_to_end(&peer), written - 1000);
    }
}

#[test]
#[ignore = "needs root"]
fn reading_that_was_shut_stays_shut() {
    let (ours, peer) = pair();
    let written = fill(&ours);
    ours.shutdown(Shutdown::Read).unwrap();
    let mut yanker = yanker();
    assert_eq!(yanker.yank(ours.as_fd(), 10, Operation::Yank).unwrap().bytes.len(), 10);
    assert_eq!(options::poll(ours.as_fd(), libc::POLLRDHUP).unwrap(), libc::POLLRDHUP);
    drop(ours);
    assert_stream(&read_to_end(&peer), written - 10);
}

#[test]
#[ignore = "needs root"]
fn a_socket_of_ipv6_with_a_connection_of_ipv4_is_guarded_too() {
    let listener = TcpListener::bind("[::]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let peer = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (ours, _) = listener.accept().unwrap();
    let written = fill(&ours);
    let mut yanker = yanker();
    assert_eq!(yanker.yank(ours.as_fd(), 2000, Operation::Yank).unwrap().bytes.len(), 2000);
    drop(ours);
    assert_stream(&read_to_end(&peer), written - 2000);
}

/// All that an application may have set, or may read.
const OPTIONS: [(i32, i32); 25] = [
    (libc::SOL_SOCKET, libc::SO_REUSEADDR),
    (libc::SOL_SOCKET, libc::SO_REUSEPORT),
    (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
    (libc::SOL_SOCKET, libc::SO_SNDBUF),
    (libc::SOL_SOCKET, libc::SO_RCVBUF),
    (libc::SOL_SOCKET, name::SO_BUF_LOCK),
    (libc::SOL_SOCKET, libc::SO_PRIORITY),
    (libc::SOL_SOCKET, libc::SO_MARK),
    (libc::SOL_SOCKET, libc::SO_RCVLOWAT),
    (libc::SOL_SOCKET, libc::SO_ERROR),
    (libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE),
    (libc::IPPROTO_IP, libc::IP_TOS),
    (libc::IPPROTO_IP, libc::IP_TTL),
    (libc::IPPROTO_TCP, libc::TCP_NODELAY),
    (libc::IPPROTO_TCP, libc::TCP_CORK),
    (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
    (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
    (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
    (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
    (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT),
    (libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP),
    (libc::IPPROTO_TCP, libc::TCP_LINGER2),
    (libc::IPPROTO_TCP, name::RTO_MAX_MS),
    (libc::IPPROTO_TCP, name::RTO_MIN_US),
    (libc::IPPROTO_TCP, name::DELACK_MAX_US),
];

fn all_options(of: &TcpStream) -> Vec<(i32, i32, Option<u32>)> {
    let read = |(level, name)| (level, name, options::get_u32(of.as_fd(), level, name).ok());
    OPTIONS.into_iter().map(read).collect()
}

#[test]
#[ignore = "needs root"]
fn options_are_what_they_were() {
    let (ours, _peer) = pair();
    for (level, name, value) in [
        (libc::SOL_SOCKET, libc::SO_REUSEADDR, 1),
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1),
        (libc::SOL_SOCKET, libc::SO_SNDBUF, 300_000),
        (libc::IPPROTO_TCP, libc::TCP_NODELAY, 1),
        (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 77),
        (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, 7777),
        (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, 16384),
        (libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP, 200_000),
        (libc::IPPROTO_TCP, name::RTO_MAX_MS, 5000),
        (libc::IPPROTO_IP, libc::IP_TOS, 0x10),
    ] {
        options::set(ours.as_fd(), level, name, &[value]).unwrap();
    }
    fill(&ours);
    let before = all_options(&ours);
    let mut yanker = yanker();
    assert!(!yanker.yank(ours.as_fd(), 100, Operation::Yank).unwrap().bytes.is_empty());
    assert_eq!(all_options(&ours), before);
    let facts = Facts::of(ours.as_fd()).unwrap();
    assert!(!facts.has_filter && !facts.in_repair);
}

#[test]
#[ignore = "needs root"]
fn what_was_negotiated_is_what_it_was() {
    let (ours, _peer) = pair();
    fill(&ours);
    let read = || {
        let info = Info::read(ours.as_fd()).unwrap();
        let bits = [negotiated::TIMESTAMPS, negotiated::SACK, negotiated::SCALE].map(|bit| info.has(bit));
        // What TCP_MAXSEG takes: loopback's segments become smaller, no network's do.
        (info.scales(), bits, info.snd_mss().min(32767 - 12))
    };
    let before = read();
    let mut yanker = yanker();
    assert!(!yanker.yank(ours.as_fd(), 100, Operation::Yank).unwrap().bytes.is_empty());
    assert_eq!(read(), before);
}

#[test]
#[ignore = "needs root"]
fn congestion_window_and_threshold_are_given_back() {
    let own = *b"cubic\0\0\0\0\0\0\0\0\0\0\0";
    let (ours, _peer) = pair();
    options::set(ours.as_fd(), libc::IPPROTO_TCP, name::CONGESTION, &[own]).unwrap();
    fill(&ours);
    let mut yanker = yanker();
    for keep in [true, false] {
        // Nothing is lost on loopback: a window and a threshold of ours, while nothing moves.
        super::super::carrier::carrier().unwrap().give(ours.as_fd(), 400, 300, &own).unwrap();
        yanker.settings.keep_window = keep;
        let taken = yanker.yank(ours.as_fd(), 100, Operation::Yank).unwrap();
        assert_eq!((taken.window, taken.window_kept), (400, keep));
        let info = Info::read(ours.as_fd()).unwrap();
        assert_eq!((info.snd_cwnd(), info.snd_ssthresh()) == (400, 300), keep);
    }
    assert!(yanker.counts().resumed >= 1);
}

#[test]
#[ignore = "needs root"]
fn a_socket_that_was_bound_before_it_connected_is_rebuilt_too() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // SAFETY: takes no pointer; a new descriptor, ours alone.
    let ours = unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        <TcpStream as std::os::fd::FromRawFd>::from_raw_fd(fd)
    };
    options::bind(ours.as_fd(), &options::Address::local(pair().0.as_fd()).unwrap().without_port()).unwrap();
    options::connect(ours.as_fd(), &options::Address::local(listener.as_fd()).unwrap()).unwrap();
    let (peer, _) = listener.accept().unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let written = fill(&ours);
    let mut yanker = yanker();
    for _ in 0..2 {
        assert_eq!(yanker.yank(ours.as_fd(), 100, Operation::Yank).unwrap().bytes.len(), 100);
    }
    drop(ours);
    assert_stream(&read_to_end(&peer), written - 200);
}

#[test]
#[ignore = "needs root"]
fn a_refused_yank_changes_nothing() {
    let (ours, peer) = pair();
    let written = fill(&ours);
    let mut yanker = Yanker::new(Settings { most: 1000, ..Settings::default() }).unwrap();
    let before = all_options(&ours);
    let refused = yanker.yank(ours.as_fd(), 100, Operation::Yank).map(|_| ());
    assert!(matches!(refused, Err(Failure::Refused(Refusal::Output))), "{refused:?}");
    assert_eq!((yanker.refused, yanker.done), (1, 0));
    assert_eq!(all_options(&ours), before);
    drop(ours);
    assert_stream(&read_to_end(&peer), written);
}

#[test]
#[ignore = "needs root"]
fn segments_of_the_gap_are_swallowed_and_no_reset_comes_of_them() {
    let (ours, peer) = pair();
    let written = fill(&ours);
    thread_local!(static PEER: std::cell::RefCell<Option<TcpStream>> = const { std::cell::RefCell::new(None) });
    PEER.set(Some(peer.try_clone().unwrap()));
    HOOK.set(Some(|step| {
        if step == Step::Disconnected {
            PEER.with_borrow_mut(|peer| peer.as_mut().unwrap().write_all(b"hello")).unwrap();
        }
    }));
    let mut yanker = yanker();
    let taken = yanker.yank(ours.as_fd(), 100, Operation::Yank).unwrap().bytes.len();
    HOOK.set(None);
    assert_eq!(taken, 100);
    assert!(yanker.counts().caught >= 1, "{:?}", yanker.counts());
    let mut said = [0; 5];
    (&ours).read_exact(&mut said).unwrap();
    assert_eq!(&said, b"hello");
    drop(ours);
    assert_stream(&read_to_end(&peer), written - 100);
}

#[test]
#[ignore = "needs root"]
fn a_connection_of_another_namespace_has_a_guard_of_its_own() {
    let (ours, peer) = std::thread::spawn(|| {
        // SAFETY: moves this thread alone.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0);
        loopback_up();
        pair()
    })
    .join()
    .unwrap();
    let (here, _there) = pair();
    let mut yanker = yanker();
    for socket in [&ours, &here] {
        fill(socket);
        assert_eq!(yanker.yank(socket.as_fd(), 100, Operation::Yank).unwrap().bytes.len(), 100);
    }
    let guards = [&ours, &here].map(|socket| super::super::guard::of(socket.as_fd()).unwrap());
    assert!(!std::sync::Arc::ptr_eq(&guards[0], &guards[1]));
    // Other tests use the one of here.
    assert_eq!(guards[0].counts().covered, 1);
    drop(ours);
    read_to_end(&peer);
}

#[test]
#[ignore = "needs root"]
fn without_timestamps_and_sack_the_timer_is_short_at_once() {
    let (ours, peer) = std::thread::spawn(|| {
        // SAFETY: moves this thread alone.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0);
        loopback_up();
        for option in ["tcp_timestamps", "tcp_sack"] {
            std::fs::write(format!("/proc/sys/net/ipv4/{option}"), "0").unwrap();
        }
        pair()
    })
    .join()
    .unwrap();
    options::set(ours.as_fd(), libc::IPPROTO_TCP, name::CONGESTION, &[*b"cubic"]).unwrap();
    // A round trip is known.
    (&ours).write_all(&bytes(0, 1)).unwrap();
    (&peer).read_exact(&mut [0]).unwrap();
    while Info::read(ours.as_fd()).unwrap().rtt_us() == 0 {
        std::thread::yield_now();
    }
    // Little, so that no timer runs out meanwhile.
    options::set_socket(ours.as_fd(), libc::SO_SNDBUF, 50_000).unwrap();
    // Acknowledgements that are not heard leave something in flight.
    let guard = super::super::guard::of(ours.as_fd()).unwrap();
    guard.deafen(ours.as_fd(), DEAF).unwrap();
    let written = fill_from(&ours, 0);
    hear(ours.as_fd()).unwrap();
    let mut yanker = yanker();
    let taken = yanker.yank(ours.as_fd(), usize::MAX, Operation::Yank).unwrap();
    // What is sent afterwards would measure too: nothing is.
    let length = taken.bytes.len();
    assert!(taken.sent > 0 && taken.kept == 0 && length > 0);
    let rtt_us = Info::read(ours.as_fd()).unwrap().rtt_us();
    assert!((1..200_000).contains(&rtt_us), "{rtt_us}");
    drop(ours);
    assert_stream(&read_to_end(&peer), written - length);
}

/// In a new namespace it is down.
fn loopback_up() {
    // SAFETY: a name and flags, as SIOCSIFFLAGS reads them.
    unsafe {
        let mut wish: libc::ifreq = std::mem::zeroed();
        wish.ifr_name[0] = b'l'.cast_signed() as libc::c_char;
        wish.ifr_name[1] = b'o'.cast_signed() as libc::c_char;
        wish.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
        let inet = libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0);
        assert_eq!(libc::ioctl(inet, libc::SIOCSIFFLAGS, &raw const wish), 0);
        libc::close(inet);
    }
}
