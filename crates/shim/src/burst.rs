//! Begins of one accept burst, in one message.
//!
//! A flow on a pair that its module has already needs only its real socket passed on (a BEGIN). Passing one costs 4 µs, each further one
//! in the same message less than 1. While application and module share a core the module cannot look before the application
//! sleeps, so nothing is lost by waiting for the next accept. A begin waits where all of this holds:
//!
//! | what | because |
//! | --- | --- |
//! | `epoll_wait` found several events, and something each time since | it is a burst; a single connection never waits |
//! | `accept4` was told `SOCK_NONBLOCK` | a read that no hook sees cannot wait for what never comes |
//! | the process has one thread | who accepts is who comes to the next wait |
//! | the connection's queue is this core's | elsewhere a module would be idle meanwhile |
//! | the chain does not fail closed | a flow whose begin cannot be sent may be given its real socket back |
//!
//! They are sent ([`flush`]) when [`MOST`] wait; when the application may sleep (`epoll_wait` finds nothing, poll, select, sleep,
//! a listener that blocks); after [`ROUNDS`] looks for events; before a call with bytes on one of them, before whatever ends
//! its pair with its flow, before fork and exec. Until then the kernel receives for the real socket as for any that was
//! accepted and not read yet, and if the process ends it closes it as it would have natively.
//!
//! The end of a module that has not got them yet is nothing that happened to them, so [`look`] shows no such event, and sends that
//! module nothing more: a process that dies closes one descriptor after the other, and its queue may take messages still
//! when its pairs have gone. There, and where the message fails, each flow goes its way alone, on a new pair, or the
//! application gets its real socket back under its number and in its epoll set ([`put_back`]). Rules: nothing here waits for
//! anybody; an event is hidden only where its flow is put back. A signal handler that comes in between finds the claim taken,
//! and sends its own flow at once.

use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use modnet_abi::counter::Counter;

use crate::connection::Held;
use crate::queue::How;
use crate::{fds, listener, pool, process, queue, real, record, sys};

/// Begins in one message.
pub const MOST: usize = sys::MOST_FDS;
/// Looks for events that a begin may outlast.
const ROUNDS: u32 = 8;

/// A flow whose begin waits.
struct Waiting {
    fd: AtomicI32,
    slot: AtomicU32,
    /// Where it would have to be registered again; -1: in no set.
    set: AtomicI32,
    events: AtomicU32,
    data: AtomicU64,
}

static WAITING: [Waiting; MOST] = [const {
    Waiting {
        fd: AtomicI32::new(-1),
        slot: AtomicU32::new(0),
        set: AtomicI32::new(-1),
        events: AtomicU32::new(0),
        data: AtomicU64::new(0),
    }
}; MOST];
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// The connection that they are for, plus 1, and one holder of it.
static CONNECTION: AtomicUsize = AtomicUsize::new(0);
/// Taken by who changes any of it.
static CLAIM: AtomicBool = AtomicBool::new(false);
/// Looks since the first.
static LOOKS: AtomicU32 = AtomicU32::new(0);
/// A wait has found several events, and the application has not slept since.
static BURST: AtomicBool = AtomicBool::new(false);
/// A listener that is known not to block.
static LISTENER: AtomicI32 = AtomicI32::new(-1);

struct Claim;

impl Claim {
    fn take() -> Option<Self> {
        let taken = CLAIM.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
        taken.is_ok().then_some(Self)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        CLAIM.store(false, Ordering::Release);
    }
}

/// Whether any begin waits.
#[inline]
pub fn any() -> bool {
    COUNT.load(Ordering::Relaxed) != 0
}

fn find(fd: i32) -> Option<&'static Waiting> {
    let count = COUNT.load(Ordering::Relaxed).min(MOST);
    WAITING[..count].iter().find(|one| one.fd.load(Ordering::Relaxed) == fd)
}

/// `fd` is about to be used in a way that needs its module.
#[inline]
pub fn touch(fd: i32) {
    if any() && find(fd).is_some() {
        flush();
    }
}

/// Whether the begin of a new flow on a pair of that connection may wait.
pub fn may_wait(held: &Held) -> bool {
    BURST.load(Ordering::Relaxed)
        && held.is_own_core()
        && !record::fail_closed()
        && real::is_single_threaded()
}

