//! Flows whose outlets others have changed: how a worker is told, and what was taken back counted.
//!
//! What the kernel is given of an outlet, and when, is `modnet_revoke::release`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use modnet_revoke::queue::outlet::Outlet;

use super::Shared;
use crate::poll::Waker;
use crate::stats::Stats;

/// Flows of a worker whose outlets others have changed.
pub struct Touched {
    keys: Mutex<Vec<u64>>,
    waker: Arc<Waker>,
    shared: Arc<Shared>,
}

impl Touched {
    /// None yet; `waker` is rung with the first.
    pub fn new(waker: Arc<Waker>, shared: Arc<Shared>) -> Self {
        Self { keys: Mutex::default(), waker, shared }
    }

    /// Takes them.
    pub fn take(&self) -> Vec<u64> {
        std::mem::take(&mut self.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An outlet that tells this worker, and where it is to be told the flow's key.
    pub fn outlet(self: &Arc<Self>) -> (Arc<Outlet>, Arc<AtomicU64>) {
        let key = Arc::new(AtomicU64::new(u64::MAX));
        let (touched, told) = (Arc::clone(self), Arc::clone(&key));
        let wake = move |taken: usize| {
            Stats::add(&touched.shared.receiver.stats.bytes_yanked, taken as u64);
            let key = told.load(Ordering::Relaxed);
            touched.keys.lock().unwrap_or_else(PoisonError::into_inner).push(key);
            touched.waker.ring();
        };
        (Arc::new(Outlet::new(Box::new(wake))), key)
    }
}
