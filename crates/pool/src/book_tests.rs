//! The client's half against a module that does what the test says, with numbers for descriptors.

use std::cell::RefCell;
use std::collections::BTreeSet;

use modnet_abi::pool::{CLOSED, DIRTY, DONE, FREE, ORDINARY};

use super::*;
use crate::atomic::AtomicU32;
use crate::inline::No;
use crate::memory::Memory;

/// Descriptors that are open, those with bytes in them, and what was counted.
#[derive(Default)]
struct Kernel {
    open: RefCell<BTreeSet<i32>>,
    unread: RefCell<BTreeSet<i32>>,
    hung_up: RefCell<BTreeSet<i32>>,
    rings: RefCell<usize>,
    fates: RefCell<Vec<Fate>>,
}

impl System for Kernel {
    fn close(&self, fd: i32) {
        assert!(self.open.borrow_mut().remove(&fd), "{fd} was closed already");
    }
    fn holds_bytes(&self, fd: i32) -> bool {
        self.unread.borrow().contains(&fd)
    }
    fn is_unread(&self, fd: i32) -> bool {
        self.unread.borrow().contains(&fd)
    }
    fn is_hung_up(&self, fd: i32) -> bool {
        self.hung_up.borrow().contains(&fd)
    }
    fn ring(&self) {
        *self.rings.borrow_mut() += 1;
    }
    fn count(&self, fate: Fate) {
        self.fates.borrow_mut().push(fate);
    }
}

struct Client {
    book: Book,
    page: Memory,
    kernel: Kernel,
    next: i32,
}

impl Client {
    fn new() -> Self {
        let page = Memory::default();
        for slot in &page.slots {
            slot.taken.store(7, Ordering::Relaxed);
        }
        Self { book: Book::new(), page, kernel: Kernel::default(), next: 100 }
    }

    /// A flow: its lease, its near socket, and whether that is a new pair's.
    fn begin(&mut self) -> (Lease, i32, bool) {
        let taken = self.book.take(&self.page, &self.kernel).unwrap();
        let near = taken.near.unwrap_or_else(|| {
            self.next += 1;
            self.kernel.open.borrow_mut().insert(self.next);
            self.next
        });
        (taken.lease, near, taken.near.is_none())
    }

    fn close(&self, lease: Lease, near: i32) {
        self.book.close(&self.page, lease, near, None, &self.kernel);
    }

    fn word(&self, slot: u32) -> &AtomicU32 {
        self.page.word(slot as usize)
    }

    fn bits(&self, slot: u32) -> u32 {
        self.word(slot).load(Ordering::Relaxed)
    }

    fn open(&self) -> usize {
        self.kernel.open.borrow().len()
    }

    fn fates(&self) -> Vec<Fate> {
        self.kernel.fates.take()
    }

    /// What the module hears.
    fn heard(&self) -> Vec<usize> {
        let mut slots = Vec::new();
        bell::hear(&self.page, |slot| slots.push(slot));
        slots
    }
}

#[test]
fn a_pair_carries_one_flow_after_another() {
    let mut client = Client::new();
    let (lease, near, new) = client.begin();
    let slot = lease.slot();
    assert!(new && client.bits(slot) == 0);
    client.close(lease, near);
    assert_eq!((client.bits(slot), client.heard()), (CLOSED, vec![slot as usize]));
    for _ in 0..3 {
        word::done(client.word(slot));
        let (lease, again, new) = client.begin();
        assert_eq!((lease.slot(), again, new, client.bits(slot)), (slot, near, false, 0));
        client.close(lease, again);
    }
    assert_eq!((client.open(), client.fates()), (1, vec![]));
}

#[test]
fn a_pair_that_the_module_still_has_is_not_used() {
    let mut client = Client::new();
    let (first, near, _) = client.begin();
    client.close(first, near);
    let (second, other, new) = client.begin();
    assert!(new && other != near);
    client.close(second, other);
    assert_eq!(client.open(), 2);
}

#[test]
fn a_pair_with_bytes_in_it_is_closed_and_its_slot_comes_back() {
    let mut client = Client::new();
    let (lease, near, _) = client.begin();
    let slot = lease.slot();
    client.kernel.unread.borrow_mut().insert(near);
    client.close(lease, near);
    assert_eq!(*client.kernel.rings.borrow(), 0, "what is unread brings the module by");
    word::done(client.word(slot));
    let (_other, _, new) = client.begin();
    assert!(new);
    assert_eq!((client.open(), client.fates()), (1, vec![Fate::Unread]));
    // The module sees the hang-up of an idle pair.
    assert!(word::withdraw(client.word(slot)));
    let (lease, _, new) = client.begin();
    assert_eq!((lease.slot(), new, client.bits(slot)), (slot, true, 0));
    let _ = lease.into_slot();
}

