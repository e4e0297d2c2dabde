//! When a module ends, and when it must not.

use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};

use super::*;
use crate::pairs::Pairs;
use crate::record::Plan;
use crate::scratch::Scratch;

/// A process that ends with its standard input.
fn process(environment: &[(&str, &std::path::Path)]) -> Child {
    Command::new("cat")
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn end(mut child: Child) {
    drop(child.stdin.take());
    child.wait().unwrap();
}

fn start(runtime: &Runtime) -> (Arc<Users>, Receiver<()>) {
    let (told, ended) = channel();
    let users = Users::start(runtime.clone(), "m", Some(Box::new(move || told.send(()).unwrap()))).unwrap();
    (users, ended)
}

fn record(runtime: &Runtime, root_pid: u32, chain: &[&str]) -> Record {
    let plan = Plan {
        root_pid,
        chain,
        fail_closed: false,
        pairs: Pairs::Pooled,
        inline: true,
        hidden_base: 1000,
        shown_hard_limit: 0,
    };
    Record::create(runtime, &plan).unwrap()
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
    drop(record(&runtime, number, &["x", "m"]));
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
    let applied = record(&runtime, 5_000_000, &["m"]);
    users.add(application.id()).unwrap();
    applied.apply(&["other"], false).unwrap();
    users.review();
    ended.recv_timeout(GRACE * 2).unwrap();
    end(application);
}

#[test]
fn a_module_that_stays_outlives_its_users() {
    let scratch = Scratch::new();
    let users = Users::start(scratch.runtime(), "m", None).unwrap();
    let user = process(&[]);
    users.add(user.id()).unwrap();
    end(user);
    let until = Instant::now() + LINGER * 4;
    while !users.list().is_empty() {
        assert!(Instant::now() < until, "a user that has gone stays listed");
        thread::yield_now();
    }
    users.add(std::process::id()).unwrap();
    assert_eq!(users.add(5_000_000).unwrap_err().errno, libc::ESRCH);
    users.end();
    assert_eq!(users.add(std::process::id()).unwrap_err().errno, libc::ESHUTDOWN);
}
