//! Which records a process has.

use modnet_engine::procs::{records_of, Seen};

use crate::scratch::Scratch;
use crate::{end, process, until};

#[test]
fn a_process_has_the_record_of_its_environment_or_none() {
    let scratch = Scratch::new();
    let record = scratch.runtime().record(5_000_000);
    let (without, with) = (process(&[]), process(&[("MODNET_RECORD", &record)]));
    let pid = without.id();
    assert_eq!(records_of(pid), Seen::Records(vec![]));
    // Whoever starts a command goes on as soon as its old memory is given up; its environment is told a moment later.
    let its_own = Seen::Records(vec![record]);
    until("the environment is there", || records_of(with.id()) == its_own);
    end(without);
    end(with);
    assert_eq!(records_of(pid), Seen::Gone);
}
