//! A module's process: its name, its workers, its control socket, from start to the last flow's end.
//!
//! One worker per core that the process may use, pinned; the queues of other cores are shared out among them, so that
//! a shim on any core finds one. A stop gives the name back first (the next instance can take it while flows
//! end here), takes what is on its way, then waits for the flows, at most as long as it was told.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{channel, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{json, Value};

use crate::control::{self, Subject};
use crate::cores;
use crate::error::{Error, Result};
use crate::hooks::Hooks;
use crate::pairs::Pairs;
use crate::poll::Waker;
use crate::registry::Registration;
use crate::revoke::{Step, Ticket, Yanker};
use crate::runtime::Runtime;
use crate::stats::Stats;
use crate::steal::Receiver;
use crate::users::Users;
use crate::worker::{Ask, Found, Order, Shared, Worker};

/// How long a list of flows waits for a busy worker.
const PATIENCE: Duration = Duration::from_secs(2);

/// Runs around a worker's whole life, on its thread: an interpreter attaches the thread once, not for each hook.
pub type Around = Arc<dyn Fn(&mut (dyn FnMut() + Send)) + Send + Sync>;

/// How an engine is to run.
pub struct Config {
    /// Where to register.
    pub runtime: Runtime,
    /// Under which name.
    pub name: String,
    /// What the module does.
    pub hooks: Arc<dyn Hooks>,
    /// Describes module and settings; shown by `status`.
    pub spec: String,
    /// Whether it stays when its last user has gone.
    pub persistent: bool,
    /// How long flows may take to end when the last user goes.
    pub drain: Duration,
    /// Most bytes that one way of a flow reads before they have been sent.
    pub send_queue: usize,
    /// Most outbound bytes of a flow that wait where they can be taken back; None: nobody may take any.
    pub revocable: Option<usize>,
    /// Workers; None: one per core.
    pub workers: Option<usize>,
    /// Whether pairs outlive their flows.
    pub pairs: Pairs,
    /// See [`Around`].
    pub around: Option<Around>,
}

/// A running engine.
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    spec: String,
    persistent: bool,
    drain: Duration,
    workers: Vec<Handle>,
    users: Mutex<Option<Arc<Users>>>,
    registration: Mutex<Option<Registration>>,
    control: OwnedFd,
}

struct Handle {
    orders: Mutex<Sender<Order>>,
    waker: Arc<Waker>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Handle {
    fn tell(&self, order: Order) {
        // A worker that has ended does not listen any more.
        let _ = lock(&self.orders).send(order);
        self.waker.ring();
    }
}

impl Engine {
    /// Registers the name and starts the workers.
    ///
    /// # Errors
    /// EEXIST where the name is taken, else as [`Registration::bind`], or what the system says about threads.
    pub fn start(config: Config) -> Result<Self> {
        let all = cores::configured();
        let usable = cores::usable();
        let mut registration = Registration::bind(&config.runtime, &config.name, &all)?;
        let queues = std::mem::take(&mut registration.queues);
        let count = config.workers.unwrap_or(usable.len()).clamp(1, usable.len());
        let mut shares: Vec<Vec<(u32, OwnedFd)>> = (0..count).map(|_| Vec::new()).collect();
        for (cpu, queue) in queues {
            let owner = usable.iter().position(|u| *u == cpu).unwrap_or(cpu as usize) % count;
            shares[owner].push((cpu, queue));
        }
        let receiver = Receiver {
            runtime: config.runtime.clone(),
            name: config.name.clone(),
            stats: Arc::new(Stats::default()),
            pairs: config.pairs,
            spare: Arc::default(),
            keeps_real: config.hooks.wants().any(),
        };
        let shared = Arc::new(Shared {
            receiver,
            hooks: config.hooks,
            send_queue: config.send_queue,
            revocable: config.revocable,
            workers: count as u64,
            flows: AtomicU64::new(0),
            next_id: AtomicU64::new(1),
        });
        let mut workers = Vec::with_capacity(count);
        for (index, queues) in shares.into_iter().enumerate() {
            // Fewer workers than cores: the kernel may move them.
            let core = (count == usable.len()).then(|| usable[index]);
            workers.push(spawn(index, core, queues, &shared, config.around.clone())?);
        }
        let control = duplicate(&registration.control)?;
        let listening = duplicate(&registration.control)?;
        let inner = Arc::new(Inner {
            shared,
            spec: config.spec,
            persistent: config.persistent,
            drain: config.drain,
            workers,
            users: Mutex::new(None),
            registration: Mutex::new(Some(registration)),
            control,
        });
        let ending = Arc::downgrade(&inner);
        let when_empty: Option<Box<dyn FnOnce() + Send>> = (!config.persistent).then(|| {
            Box::new(move || {
                if let Some(inner) = ending.upgrade() {
                    inner.stop(inner.drain);
                }
            }) as Box<dyn FnOnce() + Send>
        });
        let users = Users::start(config.runtime, &config.name, when_empty)?;
        *lock(&inner.users) = Some(Arc::clone(&users));
        control::start(listening, Arc::clone(&inner) as Arc<dyn Subject>, users)?;
        Ok(Self { inner })
    }

