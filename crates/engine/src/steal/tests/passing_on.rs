//! The next module of the chain: there, dead, back again, changed.

use modnet_abi::steal::HELLO_FAIL_CLOSED;

use super::*;
use crate::registry::{socket, Registration};
use crate::scratch::Scratch;

/// A registered module that accepts connections to its one queue.
struct Next {
    registration: Registration,
    receiver: Receiver,
}

impl Next {
    fn start(runtime: &Runtime, name: &str) -> Self {
        let registration = Registration::bind(runtime, name, &[0]).unwrap();
        Self { registration, receiver: receiver(runtime, name) }
    }

    /// Takes the connection that waits and what came on it.
    fn accept(&self) -> Queue {
        let client = Client::new(socket::accept(&self.registration.queues[0].1).unwrap(), 0);
        let mut queue = Queue::of(connection().0, client);
        // A chain that changed right after has closed it again, behind its flows.
        queue.receive(&self.receiver);
        queue
    }

    /// Whether nobody (else) has connected.
    fn is_left_alone(&self) -> bool {
        socket::accept(&self.registration.queues[0].1)
            .is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock)
    }
}

/// Whether what is written to `from` comes out at `to`.
fn are_joined(from: &OwnedFd, to: &mut UnixStream) -> bool {
    std::io::Write::write_all(&mut UnixStream::from(from.try_clone().unwrap()), b"!").unwrap();
    let mut byte = [0];
    to.set_nonblocking(true).unwrap();
    matches!(to.read(&mut byte), Ok(1)) && &byte == b"!"
}

#[test]
fn the_next_module_gets_the_networks_side_and_we_get_a_pair_to_it() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let next = Next::start(&runtime, "b");
    let receiver = receiver(&runtime, "a");
    let mut queue = Queue::new();
    queue.greet(&["a", "b"], 0);
    let mut parcel = queue.steal(2);
    assert!(queue.receive(&receiver));
    let theirs = next.accept();
    assert_eq!((queue.flows.len(), theirs.flows.len()), (2, 2));
    let origin = &theirs.flows[0].origin;
    assert_eq!((origin.position, origin.application, origin.token), (1, 77, [7; 16]));
    for (at, (mine, their)) in queue.flows.iter().zip(&theirs.flows).enumerate() {
        assert!(!mine.right_is_tcp && their.right_is_tcp);
        assert!(are_joined(left(mine), &mut parcel.kept[2 * at]));
        assert!(are_joined(&their.right, &mut parcel.kept[2 * at + 1]));
        assert!(are_joined(&mine.right, &mut UnixStream::from(left(their).try_clone().unwrap())));
    }
    // Nobody but the next module holds the network's side.
    drop(theirs);
    assert_eq!(parcel.held(), [true, false, true, false]);
}

#[test]
fn the_connection_to_the_next_module_is_kept() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let next = Next::start(&runtime, "b");
    let receiver = receiver(&runtime, "a");
    let mut queue = Queue::new();
    queue.greet(&["a", "b"], 0);
    let _first = queue.steal(1);
    assert!(queue.receive(&receiver));
    let mut theirs = next.accept();
    let _second = queue.steal(1);
    assert!(queue.receive(&receiver));
    assert!(theirs.receive(&next.receiver) && next.is_left_alone());
    assert_eq!(theirs.flows.len(), 2);
}

#[test]
fn a_dead_module_is_passed_over_and_counted() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let last = Next::start(&runtime, "c");
    let receiver = receiver(&runtime, "a");
    let mut queue = Queue::new();
    queue.greet(&["a", "b", "c"], 0);
    let _parcel = queue.steal(3);
    assert!(queue.receive(&receiver));
    let theirs = last.accept();
    assert_eq!((theirs.flows.len(), theirs.flows[0].origin.position), (3, 2));
    assert_eq!(count(&receiver.stats.skipped), 3);
}

#[test]
fn without_any_later_module_the_real_socket_is_served_here() {
    let scratch = Scratch::new();
    let receiver = receiver(&scratch.runtime(), "a");
    let mut queue = Queue::new();
    queue.greet(&["a", "b", "c"], 0);
    let mut parcel = queue.steal(1);
    assert!(queue.receive(&receiver));
    assert!(queue.flows[0].right_is_tcp && are_joined(&queue.flows[0].right, &mut parcel.kept[1]));
    assert_eq!(count(&receiver.stats.skipped), 2);
}