#[test]
fn whoever_is_first_ends_the_flow_its_way() {
    let mut client = Client::new();
    let (lease, near, _) = client.begin();
    let slot = lease.slot();
    assert!(word::half_close(client.word(slot)));
    client.close(lease, near);
    assert_eq!((client.open(), client.heard(), client.fates()), (0, vec![], vec![Fate::Dirty]));
    assert!(!word::is_closed(client.word(slot)) || client.bits(slot) & DIRTY != 0);
    let (lease, near, _) = client.begin();
    let slot = lease.slot();
    client.close(lease, near);
    assert!(word::is_closed(client.word(slot)) && !word::half_close(client.word(slot)));
}

#[test]
fn one_write_rings_for_all_closes_until_the_module_looks() {
    let mut client = Client::new();
    let flows: Vec<_> = (0..70).map(|_| client.begin()).collect();
    let slots: Vec<usize> = flows.iter().map(|(lease, ..)| lease.slot() as usize).collect();
    for (lease, near, _) in flows {
        client.close(lease, near);
    }
    assert_eq!((*client.kernel.rings.borrow(), client.heard()), (1, slots));
    assert_eq!(client.heard(), []);
    let (lease, near, _) = client.begin();
    client.close(lease, near);
    assert_eq!(*client.kernel.rings.borrow(), 2);
}

#[test]
fn an_ordinary_pair_is_never_closed_by_word_and_its_slot_comes_back_when_left_is_closed() {
    let mut client = Client::new();
    let (lease, _near, _) = client.begin();
    let slot = lease.slot();
    client.book.ordinary(&client.page, lease, &client.kernel);
    assert!(client.bits(slot) == ORDINARY && !word::is_closed(client.word(slot)));
    // Rubbish: a module cannot give back what the client has not kept.
    word::done(client.word(slot));
    let (other, ..) = client.begin();
    assert_ne!(other.into_slot(), slot);
    word::free(client.word(slot));
    let (again, _, new) = client.begin();
    assert_eq!((again.into_slot(), new), (slot, true));
    assert_eq!(client.fates(), [Fate::Ordinary]);
}

#[test]
fn a_message_that_was_not_sent_leaves_everything_as_it_was() {
    let mut client = Client::new();
    let taken = client.book.take(&client.page, &client.kernel).unwrap();
    let slot = taken.lease.slot();
    client.book.undo(&client.page, taken, &client.kernel);
    let (lease, near, new) = client.begin();
    assert_eq!((lease.slot(), new), (slot, true));
    client.close(lease, near);
    word::done(client.word(slot));
    let taken = client.book.take(&client.page, &client.kernel).unwrap();
    assert_eq!(taken.near, Some(near));
    client.book.undo(&client.page, taken, &client.kernel);
    assert_eq!(client.bits(slot), DONE);
    assert_eq!(client.begin().1, near);
}

#[test]
fn a_pair_whose_begin_was_not_sent_is_taken_back_by_its_module() {
    let mut client = Client::new();
    let (lease, near, _) = client.begin();
    let slot = lease.slot();
    client.close(lease, near);
    word::done(client.word(slot));
    let (lease, again, _) = client.begin();
    assert_eq!((lease.slot(), again), (slot, near));
    client.book.unsent(&client.page, lease);
    let (other, _, new) = client.begin();
    assert!(new && other.slot() != slot, "nobody gets its socket, which is the caller's");
    // The module sees the hang-up of an idle pair.
    assert!(word::withdraw(client.word(slot)));
    let (lease, _, new) = client.begin();
    assert_eq!((lease.into_slot(), new), (slot, true));
    let _ = other.into_slot();
    assert_eq!(client.fates(), []);
}

#[test]
fn an_idle_pair_that_the_module_took_back_is_passed_over() {
    let mut client = Client::new();
    let (lease, near, _) = client.begin();
    let slot = lease.slot();
    client.close(lease, near);
    word::done(client.word(slot));
    client.book.harvest(&client.page, &client.kernel, 1);
    assert!(word::withdraw(client.word(slot)));
    let (_lease, _, new) = client.begin();
    assert!(new);
    assert_eq!((client.open(), client.fates()), (1, vec![Fate::Killed]));
}

