//! What a reader sees of a socket without any privilege: samples, their age, the end.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use modnet_abi::sockstate::{Packet, SOURCE_SAMPLED};

use super::*;

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, client)
}

#[test]
fn a_sample_counts_for_an_interval_and_is_then_taken_anew() {
    let (mut server, mut client) = pair();
    let watch = Watch::with_mode(server.as_raw_fd(), Mode::Sampled);
    let first = watch.read().unwrap();
    assert_eq!((first.source, first.state, first.packets), (SOURCE_SAMPLED, 1, [Packet::default(); 2]));
    assert_eq!(watch.reason(), Some(Reason::Forced));
    server.write_all(&[0; 1000]).unwrap();
    client.read_exact(&mut [0; 1000]).unwrap();
    let then = loop {
        let state = watch.read().unwrap();
        if state.updated_ns != first.updated_ns {
            break state;
        }
    };
    assert!(then.updated_ns >= first.updated_ns + INTERVAL);
    assert_eq!(then.write_seq.wrapping_sub(first.write_seq), 1000);
}

#[test]
fn a_field_is_read_as_the_whole_is() {
    let (server, _client) = pair();
    let watch = Watch::with_mode(server.as_raw_fd(), Mode::Sampled);
    let state = watch.read().unwrap();
    assert_eq!(watch.u32_at(std::mem::offset_of!(SockState, cwnd)), Ok(state.cwnd));
    assert_eq!(watch.u32_at(std::mem::offset_of!(SockState, ssthresh)), Ok(state.ssthresh));
    assert_eq!(watch.u64_at(std::mem::offset_of!(SockState, cookie)), Ok(state.cookie));
}

#[test]
fn a_frozen_watch_keeps_the_last_state_and_one_that_was_never_read_has_none() {
    let (server, _client) = pair();
    let (read, unread) = (
        Watch::with_mode(server.as_raw_fd(), Mode::Sampled),
        Watch::with_mode(server.as_raw_fd(), Mode::Sampled),
    );
    let state = read.read().unwrap();
    read.freeze();
    unread.freeze();
    drop(server);
    assert_eq!(read.read().unwrap().cookie, state.cookie);
    assert_eq!(unread.read(), Err(Reason::NotConnected));
}

#[test]
fn another_socket_that_got_the_number_is_not_taken_for_the_first() {
    let (server, _client) = pair();
    let (other, _another) = pair();
    let watch = Watch::with_mode(server.as_raw_fd(), Mode::Sampled);
    let first = watch.read().unwrap();
    // SAFETY: both are ours; the number of the first stands for the second from here on.
    unsafe { libc::dup2(other.as_raw_fd(), server.as_raw_fd()) };
    let until = sample::now() + 3 * INTERVAL;
    while sample::now() < until {
        assert_eq!(watch.read().unwrap().cookie, first.cookie);
    }
}

#[test]
fn off_is_an_error_and_so_is_a_way_that_is_not_to_be_had() {
    let (server, _client) = pair();
    assert_eq!(Watch::with_mode(server.as_raw_fd(), Mode::Off).read(), Err(Reason::Off));
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    assert!(Watch::with_mode(socket.as_raw_fd(), Mode::Bpf).read().is_err());
}
