//! What a program gets that yanks from a socket which a killed one has left.

use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

use super::super::rescue::tests::{killed_at, TAKEN};
use super::super::yank::Step;
use super::*;

/// Another process, which has not yanked before, yanks from its stdin.
#[test]
#[ignore = "started by the other"]
fn survivor() {
    if std::env::var_os("MODNET_TEST_SURVIVOR").is_none() {
        return;
    }
    let socket = std::io::stdin();
    let taken = yank(socket.as_fd(), TAKEN, Operation::Yank, true, |taken| taken.bytes.len()).unwrap();
    assert_eq!(taken, TAKEN);
}

#[test]
#[ignore = "needs root"]
fn the_first_yank_brings_a_socket_back_and_then_takes_its_bytes() {
    for step in [Step::Deaf, Step::Frozen, Step::Disconnected, Step::Restored] {
        let scene = killed_at(step, true);
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kernel::own::tests::survivor", "--include-ignored"])
            .env("MODNET_TEST_SURVIVOR", "1")
            .env(journal::PLACE_ENV, scene.journal.as_deref().unwrap())
            .stdin(OwnedFd::from(scene.ours.try_clone().unwrap()))
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "{step:?}: {status}");
        let written = scene.written;
        scene.assert_delivers(written - TAKEN);
    }
}

#[test]
#[ignore = "needs root"]
fn a_yanker_that_works_keeps_its_memory_and_counts() {
    let (ours, _peer) = super::super::testing::pair();
    super::super::testing::fill(&ours);
    let before = with(|yanker| yanker.done).unwrap();
    let peeked = yank(ours.as_fd(), 100, Operation::Peek, false, |taken| taken.bytes.to_vec()).unwrap();
    let taken = yank(ours.as_fd(), 100, Operation::Yank, true, |taken| taken.bytes.to_vec()).unwrap();
    assert_eq!((peeked.len(), taken), (100, peeked));
    assert_eq!(with(|yanker| (yanker.done, yanker.settings.keep_window)).unwrap(), (before + 2, true));
}
