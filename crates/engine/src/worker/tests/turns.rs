//! Flows that have much to do, and one that has little.

use super::*;
use crate::flow::Way;
use crate::hooks::{Hooks, Orders, State, Verdict, Wants};

const FLOWS: usize = 100;
const READ: usize = 4096;
const MUCH: u8 = b'M';

/// Takes a millisecond for each read of `MUCH`; of all others it notes how many of those there were before.
#[derive(Default)]
struct Busy {
    calls: AtomicU64,
    before: AtomicU64,
}

impl Hooks for Busy {
    fn wants(&self) -> Wants {
        Wants { data: [true, false], reads: READ, ..Wants::default() }
    }

    fn data(
        &self,
        _: &mut State,
        _: Way,
        data: &[u8],
        _: [u64; 2],
        _: &mut Vec<u8>,
        _: &mut Orders,
    ) -> Verdict {
        if data[0] == MUCH {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(1) {}
            self.calls.fetch_add(1, Ordering::SeqCst);
        } else {
            self.before.store(self.calls.load(Ordering::SeqCst), Ordering::SeqCst);
        }
        Verdict::Same
    }
}

#[test]
fn who_has_much_to_do_holds_nobody_up_for_longer_than_a_turn() {
    let busy = Arc::new(Busy::default());
    let hooks: Arc<dyn Hooks> = Arc::clone(&busy) as _;
    let running = Running::start_with(1 << 18, None, hooks);
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
