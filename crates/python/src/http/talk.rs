//! One flow of a module of messages: its connection, whom to ask, and when to flush.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use modnet_engine::flow::Way;
use modnet_engine::hooks::{Opened, Orders, Verdict};
use modnet_transform::http::{self as framer, Change, Connection, Fed, Head, Judge, Request, Room};
use pyo3::intern;
use pyo3::prelude::*;

use super::body::{body, Owner};
use super::message::{HttpRequest, HttpResponse, Wish};
use super::module::Asked;
use crate::flow::Flow;
use crate::hooks;

/// Read at once where heads are looked for: larger ones are rare, and what is behind them passes uncopied.
pub const HEADS: usize = 16 * 1024;
/// Read at once of a body that is changed: as much as is there.
const BODIES: usize = 256 * 1024;
/// Where a client takes nothing, silence is looked for after as long again as it has lasted, and after so long at the latest: fifty
/// such clients at every 5 ms took 6 ms of each second, all of them one after the other, and somebody waited behind them.
const SELDOM: Duration = Duration::from_millis(100);
/// What is worth a system call of its own: less is read along with what follows.
const WORTH: u64 = 32 * 1024;

/// The flow as Python has it.
pub enum Side {
    /// The engine's, made when Python first wants it.
    Engine(Option<Box<Opened>>, Option<Py<Flow>>),
    /// Somebody else's.
    Played(Py<PyAny>),
}

impl Side {
    fn flow<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Played(flow) => Ok(flow.bind(py).clone()),
            Self::Engine(_, Some(flow)) => Ok(flow.bind(py).clone().into_any()),
            Self::Engine(opened, made) => {
                let opened = opened.take().ok_or_else(|| {
                    pyo3::exceptions::PyRuntimeError::new_err(
                        "the flow could not be made, and is asked for again",
                    )
                })?;
                let mut flow = Flow::new(*opened);
                flow.of_messages = true;
                let flow = Py::new(py, flow)?;
                *made = Some(flow.clone_ref(py));
                Ok(flow.into_bound(py).into_any())
            }
        }
    }
}

/// Whom to ask about a flow, and what was said so far.
struct Front {
    asked: Arc<Asked>,
    side: Side,
    /// Seconds of silence after which changed bodies tell what they have; by way.
    flush: [Duration; 2],
    /// Whether a policy was asked; None: nobody was asked about any message yet.
    policy: Option<Arc<AtomicBool>>,
}

impl Front {
    /// Where a body's policy leaves word.
    fn policy(&mut self) -> Arc<AtomicBool> {
        Arc::clone(self.policy.get_or_insert_default())
    }

    /// For one call into the framer; `bytes` that the flow has moved.
    fn desk<'a>(&'a mut self, bytes: [u64; 2], orders: &'a mut Orders) -> Desk<'a> {
        Desk { front: self, bytes, orders, gave_up: false }
    }
}

/// One flow.
pub struct Talk {
    front: Front,
    connection: Connection,
    /// Since when it is silent; by way.
    fed: [Option<Instant>; 2],
    awake: bool,
    /// It is looked at seldom, since its client takes nothing.
    seldom: bool,
    /// Whether bodies are read, and not heads; by way.
    reads_body: [bool; 2],
    /// Whether the engine tells of the end; by way. Between messages it is nobody's, and comes in one segment with the last.
    hears_end: [bool; 2],
    told: bool,
}

fn way_of(way: Way) -> framer::Way {
    match way {
        Way::Inbound => framer::Way::Request,
        Way::Outbound => framer::Way::Response,
    }
}

impl Talk {
    /// At a flow's beginning.
    pub fn new(asked: Arc<Asked>, side: Side) -> Self {
        let edits = [asked.request, asked.response];
        Self {
            front: Front { asked, side, flush: [Duration::ZERO; 2], policy: None },
            connection: Connection::new(edits),
            fed: [None; 2],
            awake: false,
            seldom: false,
            reads_body: [false; 2],
            hears_end: [true; 2],
            told: false,
        }
    }

    /// Calls a hook of the flow itself.
    pub fn call(&mut self, hook: &'static str, bytes: [u64; 2], orders: &mut Orders) -> Verdict {
        let mut desk = self.front.desk(bytes, orders);
        let done = desk.python(hook, |_, module, flow| module.call_method1(hook, (flow,)).map(|_| ()));
        if desk.gave_up || done.is_none() {
            self.connection.give_up();
        }
        done.map_or(Verdict::Failed, |()| Verdict::Same)
    }

