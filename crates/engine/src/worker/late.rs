//! Late binding: what of an outlet the kernel is given, and when it is asked again.
//!
//! The rule is `modnet_revoke::queue::pace`; here are its calls: one TCP_INFO for each time, TCP_NOTSENT_LOWAT where it
//! changes much. A pair to the next module is given all that it takes: what lies there is taken back through that module.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use modnet_inspect::sample::{self, TcpInfo};
use modnet_revoke::queue::outlet::Outlet;
use modnet_revoke::queue::pace::{Grant, Pace, Seen};

use crate::poll::Waker;
use crate::sock::{self, Outcome};

/// What belongs to a flow whose outbound bytes may be revoked.
#[derive(Debug, Default)]
pub struct Late {
    pace: Pace,
    /// As the socket has it, as far as this worker knows.
    low: u32,
    /// When to ask again, in the worker's nanoseconds.
    pub again: Option<u64>,
    /// The poller is to look anew: only then does the kernel note that somebody waits for room.
    pub rearm: bool,
}

impl Late {
    /// How much `right` may be given now.
    pub fn grant(&mut self, right: &OwnedFd, is_tcp: bool) -> Grant {
        let all = Grant { bytes: usize::MAX, low: 0, again: None };
        if !is_tcp {
            return all;
        }
        // Without an answer the connection is over, which sending tells.
        sample::info(right.as_fd()).map_or(all, |info| self.pace.grant(seen(&info)))
    }

    /// Sends what the kernel should have; whether everything has gone. `more`: the end follows the last byte.
    pub fn release(
        &mut self,
        outlet: &Outlet,
        right: &OwnedFd,
        is_tcp: bool,
        more: bool,
        now: u64,
    ) -> Result<bool, Outcome> {
        self.again = None;
        let grant = self.grant(right, is_tcp);
        let sent = (grant.bytes > 0).then(|| {
            outlet.send(grant.bytes, |pieces, bytes, all| {
                match sock::send_pieces(right, pieces, more && all) {
                    Outcome::Bytes(count) => (count, Ok(all && count == bytes)),
                    Outcome::Again => (0, Ok(false)),
                    other => (0, Err(other)),
                }
            })
        });
        match sent.flatten() {
            Some(Ok(true)) => return Ok(true),
            Some(Err(outcome)) => return Err(outcome),
            Some(Ok(false)) | None => {}
        }
        self.rearm = true;
        if is_tcp {
            self.again = grant.again.map(|after| now.saturating_add(after));
            // An application may have set its own meanwhile; then room is told too early, and this sets it again.
            if grant.bytes == 0 || grant.low.abs_diff(self.low) > self.low / 4 {
                self.low = grant.low;
                sock::set_low_water(right, grant.low);
            }
        }
        Ok(false)
    }
}

fn seen(info: &TcpInfo) -> Seen {
    let on_their_way = (info.unacked + info.retrans).saturating_sub(info.sacked + info.lost);
    Seen {
        cwnd: info.snd_cwnd.into(),
        in_flight: on_their_way.into(),
        mss: info.snd_mss.into(),
        notsent: info.notsent_bytes.into(),
        delivery_rate: info.delivery_rate,
        app_limited: info.flags & 1 != 0,
        pacing_rate: info.pacing_rate,
        acked: info.bytes_acked,
    }
}

/// Flows of a worker whose outlets others have changed.
#[derive(Debug)]
pub struct Touched {
    keys: Mutex<Vec<u64>>,
    waker: Arc<Waker>,
}

impl Touched {
    /// None yet; `waker` is rung with the first.
    pub fn new(waker: Arc<Waker>) -> Self {
        Self { keys: Mutex::default(), waker }
    }

    /// Takes them.
    pub fn take(&self) -> Vec<u64> {
        std::mem::take(&mut self.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An outlet that tells this worker, and where it is to be told the flow's key.
    pub fn outlet(self: &Arc<Self>) -> (Arc<Outlet>, Arc<AtomicU64>) {
        let key = Arc::new(AtomicU64::new(u64::MAX));
        let (touched, told) = (Arc::clone(self), Arc::clone(&key));
        let wake = move || {
            let key = told.load(Ordering::Relaxed);
            touched.keys.lock().unwrap_or_else(PoisonError::into_inner).push(key);
            touched.waker.ring();
        };
        (Arc::new(Outlet::new(Box::new(wake))), key)
    }
}