/// The flow at `fd`, on the pair `slot`, has its record; its begin waits from now on.
pub fn wait(held: Held, fd: i32, slot: u32) {
    let Some(_claim) = Claim::take() else {
        if let Err(reason) = queue::begin(&held, &[(fds::hidden_number(fd), slot)]) {
            put_back(Registered { fd, set: -1, event: libc::epoll_event { events: 0, u64: 0 } }, reason);
        }
        return;
    };
    if any() && CONNECTION.load(Ordering::Relaxed) != held.index() + 1 {
        send();
    }
    let count = COUNT.load(Ordering::Relaxed);
    if count == 0 {
        CONNECTION.store(held.into_index() + 1, Ordering::Relaxed);
        LOOKS.store(0, Ordering::Relaxed);
    }
    let one = &WAITING[count];
    one.fd.store(fd, Ordering::Relaxed);
    one.slot.store(slot, Ordering::Relaxed);
    one.set.store(-1, Ordering::Relaxed);
    COUNT.store(count + 1, Ordering::Release);
    if count + 1 == MOST {
        send();
    }
}

/// A flow that waits was put into an epoll set, changed there or taken out: remembered, lest it has to be done again.
pub fn watched(set: i32, operation: i32, fd: i32, event: Option<libc::epoll_event>) {
    let Some(one) = find(fd) else { return };
    let known = one.set.load(Ordering::Relaxed);
    match (operation, event) {
        (libc::EPOLL_CTL_DEL, _) if known == set => one.set.store(-1, Ordering::Relaxed),
        (libc::EPOLL_CTL_ADD | libc::EPOLL_CTL_MOD, Some(event)) if known == -1 || known == set => {
            one.events.store(event.events, Ordering::Relaxed);
            one.data.store(event.u64, Ordering::Relaxed);
            one.set.store(set, Ordering::Relaxed);
        }
        // A second set.
        _ => flush(),
    }
}

/// A look for events of `set` that may sleep: what waits for a module is sent before it does. `look` waits for that many
/// milliseconds, and leaves what it found at `events`.
pub fn look(set: i32, timeout: i32, events: *mut libc::epoll_event, look: impl Fn(i32) -> i32) -> i32 {
    if BURST.load(Ordering::Relaxed) || any() {
        let found = look(0);
        // SAFETY: the kernel has just written that many there.
        let left = unsafe { sift(set, events, found) };
        if left <= 0 || LOOKS.fetch_add(1, Ordering::Relaxed) + 1 >= ROUNDS {
            flush();
        }
        if left > 0 {
            // The application has not slept: the burst goes on.
            return left;
        }
        BURST.store(false, Ordering::Relaxed);
        if found < 0 || timeout == 0 {
            return left;
        }
    }
    let found = pool::sleeping(timeout, look);
    if found > 1 {
        BURST.store(true, Ordering::Relaxed);
    }
    found
}

/// Takes what was found of flows that wait out of the events. Nothing can have come for them but the end of their module, which is
/// not theirs. How many are left.
///
/// # Safety
/// `found` events stand there, or it is not positive.
unsafe fn sift(set: i32, events: *mut libc::epoll_event, found: i32) -> i32 {
    if found <= 0 || !any() {
        return found;
    }
    let Some(state) = process::presumed() else { return found };
    let Some(_claim) = Claim::take() else { return found };
    // SAFETY: the caller's.
    let events = unsafe { core::slice::from_raw_parts_mut(events, found as usize) };
    let mut left = events.len();
    for one in WAITING.iter().take(COUNT.load(Ordering::Relaxed)) {
        // Another socket may have the same data: one event for each, and none of a set that it is not in.
        let data = one.data.load(Ordering::Relaxed);
        let is_end = |event: &libc::epoll_event| {
            let (its, seen) = (event.u64, event.events);
            its == data && seen & libc::EPOLLHUP as u32 != 0
        };
        let at = events[..left].iter().position(is_end);
        let Some(at) = at.filter(|_| {
            one.set.load(Ordering::Relaxed) == set && sys::is_hung_up(one.fd.load(Ordering::Relaxed))
        }) else {
            continue;
        };
        events.copy_within(at + 1..left, at);
        left -= 1;
    }
    if left < events.len() {
        give_up(state);
    }
    left as i32
}

