//! Small writes in shared memory, as a client makes them that also writes to the socket: this test is the client.

use modnet_abi::pool::{AREAS, AREA_BYTES, DIRTY, DONE, FREE};
use modnet_pool::{bell, inline, Shared as _};

use super::pooled::{until, Client};
use super::*;
use crate::worker::pipe::FIRST;

/// The client's side of one flow, which counts what it writes to the socket.
struct Writer<'a> {
    client: &'a Client,
    slot: usize,
    written: u32,
    inline: usize,
}

impl<'a> Writer<'a> {
    fn new(client: &'a Client, slot: usize) -> Self {
        let written = client.page.taken(slot).load(Ordering::Relaxed);
        Self { client, slot, written, inline: 0 }
    }

    /// By the socket; `told`: it is counted.
    fn send(&mut self, near: &mut UnixStream, bytes: &[u8], told: bool) {
        near.write_all(bytes).unwrap();
        self.written = self.written.wrapping_add(if told { bytes.len() as u32 } else { 0 });
    }

    /// By the area, if that can be.
    fn put(&mut self, near: &UnixStream, bytes: &[u8]) -> bool {
        let page = &*self.client.page;
        let is_unread = || sock::unsent(near.as_fd()).is_none_or(|count| count > 0);
        let Ok(room) = inline::begin(page, self.slot, bytes.len(), self.written, is_unread) else {
            return false;
        };
        self.client.page.copy_in(self.slot, room.at(), bytes);
        let done = room.publish(page, bytes.len()).is_ok();
        if done && bell::ring(page, self.slot) {
            self.client.bell.ring();
        }
        self.inline += usize::from(done);
        done
    }

    /// By the area, as soon as that can be.
    fn put_soon(&mut self, near: &UnixStream, bytes: &[u8]) {
        until("the area is free", || self.put(near, bytes));
    }
}

fn random(state: &mut u32) -> usize {
    *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    (*state >> 8) as usize
}

#[test]
fn bytes_of_the_area_and_of_the_socket_keep_their_order() {
    let client = Client::start();
    let (mut near, mut network) = client.new_pair(0);
    let (mut state, mut inline) = (3, 0);
    for flow in 0..40u32 {
        let mut writer = Writer::new(&client, 0);
        let all: Vec<u8> = (0..200_000u32).map(|at| (at.wrapping_mul(31) >> 3 ^ flow) as u8).collect();
        std::thread::scope(|scope| {
            let got = scope.spawn(|| rest(&mut network));
            let mut at = 0;
            while at < all.len() {
                let most = if random(&mut state).is_multiple_of(20) { 100_000 } else { 1200 };
                let piece = &all[at..][..(1 + random(&mut state) % most).min(all.len() - at)];
                match random(&mut state) % 4 {
                    0 if piece.len() <= 1200 => writer.put_soon(&near, piece),
                    1 | 2 if writer.put(&near, piece) => {}
                    _ => writer.send(&mut near, piece, true),
                }
                at += piece.len();
            }
            client.close(0);
            assert!(got.join().unwrap() == all, "flow {flow}");
        });
        inline += writer.inline;
        client.await_bits(0, DONE);
        network = client.begin(0);
    }
    assert!(inline > 100, "{inline}");
    client.close(0);
    // The module hears of a close by word after the sockets of the same wait: a near that is closed as well would be no idle pair's.
    client.await_bits(0, DONE);
    drop((near, network));
    client.await_bits(0, DIRTY | FREE);
    client.end();
}

#[test]
fn a_body_of_the_socket_follows_its_head_of_the_area_whatever_its_size() {
    let client = Client::start();
    let (mut near, mut network) = client.new_pair(0);
    let sizes = [0, 1, 10_000, FIRST - 1, FIRST, FIRST + 1, 100_000, 2_000_000];
    for size in sizes.into_iter().cycle().take(10 * sizes.len()) {
        let mut writer = Writer::new(&client, 0);
        let body: Vec<u8> = (0..size).map(|at| ((at * 31) >> 3) as u8).collect();
        std::thread::scope(|scope| {
            let got = scope.spawn(|| rest(&mut network));
            writer.put_soon(&near, b"head ");
            writer.send(&mut near, &body, true);
            client.close(0);
            let got = got.join().unwrap();
            assert!(got.strip_prefix(b"head ") == Some(&body), "{size}");
        });
        client.await_bits(0, DONE);
        network = client.begin(0);
    }
    client.close(0);
    drop((near, network));
    client.end();
}

