//! Connections for the tests of this folder.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use super::info::Info;
use super::options::{Address, Window};
use super::snapshot::Snapshot;
#[cfg(feature = "loader")]
use super::yank::{Settings, Yanker};

/// (the one that is yanked from, its peer), over loopback.
pub fn pair() -> (TcpStream, TcpStream) {
    pair_at("127.0.0.1:0")
}

pub fn pair_at(address: &str) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(address).unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    ours.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    (ours, peer)
}

/// A byte that tells its place.
pub fn byte(at: usize) -> u8 {
    (at.wrapping_mul(2_654_435_761) >> 13) as u8
}

pub fn bytes(from: usize, to: usize) -> Vec<u8> {
    (from..to).map(byte).collect()
}

/// Writes until the kernel takes no more; answers how much. Nobody reads, so the last of it is unsent.
pub fn fill(to: &TcpStream) -> usize {
    fill_from(to, 0)
}

pub fn fill_from(to: &TcpStream, first: usize) -> usize {
    to.set_nonblocking(true).unwrap();
    let mut at = first;
    loop {
        match (&mut &*to).write(&bytes(at, at + 32768)) {
            Ok(sent) => at += sent,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                to.set_nonblocking(false).unwrap();
                return at - first;
            }
        }
    }
}

pub fn read_to_end(mut from: &TcpStream) -> Vec<u8> {
    let mut found = Vec::new();
    from.read_to_end(&mut found).unwrap();
    found
}

pub fn assert_stream(got: &[u8], wanted: usize) {
    assert_eq!(got.len(), wanted, "length");
    let wrong = got.iter().enumerate().position(|(at, b)| *b != byte(at));
    assert_eq!(wrong, None, "the first wrong byte of {wanted}");
}

pub fn unsent(of: &TcpStream) -> usize {
    Info::read(of.as_fd()).unwrap().notsent()
}

#[cfg(feature = "loader")]
pub fn yanker() -> Yanker {
    Yanker::new(Settings { most: 16 << 20, ..Settings::default() }).unwrap()
}

/// A half-closed connection with little in flight.
pub fn snapshot() -> Snapshot {
    Snapshot {
        local: Address::EMPTY,
        peer: Address::EMPTY,
        timestamp_at: 0,
        pacing_rate: 0,
        timestamp: 0,
        receive_seq: 0x0100_0001,
        write_seq: 0x0200_0010,
        peer_mss: 1460,
        snd_mss: 1448,
        negotiated: 0,
        snd_scale: 7,
        rcv_scale: 7,
        window: Window { snd_wnd: 128 * 500, ..Window::default() },
        snd_cwnd: 10,
        snd_ssthresh: 100,
        rtt_us: 20_000,
        control: [0; 16],
        reuse: 0,
        is_half_closed: 1,
        is_read_shut: 1,
        rto_max: 0,
        carried: [0; 3],
        output: 0x10,
        unsent: 0,
        input: 0,
    }
}