    /// Bytes came.
    pub fn feed(
        &mut self,
        way: Way,
        data: &[u8],
        bytes: [u64; 2],
        out: &mut Vec<u8>,
        orders: &mut Orders,
    ) -> Verdict {
        let side = way_of(way);
        let before = self.connection.messages();
        let mut desk = self.front.desk(bytes, orders);
        let fed = self.connection.feed(side, data, out, &mut desk);
        if desk.gave_up {
            self.connection.give_up();
        }
        if matches!(fed, Fed::Broken(_)) {
            self.broken(orders);
        } else if self.connection.is_open(side) {
            self.silence(way, out, orders);
        }
        self.collect(orders);
        let messages = self.connection.messages();
        self.front.asked.counted.messages([messages[0] - before[0], messages[1] - before[1]]);
        self.tell_opaque();
        self.let_pass(way, orders);
        match fed {
            Fed::Same => Verdict::Same,
            Fed::Out | Fed::Broken(_) => Verdict::Replaced,
        }
    }

    /// What a policy has ordered: it is asked deep inside.
    fn collect(&mut self, orders: &mut Orders) {
        if !self.front.policy.as_ref().is_some_and(|asked| asked.swap(false, Ordering::Relaxed)) {
            return;
        }
        if let Side::Engine(_, Some(flow)) = &self.front.side {
            let given = Python::attach(|py| std::mem::take(&mut flow.borrow_mut(py).orders));
            if take(given, orders) {
                self.connection.give_up();
            }
        }
    }

    /// What goes on without being looked at.
    fn let_pass(&mut self, way: Way, orders: &mut Orders) {
        if self.connection.is_over() {
            orders.forward = [true; 2];
            return;
        }
        let reads_body = self.connection.changes(way_of(way));
        if self.reads_body[way as usize] != reads_body {
            self.reads_body[way as usize] = reads_body;
            orders.reads[way as usize] = Some(if reads_body { BODIES } else { HEADS });
        }
        let busy = self.connection.is_busy(way_of(way));
        if std::mem::replace(&mut self.hears_end[way as usize], busy) != busy {
            orders.ends[way as usize] = Some(busy);
        }
        match self.connection.skip(way_of(way), WORTH) {
            0 => {}
            u64::MAX => orders.forward[way as usize] = true,
            count => orders.skip[way as usize] = Some(count),
        }
    }

    /// A changed body has something to tell: now, or when nothing came for a while.
    fn silence(&mut self, way: Way, out: &mut Vec<u8>, orders: &mut Orders) {
        let patience = self.front.flush[way as usize];
        if patience.is_zero() {
            if self.connection.flush(way_of(way), out).is_err() {
                self.broken(orders);
            }
            return;
        }
        self.fed[way as usize] = Some(Instant::now());
        let seldom = std::mem::take(&mut self.seldom);
        if !std::mem::replace(&mut self.awake, true) || seldom {
            orders.wake = nanoseconds(patience);
        }
    }

    /// The time has come to look for silence; `waiting`: bytes that the destination has not taken, behind which a flush
    /// would bring nothing.
    pub fn woken(&mut self, way: Way, waiting: usize, out: &mut Vec<u8>, orders: &mut Orders) -> Verdict {
        if way == Way::Outbound {
            // The first of the two calls of one waking.
            (self.awake, self.seldom) = (false, false);
        }
        let Some(fed) = self.fed[way as usize].filter(|_| self.connection.is_open(way_of(way))) else {
            return Verdict::Same;
        };
        let patience = self.front.flush[way as usize];
        let silent = fed.elapsed();
        let left = patience.saturating_sub(silent);
        if waiting > 0 || !left.is_zero() {
            self.awake = true;
            self.seldom |= waiting > 0;
            orders.wake =
                nanoseconds(if waiting > 0 { silent.clamp(patience, SELDOM.max(patience)) } else { left });
            return Verdict::Same;
        }
        self.flush(way, out, orders);
        Verdict::Replaced
    }

    /// It is silent.
    pub fn flush(&mut self, way: Way, out: &mut Vec<u8>, orders: &mut Orders) {
        self.fed[way as usize] = None;
        if self.connection.flush(way_of(way), out).is_err() {
            self.broken(orders);
        }
    }

    /// A source has ended.
    pub fn end(&mut self, way: Way, out: &mut Vec<u8>, orders: &mut Orders) -> Verdict {
        let before = self.connection.truncated();
        if self.connection.end(way_of(way), out).is_err() {
            self.broken(orders);
        }
        self.front.asked.counted.truncated(self.connection.truncated() - before);
        self.tell_opaque();
        if out.is_empty() {
            Verdict::Same
        } else {
            Verdict::Replaced
        }
    }

    /// From here on everything passes.
    pub fn give_up(&mut self) {
        self.connection.give_up();
    }

    /// A message that was begun cannot be ended: only a reset tells both ends.
    fn broken(&mut self, orders: &mut Orders) {
        self.front.asked.counted.broken();
        orders.reset = true;
    }

    /// Counts the flow, once, where it passes unseen.
    fn tell_opaque(&mut self) {
        if let Some(reason) = self.connection.opaque().filter(|_| !self.told) {
            self.told = true;
            self.front.asked.counted.opaque(reason);
        }
    }
}

