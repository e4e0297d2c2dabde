//! Writes by the area and by the socket, in every interleaving with the module's reads, by loom (`make loom`).
//!
//! A write is a number; each thread of the client counts its own up. The socket is a list behind a lock, as in [`crate::models`]; the area's
//! bytes are such a list. After all threads have stopped the module works off what has woken it: what it has not got then would be lost.

use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

use crate::inline::{self, No};
use crate::memory::{HasMemory, Memory};
use crate::shared::Shared;
use crate::{bell, word};

/// One slot, its socket, its area, and what wakes the module.
#[derive(Default)]
struct World {
    memory: Memory,
    area: Mutex<[u32; 4]>,
    socket: Mutex<Vec<u32>>,
    unread: AtomicUsize,
    /// What the client has counted.
    written: AtomicU32,
    event: AtomicBool,
    rung: AtomicBool,
}

impl HasMemory for World {
    fn memory(&self) -> &Memory {
        &self.memory
    }
}

impl World {
    /// By the socket; `told`: the client's shim sees it.
    fn send(&self, number: u32, told: bool) {
        let mut socket = self.socket.lock().unwrap();
        socket.push(number);
        self.unread.fetch_add(1, Ordering::Relaxed);
        drop(socket);
        self.event.swap(true, Ordering::AcqRel);
        if told {
            self.written.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// By the area, where that can be.
    fn write(&self, number: u32) -> Result<(), No> {
        let written = self.written.load(Ordering::Relaxed);
        let is_unread = || self.unread.load(Ordering::Relaxed) > 0;
        let done = inline::begin(self, 0, 1, written, is_unread).and_then(|room| {
            self.area.lock().unwrap()[room.at()] = number;
            room.publish(self, 1)
        });
        match done {
            Ok(()) if bell::ring(self, 0) => {
                self.rung.swap(true, Ordering::AcqRel);
            }
            Ok(()) => {}
            Err(_) => self.send(number, true),
        }
        done
    }
}

/// What it has got.
#[derive(Default)]
struct Module {
    got: Vec<u32>,
    /// Read from the socket, and to be given behind what was given last.
    behind: Vec<u32>,
    taken: u32,
    over: bool,
}

impl Module {
    /// One turn: whether anything had woken it.
    fn turn(&mut self, world: &World) -> bool {
        let mut woken = world.event.swap(false, Ordering::AcqRel);
        if world.rung.swap(false, Ordering::AcqRel) {
            bell::hear(world, |_| woken = true);
        }
        while woken && self.read(world) {}
        woken
    }

    /// One read: whether there may be more. The steps of `engine/worker` in their order.
    fn read(&mut self, world: &World) -> bool {
        let closed = word::is_closed(world.word(0));
        if !self.behind.is_empty() {
            self.got.append(&mut self.behind);
            self.take(world);
            return true;
        }
        if self.take(world) {
            return true;
        }
        inline::enter(world, 0);
        let mut socket = world.socket.lock().unwrap();
        world.unread.fetch_sub(socket.len(), Ordering::Release);
        let bytes = std::mem::take(&mut *socket);
        drop(socket);
        let before = self.taken;
        self.taken += bytes.len() as u32;
        world.taken(0).store(self.taken, Ordering::Relaxed);
        inline::leave(world, 0);
        if bytes.is_empty() {
            self.over |= closed;
            return !closed && word::is_closed_now(world.word(0));
        }
        if inline::goes_before(world, 0, before) && self.take(world) {
            self.behind = bytes;
        } else {
            self.got.extend(bytes);
        }
        true
    }

    fn take(&mut self, world: &World) -> bool {
        let Some(count) = inline::take(world, 0) else { return false };
        self.got.extend(&world.area.lock().unwrap()[..count]);
        inline::free(world, 0);
        true
    }
}

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// `clients` run beside the module; what it has got in the end.
fn run(turns: usize, clients: Vec<fn(&World)>) -> Module {
    let world = Arc::new(World::default());
    let threads: Vec<_> = clients
        .into_iter()
        .map(|client| {
            let world = Arc::clone(&world);
            thread::spawn(move || client(&world))
        })
        .collect();
    let mut module = Module::default();
    for _ in 0..turns {
        module.turn(&world);
    }
    for thread in threads {
        thread.join().unwrap();
    }
    while module.turn(&world) {}
    module
}

#[test]
fn one_thread_that_writes_both_ways_is_heard_in_its_order() {
    check(|| {
        let client: fn(&World) = |world| {
            world.send(1, true);
            let _ = world.write(2);
            world.send(3, true);
            let _ = world.write(4);
        };
        assert_eq!(run(2, vec![client]).got, [1, 2, 3, 4]);
    });
}

#[test]
fn what_is_written_past_the_shim_keeps_its_place() {
    check(|| {
        let client: fn(&World) = |world| {
            let _ = world.write(1);
            world.send(2, false);
            let _ = world.write(3);
        };
        assert_eq!(run(2, vec![client]).got, [1, 2, 3]);
    });
}

#[test]
fn two_threads_each_keep_their_order() {
    check(|| {
        let one: fn(&World) = |world| {
            let _ = world.write(1);
            let _ = world.write(2);
        };
        let other: fn(&World) = |world| {
            world.send(11, true);
            let _ = world.write(12);
        };
        let got = run(2, vec![one, other]).got;
        let of = |least: u32| got.iter().copied().filter(|n| (*n > 10) == (least > 10)).collect::<Vec<_>>();
        assert_eq!((of(1), of(11)), (vec![1, 2], vec![11, 12]), "{got:?}");
    });
}

#[test]
fn a_close_behind_bytes_in_the_area_is_not_missed() {
    check(|| {
        let client: fn(&World) = |world| {
            let _ = world.write(1);
            assert!(word::close(world.word(0), false));
            let is_unread = inline::is_full(world, 0) || world.unread.load(Ordering::Relaxed) > 0;
            if !is_unread && bell::ring(world, 0) {
                world.rung.swap(true, Ordering::AcqRel);
            }
        };
        let module = run(2, vec![client]);
        assert_eq!((module.got.as_slice(), module.over), (&[1][..], true));
    });
}
