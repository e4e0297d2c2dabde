//! Memory that grows, stays, and can be opened by another.

use super::*;

#[test]
fn it_is_ready_as_far_as_was_asked_and_no_further_than_reserved() {
    let mut memory = Memory::new(4 * SLACK, None).unwrap();
    assert_eq!(memory.bytes().len(), 0);
    memory.ready(1).unwrap();
    assert_eq!(memory.bytes().len(), SLACK);
    memory.bytes_mut()[SLACK - 1] = 7;
    memory.ready(SLACK + 1).unwrap();
    assert_eq!((memory.bytes().len(), memory.bytes()[SLACK - 1]), (2 * SLACK, 7));
    memory.ready(SLACK).unwrap();
    assert_eq!(memory.bytes().len(), 2 * SLACK, "it never shrinks");
    memory.ready(100 * SLACK).unwrap();
    assert_eq!(memory.bytes().len(), 4 * SLACK);
}

#[test]
fn a_named_one_is_this_user_s_alone_and_opened_by_its_name() {
    use std::os::unix::fs::MetadataExt;
    let path = std::env::temp_dir().join(format!("modnet-memory-{}", std::process::id()));
    let mut memory = Memory::new(SLACK, Some(&path)).unwrap();
    memory.ready(1).unwrap();
    memory.bytes_mut()[5] = 9;
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let other = Memory::open(&path).unwrap();
    assert_eq!((other.bytes().len(), other.bytes()[5]), (SLACK, 9));
    assert!(Memory::new(SLACK, Some(&path)).is_err(), "nobody else's file is taken");
    std::fs::remove_file(path).unwrap();
}
