//! What the control socket answers, to the polite and to the others.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::time::Instant;

use super::*;
use crate::registry::{connect_control, Registration};
use crate::runtime::Runtime;
use crate::scratch::Scratch;

struct Plain {
    stopped: Mutex<Sender<Duration>>,
}

impl Subject for Plain {
    fn status(&self) -> Value {
        json!({"name": "m"})
    }
    fn flows(&self, each: &mut dyn FnMut(Value)) {
        (0..3000).for_each(|number| each(json!({"flow": number, "filler": "x".repeat(200)})));
    }
    fn stop(&self, drain: Duration) {
        self.stopped.lock().unwrap().send(drain).unwrap();
    }
}

fn module(runtime: &Runtime) -> (Registration, Receiver<Duration>) {
    let registration = Registration::bind(runtime, "m", &[]).unwrap();
    let (sender, stopped) = channel();
    let users = Users::start(runtime.clone(), "m", None).unwrap();
    let control = registration.control.try_clone().unwrap();
    start(control, Arc::new(Plain { stopped: Mutex::new(sender) }), users).unwrap();
    (registration, stopped)
}

fn ask(runtime: &Runtime, request: &Value) -> Result<Vec<Value>> {
    client::ask(runtime, "m", request, Duration::from_secs(5))
}

#[test]
fn every_operation_answers() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let (_registration, stopped) = module(&runtime);
    assert_eq!(ask(&runtime, &json!({"op": "use"})).unwrap(), [json!({"done": true})]);
    let me = std::process::id();
    let status = ask(&runtime, &json!({"op": "status"})).unwrap();
    assert_eq!(status, [json!({"name": "m", "pid": me, "users": [me], "done": true})]);
    let flows = ask(&runtime, &json!({"op": "flows"})).unwrap();
    assert_eq!((flows.len(), &flows[2999]["flow"]), (3001, &json!(2999)));
    ask(&runtime, &json!({"op": "stop", "drain": 1.5})).unwrap();
    assert_eq!(stopped.recv_timeout(Duration::from_secs(5)), Ok(Duration::from_millis(1500)));
    assert_eq!(ask(&runtime, &json!({"op": "use"})).unwrap_err().errno, libc::ESHUTDOWN);
}

#[test]
fn nonsense_is_answered_and_the_connection_goes_on() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let _module = module(&runtime);
    let fd = connect_control(&runtime, "m").unwrap();
    // A socket is a socket: std has no type for SEQPACKET, and `write` sends one message.
    let mut socket = UnixStream::from(fd.try_clone().unwrap());
    for nonsense in [&b"\xff\x00"[..], b"[]", b"{}", b"{\"op\": 7}", b"{\"op\": \"stop\", \"drain\": -1}"] {
        assert_eq!(socket.write(nonsense).unwrap(), nonsense.len());
        let answer = wire::receive(&fd, Duration::from_secs(5)).unwrap().unwrap();
        assert_eq!(
            (answer["errno"].as_i64(), &answer["done"]),
            (Some(i64::from(libc::EINVAL)), &json!(true))
        );
    }
    wire::send(&fd, &json!({"op": "status"}), SLOW).unwrap();
    assert_eq!(wire::receive(&fd, Duration::from_secs(5)).unwrap().unwrap()["name"], "m");
}

#[test]
fn the_mute_and_the_slow_delay_nobody() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let _module = module(&runtime);
    let quiet: Vec<_> = (0..50).map(|_| connect_control(&runtime, "m").unwrap()).collect();
    for fd in &quiet[..25] {
        // Asks for more than the socket holds, and takes nothing.
        wire::send(fd, &json!({"op": "flows"}), SLOW).unwrap();
    }
    let before = Instant::now();
    ask(&runtime, &json!({"op": "status"})).unwrap();
    assert!(before.elapsed() < SLOW);
}

#[test]
fn too_many_are_told_so() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let _module = module(&runtime);
    let clients: Vec<_> = (0..=CLIENTS).map(|_| connect_control(&runtime, "m").unwrap()).collect();
    let last = wire::receive(&clients[CLIENTS], Duration::from_secs(5)).unwrap().unwrap();
    assert_eq!(last["errno"], libc::EBUSY);
}

#[test]
fn a_module_that_is_not_there_or_does_not_answer_is_an_error() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    assert_eq!(ask(&runtime, &json!({"op": "status"})).unwrap_err().errno, libc::ENOENT);
    // Bound, and nobody serves it: as if the process were stopped.
    let _mute = Registration::bind(&runtime, "m", &[]).unwrap();
    let limit = Duration::from_millis(100);
    let error = client::ask(&runtime, "m", &json!({"op": "status"}), limit).unwrap_err();
    assert_eq!(error.errno, libc::ETIMEDOUT);
}

#[test]
fn the_thread_ends_when_the_socket_is_shut_down() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let registration = Registration::bind(&runtime, "m", &[]).unwrap();
    let (sender, _stopped) = channel();
    let users = Users::start(runtime, "m", None).unwrap();
    let control = registration.control.try_clone().unwrap();
    let thread = start(control, Arc::new(Plain { stopped: Mutex::new(sender) }), users).unwrap();
    // SAFETY: no memory is passed.
    unsafe { libc::shutdown(registration.control.as_raw_fd(), libc::SHUT_RDWR) };
    let end = Instant::now() + Duration::from_secs(10);
    while !thread.is_finished() {
        assert!(Instant::now() < end, "it goes on");
        thread::sleep(Duration::from_millis(1));
    }
    thread.join().unwrap();
}
