//! Who uses a record before it maps it.

use modnet_engine::census::{sweep, take};

use crate::scratch::Scratch;
use crate::{create, end, process, until};

#[test]
fn a_child_between_exec_and_constructor_is_known_by_its_environment() {
    let scratch = Scratch::new();
    let runtime = scratch.runtime();
    drop(create(&runtime, 5_000_000, &["a"]));
    let child = process(&[("MODNET_RECORD", &runtime.record(5_000_000))]);
    until("the environment is there", || take(&runtime).unwrap()[&5_000_000] == [child.id()]);
    assert_eq!(sweep(&runtime).unwrap()[&5_000_000], [child.id()]);
    end(child);
    assert!(sweep(&runtime).unwrap().is_empty());
}