#[test]
fn when_all_slots_are_used_there_is_none() {
    let mut client = Client::new();
    let mut all: Vec<_> = (0..SLOTS).map(|_| client.begin()).collect();
    assert!(client.book.take(&client.page, &client.kernel).is_none());
    let (lease, near, _) = all.pop().unwrap();
    let slot = lease.slot();
    client.close(lease, near);
    word::done(client.word(slot));
    assert_eq!(client.begin().1, near);
}

#[test]
fn what_was_not_needed_between_two_trims_is_closed() {
    let mut client = Client::new();
    let flows: Vec<_> = (0..10).map(|_| client.begin()).collect();
    for (lease, near, _) in flows {
        let slot = lease.slot();
        client.close(lease, near);
        word::done(client.word(slot));
    }
    let trim = |client: &Client| client.book.trim(&client.page, &client.kernel, false);
    // All ten were needed in the time before the first.
    assert_eq!(trim(&client), 10);
    let (one, two) = (client.begin(), client.begin());
    for (lease, near, _) in [one, two] {
        let slot = lease.slot();
        client.close(lease, near);
        word::done(client.word(slot));
    }
    assert_eq!((trim(&client), client.open()), (2, 2));
    assert_eq!((trim(&client), client.open(), client.book.kept()), (0, 0, 0));
}

#[test]
fn what_a_killed_module_leaves_is_closed_by_the_trim() {
    let mut client = Client::new();
    let (lease, near, _) = client.begin();
    client.close(lease, near);
    assert_eq!(client.book.trim(&client.page, &client.kernel, false), 1);
    client.kernel.hung_up.borrow_mut().insert(near);
    assert_eq!((client.book.trim(&client.page, &client.kernel, false), client.open()), (0, 0));
}

#[test]
fn after_the_end_nothing_is_kept_and_flows_end_the_ordinary_way() {
    let mut client = Client::new();
    let (running, near, _) = client.begin();
    for _ in 0..2 {
        let (lease, near, _) = client.begin();
        client.close(lease, near);
    }
    client.book.end(&client.kernel);
    assert_eq!((client.open(), client.book.kept()), (1, 0));
    let slot = running.slot();
    client.close(running, near);
    assert_eq!((client.open(), client.bits(slot)), (0, ORDINARY));
    assert_eq!(client.fates(), [Fate::Ended]);
    assert!(client.book.take(&client.page, &client.kernel).is_none());
}

#[test]
fn numbers_that_are_no_slot_are_no_lease() {
    assert!(Lease::from_slot(SLOTS as u32).is_none() && Lease::from_slot(u32::MAX).is_none());
    assert_eq!(Lease::from_slot(3).map(Lease::into_slot), Some(3));
}

#[test]
fn a_module_that_writes_rubbish_costs_pairs_and_nothing_else() {
    let mut client = Client::new();
    let mut state = 1_u32;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 7
    };
    let mut flows: Vec<(Lease, i32)> = Vec::new();
    let all = CLOSED | ORDINARY | DIRTY | DONE | FREE;
    for _ in 0..200_000 {
        match random() % 5 {
            0 if flows.len() < SLOTS / 2 => {
                if let Some(taken) = client.book.take(&client.page, &client.kernel) {
                    let near = taken.near.unwrap_or_else(|| {
                        client.next += 1;
                        client.kernel.open.borrow_mut().insert(client.next);
                        client.next
                    });
                    assert!(flows.iter().all(|(lease, other)| lease.0 != taken.lease.0 && *other != near));
                    flows.push((taken.lease, near));
                }
            }
            1 | 2 if !flows.is_empty() => {
                let (lease, near) = flows.swap_remove(random() as usize % flows.len());
                client.close(lease, near);
            }
            3 if !flows.is_empty() && random() % 4 == 0 => {
                let (lease, near) = flows.swap_remove(random() as usize % flows.len());
                client.book.ordinary(&client.page, lease, &client.kernel);
                client.kernel.close(near);
            }
            // Of the first slots, which are used most.
            _ => client.word(random() % 64).store(random() & (all | 0x100), Ordering::Relaxed),
        }
        client.fates();
    }
    client.book.end(&client.kernel);
    assert_eq!(client.open(), flows.len(), "only what flows still hold is open");
}

