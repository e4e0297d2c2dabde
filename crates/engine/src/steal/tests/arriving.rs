//! Messages and HELLOs, right and wrong.

use modnet_abi::steal::{MAX_ENTRIES, MAX_FDS, WITH_BYTES, WITH_REAL};

use super::*;
use crate::scratch::Scratch;
use crate::steal::inbox::{Message, State};

/// What one message becomes.
fn read(bytes: &[u8], parcel: &Parcel) -> (Vec<&'static str>, Vec<OwnedFd>) {
    let (shim, module) = connection();
    send(&shim, bytes, &parcel.raw());
    let (mut kinds, mut fds) = (Vec::new(), Vec::new());
    let state = Inbox::default().receive(&module, usize::MAX, |message| match message {
        Message::Hello(..) => kinds.push("hello"),
        Message::New { left, right, .. } => {
            kinds.push("new");
            fds.extend([left, right]);
        }
        Message::Begin { right, .. } => {
            kinds.push("begin");
            fds.push(right);
        }
        Message::Lost(_) => kinds.push("lost"),
        Message::Yield { left, right, real, bytes, .. } => {
            kinds.push("yield");
            fds.extend([left, right].into_iter().chain(real).chain(bytes));
        }
        Message::NotUnderstood => kinds.push("?"),
    });
    assert_eq!(state, State::Drained);
    (kinds, fds)
}

#[test]
fn a_message_of_many_flows_brings_each_its_own_sockets() {
    let mut parcel = Parcel::new(MAX_FDS);
    let (kinds, fds) = read(&entry(NEW).repeat(MAX_ENTRIES), &parcel);
    assert_eq!(kinds, ["new"; MAX_ENTRIES]);
    for (fd, kept) in fds.into_iter().zip(&parcel.kept) {
        // SAFETY: a plain system call on a descriptor that is open.
        assert_ne!(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) } & libc::FD_CLOEXEC, 0);
        std::io::Write::write_all(&mut UnixStream::from(fd), b"x").unwrap();
        let mut byte = [0];
        (&*kept).read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }
    assert_eq!(parcel.held(), [false; MAX_FDS]);
}

#[test]
fn a_yielded_flow_brings_what_its_message_says() {
    for (flags, fds, expected) in [
        (0, 2, 2),
        (0, 4, 2),
        (WITH_REAL, 3, 3),
        (WITH_BYTES, 3, 3),
        (WITH_REAL | WITH_BYTES, 4, 4),
        (WITH_REAL | WITH_BYTES, 3, 0),
        (WITH_REAL, 2, 0),
        (0, 1, 0),
        (0, 0, 0),
    ] {
        let mut parcel = Parcel::new(fds);
        let (kinds, got) = read(&yield_message(&Yielded { flags, ..Yielded::default() }), &parcel);
        assert_eq!(kinds, if expected == 0 { ["?"] } else { ["yield"] }, "{flags} {fds}");
        let used = got.len();
        assert_eq!(used, expected, "{flags} {fds}");
        let held = parcel.held();
        assert!(
            held[..used].iter().all(|held| *held) && held[used..].iter().all(|held| !held),
            "{flags} {fds}"
        );
    }
}

#[test]
fn a_yielded_flow_of_nobody_or_with_wrong_bytes_is_closed_and_counted() {
    let scratch = Scratch::new();
    let receiver = receiver(&scratch.runtime(), "m");
    let mut queue = Queue::new();
    let mut parcel = Parcel::new(2);
    send(&queue.shim, &yield_message(&Yielded::default()), &parcel.raw());
    assert!(queue.receive(&receiver));
    assert_eq!((parcel.held(), count(&receiver.stats.not_understood)), (vec![false; 2], 1));
    queue.greet(&["m"], 0);
    let mut parcel = Parcel::new(2);
    send(
        &queue.shim,
        &yield_message(&Yielded { lengths: [1, 0, 0, 0, 0], ..Yielded::default() }),
        &parcel.raw(),
    );
    assert!(queue.receive(&receiver));
    assert_eq!((parcel.held(), count(&receiver.stats.not_understood)), (vec![false; 2], 2));
    let mut parcel = Parcel::new(2);
    send(&queue.shim, &yield_message(&Yielded::default()), &parcel.raw());
    assert!(queue.receive(&receiver));
    assert_eq!((parcel.held(), queue.flows.len()), (vec![true; 2], 1));
}