/// A flow's orders become the engine's; whether the module wants no more of its messages: then bodies under way are
/// finished first.
fn take(given: Orders, orders: &mut Orders) -> bool {
    orders.reset |= given.reset;
    for (mine, given) in orders.limit.iter_mut().zip(given.limit) {
        *mine = given.or(*mine);
    }
    orders.unsent = given.unsent.or(orders.unsent);
    orders.yielding = given.yielding.or(orders.yielding.take());
    given.forward.contains(&true)
}

fn nanoseconds(time: Duration) -> Option<u64> {
    // A millisecond at least: epoll's grain.
    Some(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1_000_000))
}

/// Where the framer asks.
struct Desk<'a> {
    front: &'a mut Front,
    bytes: [u64; 2],
    orders: &'a mut Orders,
    gave_up: bool,
}

impl Desk<'_> {
    /// Runs `call` with the flow told and its orders taken; None: it failed, and the module was told.
    fn python<T>(
        &mut self,
        hook: &'static str,
        call: impl FnOnce(Python<'_>, &Bound<'_, PyAny>, &Bound<'_, PyAny>) -> PyResult<T>,
    ) -> Option<T> {
        Python::attach(|py| {
            let Front { asked, side, .. } = &mut *self.front;
            let module = asked.module.bind(py);
            let flow = match side.flow(py) {
                Ok(flow) => flow,
                Err(error) => {
                    error.write_unraisable(py, Some(module));
                    return None;
                }
            };
            let native = flow.cast::<Flow>().ok().cloned();
            if let Some(native) = &native {
                native.borrow_mut().bytes = self.bytes;
            }
            let result = call(py, module, &flow).map_err(|error| {
                hooks::tell(module, hook, &flow, &error);
            });
            if let Some(native) = &native {
                let given = std::mem::take(&mut native.borrow_mut().orders);
                // To forward is to want no more of the messages; bodies under way are finished.
                self.gave_up |= take(given, self.orders);
            }
            if result.is_err() && asked.on_error_resets {
                self.orders.reset = true;
            }
            result.ok()
        })
    }

    fn change(
        &mut self,
        way: Way,
        done: Option<(Option<Head>, Option<Change>, Duration)>,
        head: &mut Head,
    ) -> Change {
        let Some((edited, change, flush)) = done else { return Change::GiveUp };
        if let Some(edited) = edited {
            *head = edited;
        }
        if let Some(change) = change {
            self.front.flush[way as usize] = flush;
            self.front.asked.counted.changed();
            return change;
        }
        Change::Keep
    }
}

fn owner(module: &Bound<'_, PyAny>, flow: &Bound<'_, PyAny>, policy: Arc<AtomicBool>) -> Owner {
    Owner { module: module.clone().unbind(), flow: flow.clone().unbind(), asked: policy }
}

/// What the wish asks for.
fn changed(
    py: Python<'_>,
    wish: Option<Wish>,
    owner: impl FnOnce() -> Owner,
) -> PyResult<(Option<Change>, Duration)> {
    let Some((wanted, flush)) = wish else { return Ok((None, Duration::ZERO)) };
    Ok((Some(Change::Body(body(py, wanted, owner())?)), Duration::from_secs_f64(flush)))
}

impl Judge for Desk<'_> {
    fn request(&mut self, request: &mut Head, room: Room) -> Change {
        if !self.front.asked.request {
            return Change::Keep;
        }
        let policy = self.front.policy();
        let done = self.python("request", |py, module, flow| {
            let given = Bound::new(py, HttpRequest::new(py, request, room)?)?;
            module.call_method1(intern!(py, "request"), (flow, &given))?;
            let wish = given.borrow_mut().wish.take();
            let owner = || owner(module, flow, policy);
            let (change, flush) = changed(py, wish, owner)?;
            let edited = given.borrow().edited(py);
            Ok((edited, change, flush))
        });
        self.change(Way::Inbound, done, request)
    }

    fn response(&mut self, request: &Request, response: &mut Head, room: Room) -> Change {
        let asked = &self.front.asked;
        if !asked.response || !asked.filter.wants(request, response) {
            return Change::Keep;
        }
        let policy = self.front.policy();
        let done = self.python("response", |py, module, flow| {
            let request = HttpRequest::new(py, &request.head(), Room::Empty)?;
            let given = Bound::new(py, HttpResponse::new(py, response, room)?)?;
            module.call_method1(intern!(py, "response"), (flow, Bound::new(py, request)?, &given))?;
            let wish = given.borrow_mut().wish.take();
            let owner = || owner(module, flow, policy);
            let (change, flush) = changed(py, wish, owner)?;
            let edited = given.borrow().edited(py);
            Ok((edited, change, flush))
        });
        self.change(Way::Outbound, done, response)
    }
}
