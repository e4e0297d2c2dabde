//! Each line of the table: by a real socket where one can be brought into that state here, by made-up facts where not.

use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use super::super::options;
use super::super::snapshot::measures;
use super::*;

const MEANS: Means = Means { most: 1 << 20, raw: true };
const OPEN: Facts = Facts {
    is_tcp: true,
    state: state::ESTABLISHED,
    in_repair: false,
    has_ulp: false,
    has_filter: false,
    filter_is_locked: false,
    is_signed: false,
    is_urgent: false,
    peeks_at_offset: false,
    is_recovering: false,
    has_timestamps: true,
    is_blind: false,
    is_read_shut: false,
    unsent: 1000,
    output: 2000,
    input: 0,
};

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, peer)
}

fn judge(fd: BorrowedFd<'_>) -> Option<Refusal> {
    Refusal::of(&Facts::of(fd).unwrap(), MEANS)
}

fn wait_for(fd: BorrowedFd<'_>, wanted: Refusal) {
    while judge(fd) != Some(wanted) {
        std::thread::yield_now();
    }
}

#[test]
fn an_open_connection_is_not_refused() {
    assert_eq!(Refusal::of(&OPEN, MEANS), None);
    let (ours, _peer) = pair();
    assert_eq!(judge(ours.as_fd()), None);
}

#[test]
fn what_is_no_plain_tcp_is_refused() {
    let (unix, _other) = UnixStream::pair().unwrap();
    assert_eq!(judge(unix.as_fd()), Some(Refusal::NotTcp));
    assert_eq!(judge(UdpSocket::bind("127.0.0.1:0").unwrap().as_fd()), Some(Refusal::NotTcp));
    // SAFETY: takes no pointer; a new descriptor, ours alone.
    let mptcp = unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, libc::IPPROTO_MPTCP);
        assert!(fd >= 0, "a kernel without MPTCP");
        OwnedFd::from_raw_fd(fd)
    };
    assert_eq!(judge(mptcp.as_fd()), Some(Refusal::NotTcp));
}

#[test]
fn a_socket_in_repair_is_refused() {
    assert_eq!(Refusal::of(&Facts { in_repair: true, ..OPEN }, MEANS), Some(Refusal::InRepair));
}

#[test]
fn states_without_an_open_half_of_ours_are_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(judge(listener.as_fd()), Some(Refusal::State));
    let (ours, _peer) = pair();
    ours.shutdown(Shutdown::Write).unwrap();
    assert_eq!(judge(ours.as_fd()), Some(Refusal::State), "FIN_WAIT");
}

#[test]
fn a_half_closed_connection_is_refused_only_where_a_fin_cannot_be_sent() {
    let (ours, peer) = pair();
    peer.shutdown(Shutdown::Write).unwrap();
    while Facts::of(ours.as_fd()).unwrap().state != state::CLOSE_WAIT {
        std::thread::yield_now();
    }
    let facts = Facts::of(ours.as_fd()).unwrap();
    assert!(facts.is_read_shut);
    assert_eq!(Refusal::of(&facts, MEANS), None);
    assert_eq!(Refusal::of(&facts, Means { raw: false, ..MEANS }), Some(Refusal::Raw));
}

#[test]
fn an_upper_layer_and_signatures_are_refused() {
    // This kernel may have neither kTLS nor TCP-AO.
    assert_eq!(Refusal::of(&Facts { has_ulp: true, ..OPEN }, MEANS), Some(Refusal::Ulp));
    assert_eq!(Refusal::of(&Facts { is_signed: true, ..OPEN }, MEANS), Some(Refusal::Signed));
}

fn filter(socket: &TcpStream) {
    let accept =
        [libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: u32::MAX }];
    let program = libc::sock_fprog { len: 1, filter: accept.as_ptr().cast_mut() };
    // SAFETY: one instruction, which lives through the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            std::ptr::from_ref(&program).cast(),
            size_of_val(&program) as libc::socklen_t,
        )
    };
    assert_eq!(done, 0);
}

#[test]
fn a_filter_of_the_application_s_is_refused() {
    let (ours, _peer) = pair();
    filter(&ours);
    assert_eq!(judge(ours.as_fd()), Some(Refusal::Filter));
}

#[test]
fn a_lock_on_filters_is_refused() {
    let (ours, _peer) = pair();
    options::set_socket(ours.as_fd(), libc::SO_LOCK_FILTER, 1).unwrap();
    assert_eq!(judge(ours.as_fd()), Some(Refusal::FilterLocked));
}

#[test]
fn urgent_data_is_refused() {
    let (ours, peer) = pair();
    options::send(peer.as_fd(), b"!", libc::MSG_OOB).unwrap();
    wait_for(ours.as_fd(), Refusal::Urgent);
}

#[test]
fn an_offset_for_peeking_is_refused() {
    let (ours, _peer) = pair();
    if options::set_socket(ours.as_fd(), libc::SO_PEEK_OFF, 0).is_ok() {
        assert_eq!(judge(ours.as_fd()), Some(Refusal::PeekOffset));
    }
    assert_eq!(Refusal::of(&Facts { peeks_at_offset: true, ..OPEN }, MEANS), Some(Refusal::PeekOffset));
}

#[test]
fn recovery_is_refused_only_without_timestamps() {
    let recovering = Facts { is_recovering: true, ..OPEN };
    assert_eq!(Refusal::of(&recovering, MEANS), None);
    let facts = Facts { has_timestamps: false, ..recovering };
    assert_eq!(Refusal::of(&facts, MEANS), Some(Refusal::Recovery));
}

#[test]
fn what_nothing_would_measure_is_refused() {
    assert_eq!(Refusal::of(&Facts { is_blind: true, ..OPEN }, MEANS), Some(Refusal::Blind));
    let [cubic, bbr] = [*b"cubic\0\0\0\0\0\0\0\0\0\0\0", *b"bbr\0\0\0\0\0\0\0\0\0\0\0\0\0"];
    assert!(measures(&cubic, 40_000));
    assert!(!measures(&bbr, 40_000) && !measures(&cubic, 300_000) && !measures(&cubic, 0));
}

#[test]
fn queues_beyond_the_memory_are_refused() {
    let (ours, mut peer) = pair();
    peer.write_all(&[7; 5000]).unwrap();
    while Facts::of(ours.as_fd()).unwrap().input < 5000 {
        std::thread::yield_now();
    }
    let facts = Facts::of(ours.as_fd()).unwrap();
    assert_eq!(Refusal::of(&facts, Means { most: 4999, ..MEANS }), Some(Refusal::Input));
    assert_eq!(Refusal::of(&facts, Means { most: 5000, ..MEANS }), None);
    assert_eq!(Refusal::of(&OPEN, Means { most: 1999, ..MEANS }), Some(Refusal::Output));
}

#[test]
fn each_refusal_has_an_errno_and_a_reason_of_its_own() {
    let reasons: std::collections::HashSet<_> = Refusal::all().map(Refusal::reason).collect();
    assert_eq!((reasons.len(), Refusal::all().count()), (TABLE.len(), TABLE.len()));
    for refusal in Refusal::all() {
        let errno = refusal.errno();
        assert!([libc::EAGAIN, libc::EOPNOTSUPP, libc::EPERM].contains(&errno), "{refusal:?}: {errno}");
    }
}
