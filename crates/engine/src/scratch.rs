//! A directory for one test, removed with it, and the plan of a record in it. Tests only.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::pairs::Pairs;
use crate::record::Plan;
use crate::runtime::Runtime;

/// A fresh directory below the system's temporary one.
pub struct Scratch {
    /// Where it is.
    pub path: PathBuf,
}

impl Scratch {
    /// Makes one.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("mn-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a scratch directory");
        Self { path: fs::canonicalize(path).expect("a real path") }
    }

    /// A prepared runtime directory within.
    pub fn runtime(&self) -> Runtime {
        let runtime = self.runtime_again();
        runtime.prepare().expect("a fresh directory");
        runtime
    }

    /// The same, once it is there.
    pub fn runtime_again(&self) -> Runtime {
        Runtime::at(self.path.join("r")).expect("a short path")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Of a process' record: nothing in it is set that a chain does not need.
pub fn plan<'a>(root_pid: u32, chain: &'a [&'a str]) -> Plan<'a> {
    Plan {
        root_pid,
        chain,
        fail_closed: false,
        pairs: Pairs::Pooled,
        inline: true,
        hidden_base: 1000,
        shown_hard_limit: 0,
    }
}