    /// Returns once all workers have ended.
    pub fn wait(&self) {
        for worker in &self.inner.workers {
            if let Some(thread) = lock(&worker.thread).take() {
                // A worker's panic was told by its hook; the others go on to their end.
                let _ = thread.join();
            }
        }
        // SAFETY: no memory is passed. Ends the thread that answers.
        unsafe { libc::shutdown(self.inner.control.as_raw_fd(), libc::SHUT_RDWR) };
    }

    /// Takes no more flows, gives those there are so long to end, then resets them. Returns at once.
    pub fn stop(&self, drain: Duration) {
        self.inner.stop(drain);
    }
}

impl Inner {
    fn stop(&self, drain: Duration) {
        if let Some(users) = lock(&self.users).take() {
            users.end();
        }
        // A lock that is held too long leaves files that the next registration removes.
        drop(lock(&self.registration).take());
        let end = Instant::now() + drain;
        for worker in &self.workers {
            worker.tell(Order::Drain(end));
        }
    }
}

impl Subject for Inner {
    fn status(&self) -> Value {
        json!({
            "name": self.shared.receiver.name,
            "spec": self.spec,
            "persistent": self.persistent,
            "drain": self.drain.as_secs_f64(),
            "flows": self.shared.flows.load(Ordering::Relaxed),
            "workers": self.workers.len(),
            "send_queue": self.shared.send_queue,
            "revocable": self.shared.revocable,
            "pairs": self.shared.receiver.pairs.name(),
            "counters": self.shared.receiver.stats.and_inspection(),
            "own_counters": self.shared.hooks.counters().into_iter().collect::<BTreeMap<_, _>>(),
        })
    }

    fn flows(&self, each: &mut dyn FnMut(Value)) {
        let answers: Vec<_> = self
            .workers
            .iter()
            .map(|worker| {
                let (sender, answer) = channel();
                worker.tell(Order::List(sender));
                answer
            })
            .collect();
        for answer in answers {
            answer.recv_timeout(PATIENCE).unwrap_or_default().into_iter().for_each(&mut *each);
        }
    }

    fn yanker(&self) -> Option<&dyn Yanker> {
        Some(self)
    }

    fn stop(&self, drain: Duration) {
        Inner::stop(self, drain);
    }

    fn reload(&self) -> Result<()> {
        self.shared.hooks.reload()
    }
}

impl Yanker for Inner {
    fn take(&self, ino: u32, session: u64, length: usize) -> Result<Step> {
        for (worker, handle) in self.workers.iter().enumerate() {
            let (answer, found) = channel();
            handle.tell(Order::Yank(Ask::Take { ino, session, length, answer }));
            let ticket = |flow| Ticket { worker, flow, session };
            match found.recv_timeout(PATIENCE) {
                Ok(None) => {}
                Ok(Some(Ok(Found::Ready(flow, bytes)))) => return Ok(Step::Ready(ticket(flow), bytes)),
                Ok(Some(Ok(Found::More(flow, missing, next)))) => {
                    return Ok(Step::More(ticket(flow), missing, next))
                }
                Ok(Some(Err(error))) => return Err(error),
                Err(_) => {
                    // It comes to it later, and forgets it at once.
                    handle.tell(Order::Yank(Ask::Forget { session }));
                    return Err(busy());
                }
            }
        }
        Err(Error::new(libc::ENOENT, "no flow of this module has that socket"))
    }

    fn supply(&self, ticket: Ticket, bytes: Vec<u8>) -> Result<Vec<u8>> {
        let (answer, found) = channel();
        let Ticket { worker, flow, session } = ticket;
        self.workers[worker].tell(Order::Yank(Ask::Supply { flow, session, bytes, answer }));
        let found = found.recv_timeout(PATIENCE).map_err(|_| busy())?;
        found.ok_or_else(|| Error::new(libc::ENOTCONN, "the flow is over"))
    }

    fn settle(&self, ticket: Ticket, taken: usize, hold: bool) {
        let Ticket { worker, flow, session } = ticket;
        self.workers[worker].tell(Order::Yank(Ask::Settle { flow, session, taken, hold }));
    }
}

fn busy() -> Error {
    Error::new(libc::ETIMEDOUT, "the module's worker does not answer: a hook of the module takes too long")
}

fn spawn(
    index: usize,
    core: Option<u32>,
    queues: Vec<(u32, OwnedFd)>,
    shared: &Arc<Shared>,
    around: Option<Around>,
) -> Result<Handle> {
    let failed = |e: std::io::Error| Error::system("cannot start a worker", &e);
    let waker = Arc::new(Waker::new().map_err(failed)?);
    let (sender, orders) = channel();
    let worker = Worker::new(Arc::clone(shared), queues, orders, Arc::clone(&waker)).map_err(failed)?;
    let mut worker = Some(worker);
    let mut run = move || {
        cores::prefer_batches();
        if let Some(core) = core {
            cores::pin(core);
        }
        if let Some(Err(error)) = worker.take().map(Worker::run) {
            eprintln!("modnet: a worker has ended: {error}");
        }
    };
    let thread = thread::Builder::new()
        .name(format!("modnet-{index}"))
        .spawn(move || match around {
            Some(around) => around(&mut run),
            None => run(),
        })
        .map_err(failed)?;
    Ok(Handle { orders: Mutex::new(sender), waker, thread: Mutex::new(Some(thread)) })
}

fn duplicate(fd: &OwnedFd) -> Result<OwnedFd> {
    fd.try_clone().map_err(|e| Error::system("cannot duplicate the control socket", &e))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that can panic runs under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
