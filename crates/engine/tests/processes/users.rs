//! When a module ends, and when it must not.

use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};
use std::sync::Arc;

use modnet_engine::registry::lock::{Lock, BOUND};
use modnet_engine::users::{Users, GRACE, LINGER, PAUSE};

use crate::runtime::Runtime;
use crate::scratch::Scratch;
use crate::{create, end, process, until};

fn start(runtime: &Runtime) -> (Arc<Users>, Receiver<()>) {
    let (told, ended) = channel();
    let users = Users::start(runtime.clone(), "m", Some(Box::new(move || told.send(()).unwrap()))).unwrap();
    (users, ended)
}

#[test]
fn it_ends_with_its_last_user_and_takes_no_more() {
    let scratch = Scratch::new();
    let (users, ended) = start(&scratch.runtime());
    let (first, second) = (process(&[]), process(&[]));
    users.add(first.id()).unwrap();
    users.add(second.id()).unwrap();
    users.add(second.id()).unwrap();
    assert_eq!(users.list().len(), 2);
    end(first);
    // Longer than the second look, shorter than a user that stays.
    assert_eq!(ended.recv_timeout(LINGER + PAUSE * 4), Err(RecvTimeoutError::Timeout));
    end(second);
    ended.recv_timeout(GRACE * 2).unwrap();
    assert_eq!(users.add(std::process::id()).unwrap_err().errno, libc::ESHUTDOWN);
}

#[test]
fn an_orphan_that_has_the_record_keeps_it() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let (users, ended) = start(&runtime);
    let launcher = process(&[]);
    let number = launcher.id();
    users.add(number).unwrap();
    drop(create(&runtime, number, &["x", "m"]));
    let orphan = process(&[("MODNET_RECORD", &runtime.record(number))]);
    end(launcher);
    assert_eq!(ended.recv_timeout(LINGER * 2), Err(RecvTimeoutError::Timeout));
    assert_eq!(users.list(), [orphan.id()]);
    end(orphan);
    ended.recv_timeout(GRACE * 2).unwrap();
    assert!(!runtime.record(number).exists(), "the record goes with the last process that maps it");
}

#[test]
fn a_chain_without_it_lets_it_go() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let (users, ended) = start(&runtime);
    let application = process(&[("MODNET_RECORD", &runtime.record(5_000_000))]);
    let applied = create(&runtime, 5_000_000, &["m"]);
    users.add(application.id()).unwrap();
    applied.apply(&["other"], false).unwrap();
    users.review();
    ended.recv_timeout(GRACE * 2).unwrap();
    end(application);
}

#[test]
fn it_ends_though_what_others_have_left_cannot_be_removed() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let (users, ended) = start(&runtime);
    let user = process(&[]);
    users.add(user.id()).unwrap();
    // A dead module's, for whose removal the registry has to be locked.
    let held = Lock::take(&runtime).unwrap();
    std::fs::create_dir(runtime.modules().join("dead")).unwrap();
    end(user);
    ended.recv_timeout((BOUND + LINGER) * 4).unwrap();
    assert!(runtime.modules().join("dead").exists());
    drop(held);
}

#[test]
fn a_module_that_stays_outlives_its_users() {
    let scratch = Scratch::new();
    let users = Users::start(scratch.runtime(), "m", None).unwrap();
    let user = process(&[]);
    users.add(user.id()).unwrap();
    end(user);
    until("a user that has gone is listed no more", || users.list().is_empty());
    users.add(std::process::id()).unwrap();
    assert_eq!(users.add(5_000_000).unwrap_err().errno, libc::ESRCH);
    users.end();
    assert_eq!(users.add(std::process::id()).unwrap_err().errno, libc::ESHUTDOWN);
}