#[test]
fn who_counts_asks_nobody_what_was_read() {
    let mut client = Client::new();
    for (written, rings) in [(5, 1), (9, 1), (10, 2)] {
        let (lease, near, is_new) = client.begin();
        let slot = lease.slot() as usize;
        if is_new {
            assert_eq!(client.page.taken(slot).load(Ordering::Relaxed), 0, "another pair's count");
        }
        // The module has read 5 of 5, 5 of 9, 10 of 10; the kernel would say the contrary.
        client.page.taken(slot).store(if written == 10 { 10 } else { 5 }, Ordering::Relaxed);
        if written != 9 {
            client.kernel.unread.borrow_mut().insert(near);
        }
        let tally = Tally { written, read: 3 };
        client.book.close(&client.page, lease, near, Some(tally), &client.kernel);
        assert_eq!(*client.kernel.rings.borrow(), rings, "{written} written");
        assert!(word::is_closed(client.word(slot as u32)) && word::is_counted(client.word(slot as u32)));
        assert_eq!(client.page.heard(slot).load(Ordering::Relaxed), 3);
        client.page.bell.store(0, Ordering::Relaxed);
        client.kernel.unread.borrow_mut().clear();
        word::done(client.word(slot as u32));
    }
}

/// Another thread ends the book while this one has a slot in its hand: at the question that is asked of its socket.
struct Ending<'a>(&'a Client);

impl System for Ending<'_> {
    fn close(&self, fd: i32) {
        self.0.kernel.close(fd);
    }
    fn holds_bytes(&self, fd: i32) -> bool {
        self.0.book.end(&self.0.kernel);
        self.0.kernel.holds_bytes(fd)
    }
    fn is_unread(&self, fd: i32) -> bool {
        self.0.kernel.is_unread(fd)
    }
    fn is_hung_up(&self, fd: i32) -> bool {
        self.0.book.end(&self.0.kernel);
        self.0.kernel.is_hung_up(fd)
    }
    fn ring(&self) {
        self.0.kernel.ring();
    }
    fn count(&self, fate: Fate) {
        self.0.kernel.count(fate);
    }
}

#[test]
fn an_end_that_comes_while_somebody_looks_leaves_no_socket_open() {
    for is_done in [true, false] {
        let mut client = Client::new();
        let (lease, near, _) = client.begin();
        let slot = lease.slot();
        client.close(lease, near);
        if is_done {
            word::done(client.word(slot));
        }
        client.book.trim(&client.page, &Ending(&client), false);
        assert_eq!((client.open(), client.book.kept()), (0, 0), "{is_done}");
    }
}

#[test]
fn a_slot_in_whose_area_a_thread_writes_gets_no_other_flow() {
    let mut client = Client::new();
    let (lease, near, _) = client.begin();
    let slot = lease.slot();
    let begin = |page: &Memory| inline::begin(page, slot as usize, 5, 0, || false);
    let room = begin(&client.page).unwrap();
    assert_eq!(begin(&client.page).err(), Some(No::Busy), "one at a time");
    client.close(lease, near);
    assert_eq!((client.bits(slot) & ORDINARY, client.fates()), (ORDINARY, vec![Fate::Busy]), "not by word");
    word::free(client.word(slot));
    client.book.harvest(&client.page, &client.kernel, SLOTS);
    let other = client.begin();
    assert_ne!(other.0.slot(), slot, "it is not free yet");
    assert_eq!(room.publish(&client.page, 5), Ok(()));
    client.book.harvest(&client.page, &client.kernel, SLOTS);
    let (lease, ..) = client.begin();
    assert_eq!(lease.slot(), slot);
    assert!(begin(&client.page).is_ok_and(|room| room.at() == 0), "empty");
}

#[test]
fn a_close_behind_bytes_in_the_area_needs_no_bell() {
    let mut client = Client::new();
    let (lease, near, _) = client.begin();
    let slot = lease.slot() as usize;
    inline::begin(&client.page, slot, 5, 0, || false).and_then(|room| room.publish(&client.page, 5)).unwrap();
    client.close(lease, near);
    assert_eq!(client.heard(), [], "the bytes ring");
    assert_eq!(inline::take(&client.page, slot), Some(5));
    inline::free(&client.page, slot);
    let (lease, near, _) = client.begin();
    client.close(lease, near);
    assert_eq!(client.heard().len(), 1);
}
