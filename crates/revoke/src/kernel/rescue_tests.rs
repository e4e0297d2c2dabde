//! SIGKILL between any two steps, with another holder of the socket: what it finds and what becomes of it. They need root.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::super::testing::*;
use super::super::yank::{Operation, Settings, Step, HOOK};
use super::*;

/// The parts of a test's connection that a rescue must bring back.
pub struct Scene {
    pub ours: TcpStream,
    pub peer: TcpStream,
    pub written: usize,
    pub journal: Option<PathBuf>,
}

pub const TAKEN: usize = 10_000;

/// A new folder in memory.
pub fn place(name: &str) -> PathBuf {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let dir = format!("/dev/shm/modnet-test-{}-{number}-{name}", std::process::id());
    std::fs::DirBuilder::new().mode(0o700).create(&dir).unwrap();
    dir.into()
}

thread_local!(static DEADLY: std::cell::Cell<&'static str> = const { std::cell::Cell::new("") });

/// Another process yanks and is killed at `step`; this one holds the socket too.
pub fn killed_at(step: Step, journal: bool) -> Scene {
    let (ours, mut peer) = pair();
    let written = fill(&ours);
    peer.write_all(&bytes(0, 3000)).unwrap();
    // A peer that waits for an acknowledgement would send again, and the guard dies with the yanker.
    while options::queued(ours.as_fd(), libc::FIONREAD).unwrap() < 3000
        || Info::read(peer.as_fd()).unwrap().unacked() > 0
    {
        std::thread::yield_now();
    }
    let journal = journal.then(|| place(&format!("{step:?}")));
    // By exec, since a child of a process with threads may find any lock taken.
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kernel::rescue::tests::victim", "--include-ignored"])
        .env("MODNET_TEST_STEP", format!("{step:?}"))
        .env("MODNET_TEST_JOURNAL", journal.as_deref().unwrap_or(Path::new("")))
        .stdin(OwnedFd::from(ours.try_clone().unwrap()))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.signal(), Some(libc::SIGKILL), "{step:?}: {status}");
    Scene { ours, peer, written, journal }
}

