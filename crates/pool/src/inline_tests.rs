//! One slot, on a page in this process, with numbers for bytes.

use modnet_abi::pool::{CLOSED, DIRTY, ORDINARY};

use super::*;
use crate::memory::Memory;

const SLOT: usize = 3;

fn put(page: &Memory, count: usize, written: u32) -> Result<usize, No> {
    let room = begin(page, SLOT, count, written, || false)?;
    let at = room.at();
    room.publish(page, count).map(|()| at)
}

fn read(page: &Memory, before: u32, count: u32) {
    enter(page, SLOT);
    page.taken(SLOT).store(before + count, Ordering::Relaxed);
    leave(page, SLOT);
}

#[test]
fn what_was_put_there_is_taken_once() {
    let page = Memory::default();
    assert_eq!((put(&page, 10, 0), put(&page, 5, 0)), (Ok(0), Ok(10)));
    assert_eq!((take(&page, SLOT), take(&page, SLOT)), (Some(15), None));
    assert_eq!(put(&page, 1, 0), Err(No::Busy), "the module is copying");
    free(&page, SLOT);
    assert_eq!((put(&page, 1, 0), take(&page, SLOT)), (Ok(0), Some(1)));
}

#[test]
fn only_what_follows_everything_in_the_socket_goes_there() {
    let page = Memory::default();
    assert_eq!(put(&page, 1, 4), Err(No::Unread), "four bytes are on their way");
    read(&page, 0, 4);
    assert_eq!(begin(&page, SLOT, 1, 4, || true).err(), Some(No::Unread), "so says the kernel");
    assert_eq!(put(&page, 1, 3), Err(No::Untold), "somebody else has written one");
    enter(&page, SLOT);
    assert_eq!(put(&page, 1, 4), Err(No::Unread), "who knows what it reads just now");
    leave(&page, SLOT);
    assert_eq!(put(&page, 1, 4), Ok(0));
    read(&page, 4, 2);
    assert_eq!(put(&page, 1, 6), Err(No::Unread), "two bytes of the socket lie between");
    assert_eq!([3, 4, 6].map(|before| goes_before(&page, SLOT, before)), [false, true, true]);
}

#[test]
fn what_the_module_has_taken_meanwhile_is_not_added_to() {
    let page = Memory::default();
    put(&page, 10, 0).unwrap();
    let room = begin(&page, SLOT, 1, 0, || false).unwrap();
    assert_eq!(take(&page, SLOT), Some(10));
    assert_eq!(room.publish(&page, 1), Err(No::Busy));
    free(&page, SLOT);
    assert_eq!((take(&page, SLOT), put(&page, 2, 0)), (None, Ok(0)), "and nothing is locked");
}

#[test]
fn a_flow_that_ends_gets_nothing_there() {
    for bits in [CLOSED, ORDINARY, DIRTY] {
        let page = Memory::default();
        page.word(SLOT).store(bits, Ordering::Relaxed);
        assert_eq!(put(&page, 1, 0), Err(No::Busy));
    }
}

#[test]
fn a_module_that_wants_nothing_there_gets_nothing() {
    let page = Memory::default();
    assert!(shut(&page, SLOT) && shut(&page, SLOT));
    assert_eq!((put(&page, 1, 0), take(&page, SLOT)), (Err(No::Busy), None));
    free(&page, SLOT);
    assert_eq!(put(&page, 1, 0), Ok(0));
    assert!(!shut(&page, SLOT), "something is there");
    let room = begin(&page, SLOT, 1, 0, || false).unwrap();
    assert_eq!((shut_for_good(&page, SLOT), shut_for_good(&page, SLOT)), (1, 0));
    assert_eq!(room.publish(&page, 1), Err(No::Busy));
}

#[test]
fn a_slot_without_an_area_has_none() {
    let page = Memory::default();
    assert!(begin(&page, AREAS, 1, 0, || false).is_err() && take(&page, AREAS).is_none());
    assert!(
        shut(&page, AREAS) && lock(&page, AREAS) && !is_full(&page, AREAS) && !goes_before(&page, AREAS, 0)
    );
}

#[test]
fn rubbish_is_bounded() {
    let page = Memory::default();
    for rubbish in [LENGTH, AREA_BYTES as u32 + 1, u32::MAX, TAKING | 7] {
        page.area(SLOT).store(rubbish, Ordering::Relaxed);
        assert_eq!(put(&page, 1, 0), Err(No::Busy), "{rubbish}");
        assert!(take(&page, SLOT).is_none_or(|count| count <= AREA_BYTES));
    }
}
