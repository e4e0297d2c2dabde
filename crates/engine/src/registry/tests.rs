//! Who gets a name, and when it is free again.

use std::os::fd::AsRawFd;
use std::sync::{Arc, Barrier};
use std::thread;

use super::*;
use crate::scratch::Scratch;

#[test]
fn a_living_name_is_taken_and_a_dropped_one_free() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let first = Registration::bind(&runtime, "gzip", &[0, 1]).unwrap();
    assert_eq!(list(&runtime).unwrap(), ["gzip"]);
    let error = Registration::bind(&runtime, "gzip", &[0]).unwrap_err();
    assert_eq!(error.errno, libc::EEXIST);
    assert!(connect_queue(&runtime, "gzip", 1).is_ok() && connect_control(&runtime, "gzip").is_ok());
    assert_eq!(connect_queue(&runtime, "gzip", 7).unwrap_err().raw_os_error(), Some(libc::ENOENT));
    drop(first);
    assert!(!runtime.module("gzip").exists());
    Registration::bind(&runtime, "gzip", &[0]).unwrap();
}

#[test]
fn of_fifty_racers_one_wins_and_the_others_hear_eexist() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let start = Arc::new(Barrier::new(50));
    let racers: Vec<_> = (0..50)
        .map(|_| {
            let (runtime, start) = (runtime.clone(), start.clone());
            thread::spawn(move || {
                start.wait();
                Registration::bind(&runtime, "race", &[0, 1])
            })
        })
        .collect();
    // All results are kept until all have raced: a winner that left would let a second one win, rightly.
    let results: Vec<_> = racers.into_iter().map(|r| r.join().unwrap()).collect();
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1);
    assert!(results.iter().all(|r| r.as_ref().err().is_none_or(|e| e.errno == libc::EEXIST)));
}

#[test]
fn what_a_crash_left_is_replaced() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let mut crashed = Registration::bind(&runtime, "m", &[0, 1, 2]).unwrap();
    // The files of a killed process stay, its sockets do not: forget the files, then close.
    crashed.files.clear();
    drop(crashed);
    assert!(runtime.module("m").join("steal.2").exists());
    assert!(list(&runtime).unwrap().is_empty());
    let again = Registration::bind(&runtime, "m", &[0]).unwrap();
    assert!(!runtime.module("m").join("steal.2").exists());
    drop(again);

    fs::create_dir(runtime.module("m")).unwrap();
    fs::write(runtime.module("m").join("control"), "no socket").unwrap();
    fs::create_dir(runtime.module("m").join("steal.0")).unwrap();
    fs::write(runtime.module("n"), "no directory").unwrap();
    assert_eq!(sweep(&runtime).unwrap(), ["m", "n"]);
    Registration::bind(&runtime, "m", &[0]).unwrap();
}

#[test]
fn files_of_a_later_module_are_left_alone() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let old = Registration::bind(&runtime, "m", &[0]).unwrap();
    fs::rename(runtime.module("m"), runtime.module("aside")).unwrap();
    let new = Registration::bind(&runtime, "m", &[0]).unwrap();
    drop(old);
    assert!(is_living(&runtime, "m").unwrap());
    drop(new);
}

#[test]
fn a_lock_that_stays_held_is_an_error_and_not_a_hang() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let held = Lock::take(&runtime).unwrap();
    let before = std::time::Instant::now();
    let error = Registration::bind(&runtime, "m", &[0]).unwrap_err();
    assert_eq!(error.errno, libc::ETIMEDOUT);
    assert!(error.message.contains(&std::process::id().to_string()), "{error}");
    assert!(before.elapsed() < lock::BOUND * 2);
    drop(held);
    Registration::bind(&runtime, "m", &[0]).unwrap();
}

#[test]
fn a_lock_ends_though_a_child_forked_meanwhile_has_its_file() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let held = Lock::take(&runtime).unwrap();
    let path = runtime.modules().join(".lock");
    let is_it = |fd: &i32| fs::read_link(format!("/proc/self/fd/{fd}")).is_ok_and(|file| file == path);
    let number = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let number = number.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(is_it).unwrap();
    // SAFETY: the lock holds it open meanwhile. What a child has is the same: another descriptor of one open file.
    let child = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) }.try_clone_to_owned().unwrap();
    drop(held);
    Registration::bind(&runtime, "m", &[0]).unwrap();
    drop(child);
}

#[test]
fn modes_let_dropped_workers_reach_the_queues_only() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let registration = Registration::bind(&runtime, "m", &[3]).unwrap();
    let mode = |file: &str| fs::metadata(runtime.module("m").join(file)).unwrap().mode() & 0o777;
    assert_eq!((mode("control"), mode("steal.3")), (0o600, 0o666));
    // SAFETY: a plain system call on a descriptor that is open.
    let flags = unsafe { libc::fcntl(registration.queues[0].1.as_raw_fd(), libc::F_GETFL) };
    assert_ne!(flags & libc::O_NONBLOCK, 0);
}

#[test]
fn names_are_checked_before_anything_is_made() {
    let scratch = Scratch::new();
    let runtime = Runtime::at(scratch.path.join("r")).unwrap();
    for name in ["", "..", "a/b", "-x", &"x".repeat(32)] {
        assert_eq!(Registration::bind(&runtime, name, &[0]).unwrap_err().errno, libc::EINVAL, "{name:?}");
        assert_eq!(connect_control(&runtime, name).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
    assert!(!runtime.path.exists());
}