#[test]
fn a_module_that_was_passed_over_is_used_when_it_is_back() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let last = Next::start(&runtime, "c");
    let receiver = receiver(&runtime, "a");
    let mut queue = Queue::new();
    queue.greet(&["a", "b", "c"], 0);
    let _first = queue.steal(1);
    assert!(queue.receive(&receiver));
    drop(last.accept());
    let back = Next::start(&runtime, "b");
    let _second = queue.steal(1);
    assert!(queue.receive(&receiver));
    assert_eq!(back.accept().flows.len(), 1);
    // It came to c by way of b, which was named only once.
    assert_eq!((last.accept().flows.len(), count(&receiver.stats.skipped)), (1, 1));
    assert!(last.is_left_alone());
}

#[test]
fn a_module_that_was_started_again_is_found_and_nothing_is_lost() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let receiver = receiver(&runtime, "a");
    let mut queue = Queue::new();
    queue.greet(&["a", "b"], 0);
    let old = Next::start(&runtime, "b");
    let _first = queue.steal(1);
    assert!(queue.receive(&receiver));
    drop(old.accept());
    drop(old);
    let new = Next::start(&runtime, "b");
    let _second = queue.steal(1);
    assert!(queue.receive(&receiver));
    assert_eq!((new.accept().flows.len(), count(&receiver.stats.skipped)), (1, 0));
    assert!(queue.flows.iter().all(|flow| !flow.right_is_tcp));
}

#[test]
fn a_module_that_died_is_passed_over_from_the_next_flow_on() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let receiver = receiver(&runtime, "a");
    let mut queue = Queue::new();
    queue.greet(&["a", "b"], 0);
    let next = Next::start(&runtime, "b");
    let _first = queue.steal(1);
    assert!(queue.receive(&receiver));
    drop(next.accept());
    drop(next);
    let mut parcel = queue.steal(1);
    assert!(queue.receive(&receiver));
    assert!(queue.flows[1].right_is_tcp && are_joined(&queue.flows[1].right, &mut parcel.kept[1]));
    assert_eq!(count(&receiver.stats.skipped), 1);
}

#[test]
fn fail_closed_refuses_what_the_chain_cannot_take() {
    let scratch = Scratch::new();
    let receiver = receiver(&scratch.runtime(), "a");
    let mut queue = Queue::new();
    send(&queue.shim, &hello_message(&Hello { flags: HELLO_FAIL_CLOSED, ..hello(&["a", "b"], 0) }), &[]);
    let mut parcel = queue.steal(2);
    assert!(queue.receive(&receiver));
    assert_eq!((queue.flows.len(), count(&receiver.stats.refused)), (0, 2));
    assert_eq!(parcel.held(), [false; 4]);
}

#[test]
fn fail_closed_travels_along_the_chain() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let next = Next::start(&runtime, "b");
    let receiver = receiver(&runtime, "a");
    let mut queue = Queue::new();
    send(&queue.shim, &hello_message(&Hello { flags: HELLO_FAIL_CLOSED, ..hello(&["a", "b", "c"], 0) }), &[]);
    let mut parcel = queue.steal(1);
    assert!(queue.receive(&receiver));
    let theirs = next.accept();
    assert_eq!((theirs.flows.len(), count(&next.receiver.stats.refused)), (0, 1));
    // We still hold our pair; its next end is closed, so the flow ends here too.
    assert_eq!(parcel.held(), [true, false]);
}

#[test]
fn a_changed_chain_counts_for_the_flows_after_it() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let (b, c) = (Next::start(&runtime, "b"), Next::start(&runtime, "c"));
    let receiver = receiver(&runtime, "a");
    let mut queue = Queue::new();
    // All in one batch: two flows by way of b, one by way of c, one to nobody else.
    queue.greet(&["a", "b"], 0);
    let _to_b = queue.steal(2);
    queue.greet(&["a", "c"], 0);
    let _to_c = queue.steal(1);
    queue.greet(&["a"], 0);
    let _to_none = queue.steal(1);
    assert!(queue.receive(&receiver));
    assert_eq!((b.accept().flows.len(), c.accept().flows.len()), (2, 1));
    let ours: Vec<bool> = queue.flows.iter().map(|flow| flow.right_is_tcp).collect();
    assert_eq!(ours, [false, false, false, true]);
}
