//! What the engine does about other processes: tests that start some.
//!
//! They have a binary of their own. Between its fork and its exec a child holds a copy of every descriptor, so in the
//! unit tests' binary, which asks at once whether a socket is closed, another test would see it open.

mod census;
mod janitor;
mod procs;
#[path = "../../src/scratch.rs"]
mod scratch;
mod users;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use modnet_engine::record::Record;
use modnet_engine::{pairs, record, runtime};

/// A process that ends with its standard input; it maps nothing of ours, as nothing is preloaded.
fn process(environment: &[(&str, &Path)]) -> Child {
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

fn create(runtime: &runtime::Runtime, root_pid: u32, chain: &[&str]) -> Record {
    Record::create(runtime, &scratch::plan(root_pid, chain)).unwrap()
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        thread::yield_now();
    }
}
