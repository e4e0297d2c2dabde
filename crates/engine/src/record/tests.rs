//! What a record says, who may say it, and that nobody reads half of a change.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;
use crate::scratch::{self, Scratch};

fn plan<'a>(chain: &'a [&'a str]) -> Plan<'a> {
    scratch::plan(4711, chain)
}

#[test]
fn what_was_written_is_read() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    Record::create(&runtime, &plan(&["a", "b"])).unwrap();
    let record = Record::look(&runtime, 4711).unwrap();
    assert_eq!(record.chain().unwrap(), ["a", "b"]);
    let applied = record.applied().unwrap();
    assert_eq!((applied.fail_closed, applied.pairs), (false, Pairs::Pooled));
    assert_eq!(record.counters(), [0; COUNTERS]);
    assert_eq!(record.owner, euid());
    assert_eq!(list(&runtime).unwrap(), [4711]);
    let meta = fs::metadata(runtime.record(4711)).unwrap();
    assert_eq!((meta.mode() & 0o777, meta.len()), (0o600, RECORD_BYTES as u64));
    remove(&runtime, 4711).unwrap();
    remove(&runtime, 4711).unwrap();
    assert_eq!(Record::look(&runtime, 4711).unwrap_err().errno, libc::ENOENT);
    assert_eq!(fs::read_dir(runtime.processes()).unwrap().count(), 0);
}

#[test]
fn a_change_reaches_who_has_it_mapped_and_moves_the_generation() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let mapped =
        Record::create(&runtime, &Plan { pairs: Pairs::Fresh, inline: false, ..plan(&["a"]) }).unwrap();
    let before = mapped.applied().unwrap().generation;
    Record::open(&runtime, 4711).unwrap().apply(&["b", "c"], true).unwrap();
    let after = mapped.applied().unwrap();
    assert_eq!(after.chain, ["b", "c"]);
    assert!(after.fail_closed && after.generation != before && after.generation & 1 == 0);
    assert_eq!(
        (mapped.applied().unwrap().pairs, after.pairs, after.inline),
        (Pairs::Fresh, Pairs::Fresh, false)
    );
    mapped.apply(&[], false).unwrap();
    assert!(mapped.chain().unwrap().is_empty());
    assert_eq!(Record::look(&runtime, 4711).unwrap().apply(&["a"], false).unwrap_err().errno, libc::EBADF);
}

#[test]
fn no_reader_sees_half_of_a_change() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let record = Record::create(&runtime, &plan(&["a", "a2"])).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..20_000 {
                record.apply(&["b", "b2"], true).unwrap();
                record.apply(&["a", "a2"], false).unwrap();
            }
            stop.store(true, Ordering::Relaxed);
        });
        while !stop.load(Ordering::Relaxed) {
            let seen = record.applied().unwrap();
            let whole = if seen.fail_closed { ["b", "b2"] } else { ["a", "a2"] };
            assert_eq!(seen.chain, whole);
        }
    });
}

#[test]
fn a_writer_that_died_half_way_is_noticed_and_repaired() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let record = Record::create(&runtime, &plan(&["a"])).unwrap();
    record.file.set_len(RECORD_BYTES as u64).unwrap();
    std::os::unix::fs::FileExt::write_at(&record.file, &7u32.to_ne_bytes(), 8).unwrap();
    assert_eq!(record.applied().unwrap_err().errno, libc::EAGAIN);
    record.apply(&["b"], false).unwrap();
    assert_eq!(record.applied().unwrap().generation, 8);
}

#[test]
fn the_token_proves_and_nothing_else_does() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let record = Record::create(&runtime, &plan(&["a", "b"])).unwrap();
    let token = record.token();
    assert_ne!(token, [0; 16]);
    verify(&runtime, 4711, &token, "b").unwrap();
    assert_eq!(verify(&runtime, 4711, &token, "c").unwrap_err().errno, libc::EPERM);
    assert_eq!(verify(&runtime, 4711, &[0; 16], "a").unwrap_err().errno, libc::EPERM);
    assert_eq!(verify(&runtime, 1, &token, "a").unwrap_err().errno, libc::ENOENT);
}

#[test]
fn bad_chains_and_bad_files_are_refused() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    let many: Vec<String> = (0..17).map(|n| format!("m{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for chain in [&many[..], &["a", "a"], &["../x"]] {
        assert_eq!(Record::create(&runtime, &plan(chain)).unwrap_err().errno, libc::EINVAL);
    }
    assert_eq!(fs::read_dir(runtime.processes()).unwrap().count(), 0);
    Record::create(&runtime, &plan(&many[..16])).unwrap();

    for (pid, content) in
        [(1, vec![]), (2, vec![0; RECORD_BYTES]), (3, fs::read(runtime.record(4711)).unwrap())]
    {
        fs::write(runtime.record(pid), content).unwrap();
        assert_eq!(Record::look(&runtime, pid).unwrap_err().errno, libc::EINVAL, "{pid}");
    }
    std::os::unix::fs::symlink(runtime.record(4711), runtime.record(4)).unwrap();
    assert_eq!(Record::look(&runtime, 4).unwrap_err().errno, libc::ELOOP);
}
