//! Flows that have much to do, and one that has little.

use super::*;

const FLOWS: usize = 100;
const READ: usize = 4096;
const MUCH: u8 = b'M';

/// How many reads of `MUCH` there were, and how many of them before the last of something else.
#[derive(Default)]
struct Seen {
    calls: AtomicU64,
    before: AtomicU64,
}

impl Seen {
    /// Takes a millisecond for each read of `MUCH`.
    fn see(&self, data: &[u8]) {
        if data[0] == MUCH {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(1) {}
            self.calls.fetch_add(1, Ordering::SeqCst);
        } else {
            self.before.store(self.calls.load(Ordering::SeqCst), Ordering::SeqCst);
        }
    }
}

#[test]
fn who_has_much_to_do_holds_nobody_up_for_longer_than_a_turn() {
    let busy = Arc::new(Seen::default());
    let seen = Arc::clone(&busy);
    let running = Running::start_with(1 << 18, None, Sees::outbound(READ, move |data| seen.see(data)));
    let (mut application, mut network) = running.connect();
    let much = vec![MUCH; 12 * READ];
    let others: Vec<_> = (0..FLOWS)
        .map(|_| {
            let (mut application, network) = running.connect();
            application.write_all(&much).unwrap();
            (application, network)
        })
        .collect();
    let mut waited: Vec<u64> = (0..9)
        .map(|_| {
            let now = busy.calls.load(Ordering::SeqCst);
            application.write_all(b"little").unwrap();
            network.read_exact(&mut [0; 6]).unwrap();
            busy.before.load(Ordering::SeqCst) - now
        })
        .collect();
    waited.sort_unstable();
    // A turn has eight reads, and a round a hundred turns.
    assert!(waited[4] < FLOWS as u64 / 2, "{waited:?}");
    assert!(busy.calls.load(Ordering::SeqCst) < 12 * FLOWS as u64, "the others had nothing to do");
    for (application, mut network) in others {
        drop(application);
        assert_eq!(rest(&mut network), much);
    }
    drop((application, network));
    running.end();
}
