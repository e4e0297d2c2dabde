//! Window and threshold that are given, and the congestion control that stays. They need root.

use std::os::fd::AsFd;

use super::super::info::Info;
use super::super::testing::pair;
use super::*;

fn control(name: &str) -> [u8; NAME] {
    let mut found = [0; NAME];
    found[..name.len()].copy_from_slice(name.as_bytes());
    found
}

fn control_of(fd: BorrowedFd<'_>) -> [u8; NAME] {
    let mut found = [0; NAME];
    options::get(fd, libc::IPPROTO_TCP, name::CONGESTION, &mut found).unwrap();
    found
}

#[test]
#[ignore = "needs root"]
fn window_and_threshold_are_set_and_the_congestion_control_is_the_socket_s_own() {
    let (ours, _peer) = pair();
    let own = control("cubic");
    carrier().unwrap().give(ours.as_fd(), 77, 55, &own).unwrap();
    let info = Info::read(ours.as_fd()).unwrap();
    assert_eq!((info.snd_cwnd(), info.snd_ssthresh()), (77, 55));
    assert_eq!(control_of(ours.as_fd()), own);
}

#[test]
#[ignore = "needs root"]
fn a_socket_that_was_given_nothing_keeps_what_it_has() {
    let (ours, _peer) = pair();
    let before = Info::read(ours.as_fd()).unwrap().snd_cwnd();
    let carrier = carrier().unwrap();
    options::set(ours.as_fd(), libc::IPPROTO_TCP, name::CONGESTION, &[carrier.name]).unwrap();
    assert_eq!(Info::read(ours.as_fd()).unwrap().snd_cwnd(), before);
}

#[test]
#[ignore = "needs root"]
fn a_process_has_one() {
    let (one, other) = (carrier().unwrap(), carrier().unwrap());
    assert!(Arc::ptr_eq(&one, &other));
}

#[test]
fn names_differ_and_end_with_nothing() {
    let (one, other) = (unique().unwrap(), unique().unwrap());
    assert_ne!(one, other);
    assert_eq!(one[NAME - 1], 0);
}
