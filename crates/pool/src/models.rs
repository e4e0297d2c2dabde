//! Client and module on one slot in every interleaving, by loom (`make loom`); and either dying at any step.
//!
//! A socket is two counters of bytes, which the kernel changes with its lock held and tells without: `SIOCOUTQ` reads what
//! a plain atomic holds. What wakes the module is a flag: set by a write, by the bell, by a hang-up. A flow's bytes
//! carry its number. After both threads have stopped, whatever woke the module is worked off: what is not over
//! then would wait for ever.

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

use crate::book::{Book, Fate, Lease, System, Tally};
use crate::memory::{HasMemory, Memory};
use crate::shared::Shared;
use crate::{bell, word};
use modnet_abi::pool::{DONE, FREE};

const NEAR: i32 = 7;

/// One direction of a pair.
struct Way {
    bytes: Mutex<Vec<u32>>,
    waiting: AtomicUsize,
}

impl Way {
    fn new() -> Self {
        Self { bytes: Mutex::new(Vec::new()), waiting: AtomicUsize::new(0) }
    }
    fn write(&self, byte: u32) {
        let mut bytes = self.bytes.lock().unwrap();
        bytes.push(byte);
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }
    fn read(&self) -> Vec<u32> {
        let mut bytes = self.bytes.lock().unwrap();
        self.waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
        std::mem::take(&mut *bytes)
    }
    fn is_unread(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

/// Shared memory, one pair, and what wakes the module.
struct World {
    counts: bool,
    memory: Memory,
    out: Way,
    back: Way,
    event: AtomicBool,
    rung: AtomicBool,
    hung_up: AtomicBool,
    near_closed: AtomicUsize,
    begins: Mutex<Vec<u32>>,
}

impl World {
    fn new() -> Arc<Self> {
        Self::whose_client(false)
    }

    /// One whose client counts, or not.
    fn whose_client(counts: bool) -> Arc<Self> {
        Arc::new(Self {
            counts,
            memory: Memory::default(),
            out: Way::new(),
            back: Way::new(),
            event: AtomicBool::new(false),
            rung: AtomicBool::new(false),
            hung_up: AtomicBool::new(false),
            near_closed: AtomicUsize::new(0),
            begins: Mutex::new(Vec::new()),
        })
    }

    /// The client writes.
    fn write(&self, flow: u32) {
        self.out.write(flow);
        self.event.swap(true, Ordering::AcqRel);
    }

    /// The kernel, when near is closed or the client has died.
    fn hang_up(&self) {
        self.hung_up.swap(true, Ordering::AcqRel);
        self.event.swap(true, Ordering::AcqRel);
    }
}

impl HasMemory for World {
    fn memory(&self) -> &Memory {
        &self.memory
    }
}

impl System for World {
    fn close(&self, fd: i32) {
        if fd == NEAR {
            assert_eq!(self.near_closed.fetch_add(1, Ordering::AcqRel), 0, "closed twice");
            self.hang_up();
        }
    }
    fn holds_bytes(&self, fd: i32) -> bool {
        // Who counts believes the module, as `engine/steal/towards` does.
        !self.counts && fd == NEAR && (self.out.is_unread() || self.back.is_unread())
    }
    fn is_unread(&self, _fd: i32) -> bool {
        self.out.is_unread()
    }
    fn is_hung_up(&self, _fd: i32) -> bool {
        false
    }
    fn ring(&self) {
        self.rung.swap(true, Ordering::AcqRel);
    }
    fn count(&self, _fate: Fate) {}
}

/// What the module knows of its one pair: the steps of `engine/worker` in their order.
#[derive(Default)]
struct Module {
    flow: Option<u32>,
    dirty: bool,
    left_closed: bool,
    ended: Vec<u32>,
    /// Bytes read and written, of this pair.
    taken: u32,
    given: u32,
    answers: bool,
    /// Steps until it dies.
    steps: Option<usize>,
}

impl Module {
    fn dies(&mut self) -> bool {
        match &mut self.steps {
            Some(0) => true,
            Some(steps) => {
                *steps -= 1;
                false
            }
            None => false,
        }
    }

    /// One turn of its loop: what has woken it, then what it has to do.
    fn turn(&mut self, world: &World) -> bool {
        let mut woken = world.event.swap(false, Ordering::AcqRel);
        if self.dies() {
            return false;
        }
        if world.rung.swap(false, Ordering::AcqRel) {
            bell::hear(world, |slot| woken |= slot == 0);
        }
        if let Some(flow) = world.begins.lock().unwrap().pop() {
            assert!(self.flow.is_none() && !self.left_closed, "a BEGIN for a pair that is busy or gone");
            self.flow = Some(flow);
            woken = true;
        }
        if woken {
            self.pump(world);
        }
        woken
    }

    fn pump(&mut self, world: &World) {
        while let Some(flow) = self.flow {
            let hung_up = world.hung_up.load(Ordering::Acquire);
            let closed = !self.dirty && word::is_closed(world.word(0));
            if self.dies() {
                return;
            }
            let counted = closed && word::is_counted(world.word(0));
            let read_all = counted && world.sent(0).load(Ordering::Relaxed) == self.taken;
            for byte in world.out.read() {
                assert!(!read_all, "the client has written more than it says");
                assert_eq!(byte, flow, "a byte of another flow");
                self.taken += 1;
                world.taken(0).store(self.taken, Ordering::Relaxed);
            }
            if self.dies() {
                return;
            }
            if hung_up || closed {
                self.flow = None;
                self.ended.push(flow);
                let unread = if word::is_counted(world.word(0)) {
                    world.heard(0).load(Ordering::Relaxed) != self.given
                } else {
                    world.back.is_unread()
                };
                if hung_up || unread {
                    self.close_left(world);
                } else {
                    word::done(world.word(0));
                }
                return;
            }
            if self.answers {
                self.answers = false;
                self.given += 1;
                world.back.write(flow);
            }
            if self.dirty || !word::is_closed_now(world.word(0)) {
                return;
            }
        }
        if world.hung_up.load(Ordering::Acquire) && !self.left_closed && word::withdraw(world.word(0)) {
            self.left_closed = true;
        }
    }

    /// The network's end has come in; without a flow there is none whom it could belong to.
    fn network_ends(&mut self, world: &World) {
        if self.flow.is_some() {
            self.dirty = word::half_close(world.word(0));
            self.pump(world);
        }
    }

    fn close_left(&mut self, world: &World) {
        self.left_closed = true;
        word::free(world.word(0));
    }

    fn work_off(&mut self, world: &World) {
        while self.turn(world) {}
    }
}

/// What a client that counts says; None: one that does not.
fn tally(counts: bool, written: u32) -> Option<Tally> {
    counts.then_some(Tally { written, read: 0 })
}

fn begin(world: &World, book: &Book) -> Lease {
    let taken = book.take(world, world).unwrap();
    assert!(taken.near.is_none() && taken.lease.slot() == 0);
    world.begins.lock().unwrap().push(1);
    taken.lease
}

#[test]
fn no_close_is_lost() {
    for counts in [false, true] {
        no_close_is_lost_where(counts);
    }
}

fn no_close_is_lost_where(counts: bool) {
    loom::model(move || {
        let world = World::whose_client(counts);
        let book = Book::new();
        let lease = begin(&world, &book);
        let theirs = Arc::clone(&world);
        let module = thread::spawn(move || {
            let mut module = Module::default();
            module.turn(&theirs);
            module.turn(&theirs);
            module
        });
        world.write(1);
        book.close(&*world, lease, NEAR, tally(counts, 1), &*world);
        let mut module = module.join().unwrap();
        module.work_off(&world);
        assert_eq!((module.ended, world.word(0).load(Ordering::Relaxed)), (vec![1], DONE));
    });
}

#[test]
fn a_pair_is_used_again_only_when_it_is_clean() {
    for (answers, counts) in [(false, false), (false, true), (true, false), (true, true)] {
        loom::model(move || {
            let world = World::whose_client(counts);
            let book = Book::new();
            let lease = begin(&world, &book);
            let theirs = Arc::clone(&world);
            let module = thread::spawn(move || {
                let mut module = Module { answers, ..Module::default() };
                module.turn(&theirs);
                module.turn(&theirs);
                module
            });
            book.close(&*world, lease, NEAR, tally(counts, 0), &*world);
            let again = book.take(&*world, &*world).unwrap();
            let reused = again.near.is_some();
            if reused {
                assert!(!world.back.is_unread(), "the next flow would read what was for the last");
                world.begins.lock().unwrap().push(2);
                world.write(2);
                book.close(&*world, again.lease, NEAR, tally(counts, 1), &*world);
            } else {
                // Of the other slot, which nobody uses here.
                book.undo(&*world, again, &*world);
            }
            let mut module = module.join().unwrap();
            module.work_off(&world);
            assert_eq!(module.ended, if reused { vec![1, 2] } else { vec![1] });
            assert!(module.flow.is_none());
            book.end(&*world);
            module.work_off(&world);
            assert_eq!(world.near_closed.load(Ordering::Relaxed), 1);
            assert!(module.left_closed || world.word(0).load(Ordering::Relaxed) == DONE);
        });
    }
}

#[test]
fn the_networks_end_and_the_applications_close_agree_who_was_first() {
    loom::model(|| {
        let world = World::new();
        let book = Book::new();
        let lease = begin(&world, &book);
        let theirs = Arc::clone(&world);
        let module = thread::spawn(move || {
            let mut module = Module::default();
            module.turn(&theirs);
            module.network_ends(&theirs);
            module.turn(&theirs);
            module
        });
        world.write(1);
        book.close(&*world, lease, NEAR, None, &*world);
        let mut module = module.join().unwrap();
        module.work_off(&world);
        assert_eq!(module.ended, [1]);
        let closed = world.near_closed.load(Ordering::Relaxed) == 1;
        assert_eq!((module.dirty, module.dirty), (closed, module.left_closed));
        book.harvest(&*world, &*world, 1);
        let again = book.take(&*world, &*world).unwrap();
        assert_eq!(again.near.is_some(), !module.dirty);
        // A slot that came back begins with nothing set.
        assert_eq!(world.word(again.lease.slot() as usize).load(Ordering::Relaxed), 0);
    });
}

#[test]
fn an_idle_pair_goes_to_one_of_both() {
    loom::model(|| {
        let world = World::new();
        let book = Book::new();
        let lease = begin(&world, &book);
        world.begins.lock().unwrap().clear();
        book.close(&*world, lease, NEAR, None, &*world);
        word::done(world.word(0));
        let theirs = Arc::clone(&world);
        let module = thread::spawn(move || word::withdraw(theirs.word(0)));
        let reused = book.take(&*world, &*world).unwrap().near.is_some();
        let withdrawn = module.join().unwrap();
        assert_ne!(reused, withdrawn);
        assert_eq!(world.near_closed.load(Ordering::Relaxed), usize::from(withdrawn));
    });
}

#[test]
fn a_client_that_dies_at_any_step_leaves_no_flow_behind() {
    for last in 0..5 {
        loom::model(move || {
            let world = World::new();
            world.begins.lock().unwrap().push(1);
            let theirs = Arc::clone(&world);
            let module = thread::spawn(move || {
                let mut module = Module::default();
                module.turn(&theirs);
                module.turn(&theirs);
                module
            });
            // The steps of `Book::close`.
            let steps: [&dyn Fn(); 4] = [
                &|| world.write(1),
                &|| assert!(word::close(world.word(0), false)),
                &|| assert!(bell::ring(&*world, 0)),
                &|| System::ring(&*world),
            ];
            for step in &steps[..last] {
                step();
            }
            world.hang_up();
            let mut module = module.join().unwrap();
            module.work_off(&world);
            assert_eq!((module.ended.len(), module.left_closed), (1, true));
            assert_ne!(world.word(0).load(Ordering::Relaxed) & FREE, 0);
        });
    }
}

#[test]
fn a_module_that_dies_at_any_step_leaves_no_descriptor_behind() {
    for steps in 0..6 {
        loom::model(move || {
            let world = World::new();
            let book = Book::new();
            let lease = begin(&world, &book);
            let theirs = Arc::clone(&world);
            let module = thread::spawn(move || {
                let mut module = Module { steps: Some(steps), ..Module::default() };
                module.turn(&theirs);
                module.turn(&theirs);
            });
            world.write(1);
            book.close(&*world, lease, NEAR, None, &*world);
            // Idle or pending: the client finds the connection broken and ends the book.
            book.harvest(&*world, &*world, 1);
            module.join().unwrap();
            book.end(&*world);
            assert_eq!(world.near_closed.load(Ordering::Relaxed), 1);
            assert!(book.take(&*world, &*world).is_none());
        });
    }
}

#[test]
fn two_threads_never_get_the_same_slot() {
    loom::model(|| {
        let world = World::new();
        let book = Arc::new(Book::new());
        let lease = begin(&world, &book);
        book.close(&*world, lease, NEAR, None, &*world);
        word::done(world.word(0));
        book.harvest(&*world, &*world, 1);
        let (their_world, their_book) = (Arc::clone(&world), Arc::clone(&book));
        let other = thread::spawn(move || their_book.take(&*their_world, &*their_world));
        let mine = book.take(&*world, &*world).unwrap();
        let theirs = other.join().unwrap().unwrap();
        assert_ne!(mine.lease.slot(), theirs.lease.slot());
        assert_ne!(mine.near.is_some(), theirs.near.is_some());
    });
}

#[test]
fn a_close_beside_the_end_keeps_nothing() {
    loom::model(|| {
        let world = World::new();
        let book = Arc::new(Book::new());
        let lease = begin(&world, &book);
        let (their_world, their_book) = (Arc::clone(&world), Arc::clone(&book));
        let other = thread::spawn(move || their_book.end(&*their_world));
        book.close(&*world, lease, NEAR, None, &*world);
        other.join().unwrap();
        assert_eq!((world.near_closed.load(Ordering::Relaxed), book.kept()), (1, 0));
    });
}