/// What [`killed_at`] starts; by itself it has no step to be killed at, and no socket.
#[test]
#[ignore = "started by the others"]
fn victim() {
    let Ok(step) = std::env::var("MODNET_TEST_STEP") else { return };
    let journal = PathBuf::from(std::env::var_os("MODNET_TEST_JOURNAL").unwrap());
    let journal = (!journal.as_os_str().is_empty()).then_some(journal);
    let settings =
        Settings { most: 16 << 20, journal, deaf: Duration::from_millis(300), ..Settings::default() };
    DEADLY.set(Box::leak(step.into_boxed_str()));
    HOOK.set(Some(|now| {
        if DEADLY.get() == format!("{now:?}") {
            // SAFETY: takes no pointer; ends this process.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        }
    }));
    let socket = std::io::stdin();
    Yanker::new(settings).unwrap().yank(socket.as_fd(), TAKEN, Operation::Yank).unwrap();
}

impl Scene {
    fn rescue(&self) -> Rescued {
        yanker().rescue(self.ours.as_fd(), self.journal.as_deref()).unwrap()
    }

    /// The connection is whole: both directions, to the last byte.
    pub fn assert_delivers(self, bytes: usize) {
        let mut input = vec![0; 3000];
        std::io::Read::read_exact(&mut &self.ours, &mut input).unwrap();
        assert_stream(&input, 3000);
        drop(self.ours);
        assert_stream(&read_to_end(&self.peer), bytes);
        if let Some(dir) = self.journal {
            // A journal that was used is gone.
            std::fs::remove_dir(dir).unwrap();
        }
    }

    fn in_repair(&self) -> bool {
        options::tcp(self.ours.as_fd(), name::REPAIR).unwrap() != 0
    }
}

#[test]
#[ignore = "needs root"]
fn killed_before_repair_the_socket_hears_again_by_itself() {
    for step in [Step::Covered, Step::Deaf] {
        let scene = killed_at(step, false);
        assert!(!scene.in_repair(), "{step:?}");
        let written = scene.written;
        scene.assert_delivers(written);
    }
}

#[test]
#[ignore = "needs root"]
fn killed_while_it_is_frozen_it_is_as_it_was() {
    for step in [Step::Frozen, Step::Read] {
        let scene = killed_at(step, false);
        assert!(scene.in_repair(), "{step:?}");
        assert_eq!(scene.rescue(), Rescued::Left);
        let written = scene.written;
        scene.assert_delivers(written);
    }
}

#[test]
#[ignore = "needs root"]
fn killed_half_rebuilt_the_journal_brings_all_of_it_back() {
    for step in [Step::Disconnected, Step::Reconnected, Step::Restored, Step::Hearing] {
        let scene = killed_at(step, true);
        assert!(scene.in_repair(), "{step:?}");
        assert_eq!(scene.rescue(), Rescued::Rebuilt, "{step:?}");
        let written = scene.written;
        scene.assert_delivers(written);
    }
}

#[test]
#[ignore = "needs root"]
fn killed_half_rebuilt_without_a_journal_it_is_dead_and_says_so() {
    for step in [Step::Disconnected, Step::Reconnected, Step::Restored, Step::Hearing] {
        let scene = killed_at(step, false);
        assert!(scene.in_repair(), "{step:?}");
        assert_eq!(scene.rescue(), Rescued::Dead, "{step:?}");
        assert!(!scene.in_repair());
        let failed = (&scene.ours).write_all(b"more").unwrap_err();
        let kinds = [ErrorKind::BrokenPipe, ErrorKind::NotConnected, ErrorKind::ConnectionAborted];
        assert!(kinds.contains(&failed.kind()), "{step:?}: {failed}");
    }
}

#[test]
#[ignore = "needs root"]
fn killed_before_the_kept_bytes_are_written_the_journal_has_them() {
    let scene = killed_at(Step::Open, true);
    assert!(!scene.in_repair());
    assert_eq!(scene.rescue(), Rescued::Refilled);
    let written = scene.written;
    scene.assert_delivers(written - TAKEN);
}

#[test]
#[ignore = "needs root"]
fn killed_when_all_is_done_nothing_is_to_do() {
    let scene = killed_at(Step::Done, true);
    assert_eq!(scene.rescue(), Rescued::Whole);
    assert!(yanker().rescue_all(scene.journal.as_deref().unwrap()).is_empty(), "its journal is removed");
    let written = scene.written;
    scene.assert_delivers(written - TAKEN);
}

#[test]
#[ignore = "needs root"]
fn a_closing_holder_of_a_socket_in_repair_leaves_nothing_behind() {
    let scene = killed_at(Step::Disconnected, false);
    let port = scene.ours.local_addr().unwrap().port();
    drop(scene.ours);
    // The peer's next segment finds nobody.
    let mut peer = scene.peer;
    while peer.write_all(b"x").is_ok() {
        std::thread::yield_now();
    }
    std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
}

#[test]
#[ignore = "needs root"]
fn whoever_holds_it_a_socket_is_found_by_its_journal() {
    let found = [
        (Step::Covered, Rescued::Whole, 0),
        (Step::Frozen, Rescued::Left, 0),
        (Step::Disconnected, Rescued::Rebuilt, 0),
        (Step::Hearing, Rescued::Rebuilt, 0),
        (Step::Open, Rescued::Refilled, TAKEN),
    ];
    for (step, expected, gone) in found {
        let scene = killed_at(step, true);
        let outcomes = yanker().rescue_all(scene.journal.as_deref().unwrap());
        let [Outcome { holder, result: Ok(rescued) }] = outcomes.as_slice() else {
            panic!("{step:?}: {outcomes:?}")
        };
        assert_eq!((*holder, *rescued), (std::process::id(), expected), "{step:?}");
        let written = scene.written;
        scene.assert_delivers(written - gone);
    }
}

#[test]
#[ignore = "needs root"]
fn the_journal_of_a_socket_that_nobody_has_is_removed() {
    let scene = killed_at(Step::Disconnected, true);
    drop(scene.ours);
    let dir = scene.journal.unwrap();
    assert!(yanker().rescue_all(&dir).is_empty());
    std::fs::remove_dir(dir).unwrap();
}

#[test]
#[ignore = "needs root"]
fn a_rescuer_that_is_killed_leaves_the_same_way_back() {
    let scene = killed_at(Step::Reconnected, true);
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kernel::rescue::tests::second_victim", "--include-ignored"])
        .env("MODNET_TEST_JOURNAL", scene.journal.as_deref().unwrap())
        .stdin(OwnedFd::from(scene.ours.try_clone().unwrap()))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.signal(), Some(libc::SIGKILL), "{status}");
    assert!(!scene.in_repair(), "it had come as far as Open");
    assert_eq!(scene.rescue(), Rescued::Refilled);
    let written = scene.written;
    scene.assert_delivers(written);
}

/// What the test above starts: it rescues, and is killed before the unsent bytes are written.
#[test]
#[ignore = "started by another"]
fn second_victim() {
    let Some(journal) = std::env::var_os("MODNET_TEST_JOURNAL").map(PathBuf::from) else { return };
    HOOK.set(Some(|now| {
        if now == Step::Open {
            // SAFETY: takes no pointer; ends this process.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        }
    }));
    yanker().rescue(std::io::stdin().as_fd(), Some(&journal)).unwrap();
}
