//! What a killed process leaves is removed.

use std::thread;

use modnet_engine::janitor::{is_there, work};

use crate::scratch::Scratch;
use crate::{create, process, until};

#[test]
fn it_removes_the_record_of_a_killed_process_and_ends() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let mut child = process(&[]);
    drop(create(&runtime, child.id(), &[]));
    let at_work = thread::spawn({
        let runtime = runtime.clone();
        move || work(&runtime)
    });
    until("it begins", || is_there(&runtime).unwrap());
    // A second one leaves the work to the first.
    work(&runtime).unwrap();
    // One that comes later is seen too, without anybody saying so; so is a name that nobody holds.
    std::fs::create_dir(runtime.module("dead")).unwrap();
    until("the stale name is removed", || !runtime.module("dead").exists());
    assert!(runtime.record(child.id()).exists());
    child.kill().unwrap();
    child.wait().unwrap();
    until("the record is removed", || !runtime.record(child.id()).exists());
    at_work.join().unwrap().unwrap();
    assert!(!is_there(&runtime).unwrap());
}
