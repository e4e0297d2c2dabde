//! Bytes that came along with a yielded flow, for programs that know sockets only.
//!
//! A program that has its own loop reads from descriptors, and what a module before it has read cannot be put back into one. So
//! each side that brings bytes gets a pair, whose other end a worker of this library serves for as long as the flow lives: it
//! passes the bytes, then whatever comes. One thread for all of them, started with the first; a flow that brings nothing has none
//! of it. Rejected: a call of its own for such bytes, which every program would have to know or else lose them.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{channel, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

use super::{lock, Quiet};
use crate::hooks::Forward;
use crate::poll::Waker;
use crate::sock;
use crate::stats::Stats;
use crate::steal::carried::Carried;
use crate::steal::{Left, Receiver, Stolen};
use crate::worker::{Order, Shared, Worker};

/// As an engine's: see `send_queue`.
const QUEUE: usize = 256 * 1024;

static RELAY: Mutex<Option<(u32, Relay)>> = Mutex::new(None);

struct Relay {
    orders: Sender<Order>,
    waker: Arc<Waker>,
}

/// The sides of a flow as the program gets them.
///
/// # Errors
/// EMFILE and its like, EAGAIN where there can be no thread: the flow is lost.
pub fn sides(flow: Stolen, left: OwnedFd, receiver: &Receiver) -> io::Result<(OwnedFd, OwnedFd)> {
    // A program that knows sockets only is not shown what has passed.
    let Carried { left: near, right: far, left_unread, .. } = flow.carried.map(|c| *c).unwrap_or_default();
    let origin = &flow.origin;
    let stolen = |left, right, right_is_tcp, carried| Stolen {
        origin: Arc::clone(origin),
        left: Left::Fresh(left),
        right,
        right_is_tcp,
        seat: None,
        real: None,
        carried: Some(Box::new(carried)),
    };
    let left = if near.is_empty() && !left_unread {
        left
    } else {
        let (ours, programs) = sock::pair()?;
        serve(
            receiver,
            stolen(left, ours, false, Carried { left: near, left_unread, ..Carried::default() }),
        )?;
        programs
    };
    if far.is_empty() {
        return Ok((left, flow.right));
    }
    let (ours, programs) = sock::pair()?;
    let carried = Carried { right: far, ..Carried::default() };
    serve(receiver, stolen(ours, flow.right, flow.right_is_tcp, carried))?;
    Ok((left, programs))
}

fn serve(receiver: &Receiver, flow: Stolen) -> io::Result<()> {
    let gone = |_| io::Error::from_raw_os_error(libc::EAGAIN);
    let mut relay = lock(&RELAY);
    if relay.as_ref().is_none_or(|(pid, _)| *pid != std::process::id()) {
        *relay = Some((std::process::id(), start(receiver)?));
    }
    if let Some((_, relay)) = &*relay {
        Stats::add(&receiver.stats.relayed, 1);
        relay.orders.send(Order::Take(Box::new(flow))).map_err(gone)?;
        relay.waker.ring();
    }
    Ok(())
}

fn start(receiver: &Receiver) -> io::Result<Relay> {
    let waker = Arc::new(Waker::new()?);
    let (orders, listening) = channel();
    let shared = Shared {
        receiver: Receiver {
            runtime: receiver.runtime.clone(),
            name: receiver.name.clone(),
            // What it counts are no flows of the program's.
            stats: Arc::default(),
            pairs: crate::pairs::Pairs::Fresh,
            spare: Arc::default(),
            keeps_real: false,
        },
        hooks: Arc::new(Forward),
        send_queue: QUEUE,
        revocable: None,
        workers: 1,
        flows: AtomicU64::new(0),
        next_id: AtomicU64::new(1),
    };
    let worker = Worker::new(Arc::new(shared), Vec::new(), listening, Arc::clone(&waker))?;
    let _quiet = Quiet::begin();
    thread::Builder::new().name("modnet-relay".to_owned()).spawn(move || {
        // A fault of ours in the use of epoll; the flows end.
        let _ = worker.run();
    })?;
    Ok(Relay { orders, waker })
}