#[test]
fn writes_that_the_client_does_not_know_of_keep_their_place() {
    let client = Client::start();
    let (mut near, mut network) = client.new_pair(0);
    let mut writer = Writer::new(&client, 0);
    writer.put_soon(&near, b"one ");
    writer.send(&mut near, b"two ", false);
    assert!(!writer.put(&near, b"never"), "something was written past it");
    writer.send(&mut near, b"three", true);
    assert!(!writer.put(&near, b"never"));
    client.close(0);
    assert_eq!(rest(&mut network), b"one two three");
    drop(near);
    client.end();
}

#[test]
fn bytes_may_come_before_their_begin_and_be_all_there_is() {
    let client = Client::start();
    let (near, mut network) = client.new_pair(0);
    for round in 0..50u8 {
        client.close(0);
        assert_eq!(rest(&mut network), if round == 0 { vec![] } else { vec![round; 300] });
        client.await_bits(0, DONE);
        assert!(modnet_pool::word::again(client.page.word(0)));
        let mut writer = Writer::new(&client, 0);
        assert!(writer.put(&near, &[round + 1; 100]) && writer.put(&near, &[round + 1; 200]));
        network = client.send(0, None);
    }
    client.close(0);
    drop(near);
    client.end();
}

#[test]
fn what_a_client_has_written_before_it_died_arrives() {
    for more in [&b""[..], b" and the socket"] {
        let client = Client::start();
        let (mut near, mut network) = client.new_pair(0);
        let mut writer = Writer::new(&client, 0);
        assert!(writer.put(&near, b"the area"));
        near.write_all(more).unwrap();
        // In the middle of the next one.
        let room = inline::begin(&*client.page, 0, 1, 0, || false);
        drop((room, near));
        assert_eq!(rest(&mut network), [b"the area", more].concat());
        client.await_bits(0, DIRTY | FREE);
        client.end();
    }
}

#[test]
fn flows_that_can_be_revoked_get_what_lay_there_and_no_more() {
    let client = Client::start_with(Some(1 << 20), Arc::new(Forward));
    let (near, network) = client.new_pair(0);
    client.close(0);
    client.await_bits(0, DONE);
    drop(network);
    assert!(modnet_pool::word::again(client.page.word(0)));
    let mut writer = Writer::new(&client, 0);
    assert!(writer.put(&near, b"before its begin, "));
    let mut network = client.send(0, None);
    network.read_exact(&mut [0; 18]).unwrap();
    assert!(!writer.put(&near, b"never"));
    (&near).write_all(b"behind").unwrap();
    client.close(0);
    assert_eq!(rest(&mut network), b"behind");
    client.await_bits(0, DONE);
    drop(near);
    client.end();
}

#[test]
fn the_last_bytes_are_taken_back_wherever_they_lie() {
    let client = Client::start();
    let (mut near, mut network) = client.new_pair(0);
    let mut writer = Writer::new(&client, 0);
    let (flow, none) = client.take(&near, 5);
    assert_eq!(none, b"");
    writer.put_soon(&near, b"in the area, ");
    writer.send(&mut near, b"in the socket", true);
    assert_eq!(client.take(&near, 16), (flow, b"a, in the socket".to_vec()));
    client.module.tell(Order::Yank(Ask::Settle { flow, session: 7, taken: 16, hold: false }));
    client.close(0);
    assert_eq!(rest(&mut network), b"in the are");
    drop(near);
    client.end();
}

#[test]
fn an_area_can_be_read_in_small_pieces() {
    let client = Client::start_with(None, Sees::outbound(7, |data| assert!(data.len() <= 7)));
    let (mut near, mut network) = client.new_pair(AREAS - 1);
    let mut writer = Writer::new(&client, AREAS - 1);
    let bytes: Vec<u8> = (0..AREA_BYTES).map(|at| at as u8).collect();
    writer.put_soon(&near, &bytes[..1000]);
    writer.send(&mut near, &bytes[1000..2000], true);
    writer.put_soon(&near, &bytes[2000..]);
    client.close(AREAS - 1);
    assert_eq!(rest(&mut network), bytes);
    drop(near);
    client.end();
}

#[test]
fn rubbish_about_an_area_hurts_nobody_else() {
    let client = Client::start();
    let mut state = 11;
    for _ in 0..500 {
        let (mut near, network) = client.new_pair(2);
        network.set_nonblocking(true).unwrap();
        for _ in 0..4 {
            let bits = random(&mut state) as u32;
            let word = match random(&mut state) % 4 {
                0 => client.page.area(2),
                1 => client.page.stamp(2),
                2 => client.page.reading(2),
                _ => client.page.filling(2),
            };
            word.store(bits.rotate_left(random(&mut state) as u32 % 32), Ordering::Relaxed);
            if bell::ring(&*client.page, 2) {
                client.bell.ring();
            }
            near.write_all(&[1; 10]).unwrap();
        }
        drop((near, network));
        until("the slot is free", || client.bits(2) & FREE != 0);
    }
    client.end();
}