/// Before an accept: one that blocks is a sleep.
pub fn before_accept(fd: i32) {
    if !any() || LISTENER.load(Ordering::Relaxed) == fd {
        return;
    }
    if sys::fcntl(fd, libc::F_GETFL, 0).is_ok_and(|flags| flags as i32 & libc::O_NONBLOCK != 0) {
        LISTENER.store(fd, Ordering::Relaxed);
    } else {
        flush();
    }
}

/// Sends what waits.
#[inline]
pub fn flush() {
    if any() {
        flush_now();
    }
}

#[cold]
fn flush_now() {
    // A fork's child forgets what its parent had waiting.
    if process::presumed().is_none() {
        return;
    }
    if let Some(_claim) = Claim::take() {
        send();
    }
}

/// Before a fork, which a child begins with nothing that waits, and of a vfork's whose memory this is, nothing may come to wait.
pub fn end() {
    flush();
    BURST.store(false, Ordering::Relaxed);
}

/// In a fork's child.
pub fn forget() {
    COUNT.store(0, Ordering::Relaxed);
    CONNECTION.store(0, Ordering::Relaxed);
    BURST.store(false, Ordering::Relaxed);
    CLAIM.store(false, Ordering::Release);
}

/// A flow that may have to be given something else under its number.
#[derive(Clone, Copy)]
struct Registered {
    fd: i32,
    set: i32,
    event: libc::epoll_event,
}

/// Sends what waits. By whom has the claim.
fn send() {
    let Some((held, count)) = take_all() else { return };
    let mut begins = [(0, 0); MOST];
    for (begin, one) in begins.iter_mut().zip(&WAITING) {
        *begin = (fds::hidden_number(one.fd.load(Ordering::Relaxed)), one.slot.load(Ordering::Relaxed));
    }
    match queue::begin(&held, &begins[..count]) {
        Ok(()) if count > 1 => record::count(Counter::BeginsJoined, count as u64),
        Ok(()) => {}
        Err(reason) => put_all_back(count, reason),
    }
}

/// The module of what waits is gone, whatever its queue would still take. By whom has the claim.
#[cold]
fn give_up(state: &process::State) {
    let Some((held, count)) = take_all() else { return };
    held.leave_all(&state.cells);
    put_all_back(count, Counter::NoModule);
}

/// From here on nothing waits. The connection, and how many there were.
fn take_all() -> Option<(Held, usize)> {
    let count = COUNT.swap(0, Ordering::Acquire).min(MOST);
    LISTENER.store(-1, Ordering::Relaxed);
    let held = CONNECTION.swap(0, Ordering::Relaxed).checked_sub(1).and_then(Held::from_index)?;
    Some((held, count))
}

#[cold]
fn put_all_back(count: usize, reason: Counter) {
    let all = WAITING.each_ref().map(|one| Registered {
        fd: one.fd.load(Ordering::Relaxed),
        set: one.set.load(Ordering::Relaxed),
        event: libc::epoll_event {
            events: one.events.load(Ordering::Relaxed),
            u64: one.data.load(Ordering::Relaxed),
        },
    });
    for one in &all[..count] {
        put_back(*one, reason);
    }
}

/// The begin of a flow could not be sent. Its near socket has carried nothing, and the module does not know of it: the flow goes
/// to whom it can on a pair of its own, or is the application's own.
#[cold]
fn put_back(one: Registered, reason: Counter) {
    let (fd, hidden) = (one.fd, fds::hidden_number(one.fd));
    let flags = fds::flags(fd);
    let Some(state) = process::presumed().filter(|_| flags & fds::STOLEN != 0) else { return };
    pool::unsent(fd);
    let cloexec = sys::fcntl(fd, libc::F_GETFD, 0).is_ok_and(|now| now as i32 & libc::FD_CLOEXEC != 0);
    let sent = queue::deliver(state, hidden, How::Fresh, |pair| {
        pair.prepare(true);
        pair.cookie()
    });
    match sent {
        Ok(sent) => {
            let seat = sent.pair.take_place(fd, cloexec);
            fds::set_seated(fd, flags, sent.cookie, seat);
        }
        Err(_) => {
            record::count(reason, 1);
            record::count(Counter::Returned, 1);
            fds::take(fd);
            listener::restore(hidden, flags);
            let _ = sys::dup3(hidden, fd, cloexec);
            sys::close(hidden);
        }
    }
    if one.set >= 0 {
        // With the socket that stood here its registration has gone.
        let _ = sys::epoll_add(one.set, fd, one.event);
    }
}