#[test]
fn too_few_and_too_many_descriptors_are_closed() {
    for (entries, fds, kinds) in [
        (1, 0, vec!["?"]),
        (1, 1, vec!["?"]),
        (1, 3, vec!["new"]),
        (2, 3, vec!["new", "?"]),
        (0, 2, vec!["?"]),
    ] {
        let mut parcel = Parcel::new(fds);
        let bytes = if entries == 0 { b"odd".to_vec() } else { entry(NEW).repeat(entries) };
        let (actual, flows) = read(&bytes, &parcel);
        assert_eq!(actual, kinds, "{entries} entries, {fds} descriptors");
        let used = flows.len();
        let expected: Vec<bool> = (0..fds).map(|n| n < used).collect();
        assert_eq!(parcel.held(), expected);
        drop(flows);
        assert_eq!(parcel.held(), vec![false; fds]);
    }
}

#[test]
fn more_descriptors_than_a_message_may_have_are_closed_all() {
    let mut parcel = Parcel::new(200);
    let (kinds, flows) = read(&entry(NEW), &parcel);
    assert_eq!((kinds, flows.len()), (vec!["?"], 0));
    assert_eq!(parcel.held(), [false; 200]);
}

#[test]
fn a_message_that_is_too_long_is_not_half_understood() {
    let mut parcel = Parcel::new(2);
    let (kinds, flows) = read(&entry(NEW).repeat(4 * MAX_ENTRIES), &parcel);
    assert_eq!((kinds, flows.len()), (vec!["?"], 0));
    assert_eq!(parcel.held(), [false; 2]);
}

#[test]
fn behind_an_unknown_entry_nothing_is_believed() {
    let mut parcel = Parcel::new(6);
    let (kinds, flows) = read(&[entry(NEW), entry(9), entry(NEW)].concat(), &parcel);
    assert_eq!(kinds, ["new", "?"]);
    assert_eq!(parcel.held(), [true, true, false, false, false, false]);
    drop(flows);
}

#[test]
fn a_hello_with_descriptors_keeps_none() {
    let mut parcel = Parcel::new(3);
    let (kinds, _) = read(&hello_message(&hello(&["m"], 0)), &parcel);
    assert_eq!(kinds, ["hello"]);
    assert_eq!(parcel.held(), [false; 3]);
}

#[test]
fn no_message_whatsoever_leaks_a_descriptor() {
    let mut state = 0x1234_5678_u32;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize
    };
    let greeting = hello_message(&hello(&["m"], 0));
    for _ in 0..400 {
        let fds = random() % 12;
        let mut parcel = Parcel::new(fds);
        let bytes: Vec<u8> = match random() % 3 {
            // Noise; a HELLO cut off; entries of any kind, the last one perhaps cut off.
            0 => (0..=random() % 700).map(|_| random() as u8).collect(),
            1 => greeting[..=random() % greeting.len()].to_vec(),
            _ => {
                let entries = 1 + random() % 6;
                let mut all: Vec<u8> = (0..entries).flat_map(|_| entry((random() % 5) as u32)).collect();
                all.truncate(all.len() - random() % 2 * 3);
                all
            }
        };
        let (kinds, flows) = read(&bytes, &parcel);
        assert!(!kinds.is_empty(), "a message is something, or not understood");
        assert_eq!(parcel.held().iter().filter(|held| **held).count(), flows.len());
        drop(flows);
        assert_eq!(parcel.held(), vec![false; fds]);
    }
}

#[test]
fn behind_an_empty_message_descriptors_are_closed_too() {
    // An empty message looks like the end of the connection, but others may stand behind it in the same batch.
    let scratch = Scratch::new();
    let receiver = receiver(&scratch.runtime(), "m");
    let mut queue = Queue::new();
    queue.greet(&["m"], 0);
    let mut parcel = Parcel::new(2);
    send(&queue.shim, &[], &parcel.raw());
    let mut behind = queue.steal(2);
    assert!(!queue.receive(&receiver));
    assert_eq!(queue.flows.len(), 0);
    drop(queue);
    assert_eq!((parcel.held(), behind.held()), (vec![false; 2], vec![false; 4]));
}

#[test]
fn flows_come_with_the_origin_of_the_hello_before_them() {
    let scratch = Scratch::new();
    let receiver = receiver(&scratch.runtime(), "m");
    let mut queue = Queue::new();
    queue.greet(&["m"], 0);
    let _first = queue.steal(2);
    let _second = queue.steal(1);
    assert!(queue.receive(&receiver));
    assert_eq!(queue.flows.len(), 3);
    let origin = &queue.flows[2].origin;
    assert_eq!((origin.application, &origin.chain[..], origin.position), (77, &["m".to_owned()][..], 0));
    assert!(queue.flows.iter().all(|flow| flow.right_is_tcp));
}

#[test]
fn a_burst_of_more_messages_than_one_call_takes_comes_whole() {
    let scratch = Scratch::new();
    let receiver = receiver(&scratch.runtime(), "m");
    let mut queue = Queue::new();
    queue.greet(&["m"], 0);
    let parcels: Vec<Parcel> = (0..100).map(|_| queue.steal(1)).collect();
    assert!(queue.receive(&receiver));
    assert_eq!(queue.flows.len(), parcels.len());
}

#[test]
fn what_was_sent_before_the_peer_went_is_still_taken() {
    let scratch = Scratch::new();
    let receiver = receiver(&scratch.runtime(), "m");
    let mut queue = Queue::new();
    queue.greet(&["m"], 0);
    let _parcel = queue.steal(2);
    queue.shim = connection().0;
    assert!(!queue.receive(&receiver), "the peer has gone");
    assert_eq!(queue.flows.len(), 2);
}

#[test]
fn a_wrong_hello_ends_the_connection_and_its_flows_are_closed() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let good = hello(&["m", "n"], 0);
    let mut bad_name = good;
    bad_name.chain[1] = [b'/'; 32];
    let wrong = [
        Hello { version: STEAL_VERSION + 1, ..good },
        // The memory and the bell did not come along.
        Hello { flags: POOLED, ..good },
        Hello { position: 2, ..good },
        Hello { position: 1, ..good },
        Hello { length: 0, ..good },
        Hello { length: 17, ..good },
        Hello { until: 0, ..good },
        Hello { until: 3, ..good },
        Hello { length: u32::MAX, position: u32::MAX, ..good },
        bad_name,
    ];
    for hello in wrong {
        let receiver = receiver(&runtime, "m");
        let mut queue = Queue::new();
        send(&queue.shim, &hello_message(&hello), &[]);
        let mut parcel = queue.steal(1);
        assert!(!queue.receive(&receiver), "{hello:?}");
        assert_eq!((queue.flows.len(), count(&receiver.stats.unwelcome)), (0, 1), "{hello:?}");
        assert_eq!(parcel.held(), [false; 2]);
    }
}

#[test]
fn flows_without_a_hello_are_closed_and_counted() {
    let scratch = Scratch::new();
    let receiver = receiver(&scratch.runtime(), "m");
    let mut queue = Queue::new();
    let mut parcel = queue.steal(2);
    assert!(queue.receive(&receiver));
    assert_eq!((queue.flows.len(), count(&receiver.stats.not_understood)), (0, 2));
    assert_eq!(parcel.held(), [false; 4]);
}
