//! The paper's calls (Table 1) for programs that have their own loop, in C and in Python alike.
//!
//! | file | holds |
//! | --- | --- |
//! | [`mask`] | which cores a `cpu_mask` means |
//! | [`relay`] | bytes that come along with a yielded flow |
//! | [`state`] | the TCP state of a descriptor |
//! | [`revoke`], [`kernel`] | bytes taken back from modules, from the kernel |
//! | [`requests`] | bytes given back by a program that is a module |
//! | [`bell`] | what epoll sets are told of both |
//! | [`yielding`] | flows that go to other modules |
//! | here | the process' one registration, its steal queues, what EPOLL_STEAL waits for |
//!
//! A process is one module. Rules: safe from any thread; nothing waits, except for the registry's lock; a forked child
//! is not the module. It must not move bytes: the sockets are the program's.

pub mod bell;
#[cfg(feature = "kernel-yank")]
pub mod kernel;
pub mod mask;
pub mod relay;
pub mod requests;
pub mod revoke;
pub mod state;
pub mod yielding;

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{json, Value};

use crate::control::{self, Subject};
use crate::cores;
use crate::error::{Error, Result};
use crate::pairs::Pairs;
use crate::poll::Poller;
use crate::registry::{self, Registration};
use crate::revoke::Yanker;
use crate::runtime::Runtime;
use crate::stats::Stats;
use crate::steal::queue::{Queue, Sockets};
use crate::steal::Receiver;
use crate::users::Users;
use mask::Mask;

static MODULE: Mutex<Option<Arc<Module>>> = Mutex::new(None);

struct Module {
    pid: u32,
    receiver: Receiver,
    queues: Vec<Queue>,
    registration: Mutex<Option<Registration>>,
    /// One epoll set for each mask of several cores that somebody waits for; few, and kept.
    gates: Mutex<BTreeMap<std::ffi::c_long, Poller>>,
}

/// Registers this process under `name`; a control thread answers from now on, and the name is given back at exit.
///
/// # Errors
/// EBUSY: this process has a name already; else as [`Registration::bind`].
pub fn register(name: &str) -> Result<()> {
    let mut module = lock(&MODULE);
    if let Some(old) = module.as_ref().filter(|old| old.pid == std::process::id()) {
        return Err(Error::new(
            libc::EBUSY,
            format!("this process is module {} already; use another process for {name}", old.receiver.name),
        ));
    }
    let _quiet = Quiet::begin();
    let runtime = Runtime::from_env()?;
    let mut registration = Registration::bind(&runtime, name, &cores::configured())?;
    let mut queues = Vec::with_capacity(registration.queues.len());
    for (cpu, listener) in registration.queues.drain(..) {
        queues.push(Queue::new(cpu, listener).map_err(|e| Error::system("cannot watch a steal queue", &e))?);
    }
    let control = duplicate(&registration.control)?;
    let new = Arc::new(Module {
        pid: std::process::id(),
        receiver: Receiver {
            runtime: runtime.clone(),
            name: name.to_owned(),
            stats: Arc::new(Stats::default()),
            // The sockets are the program's, which closes them.
            pairs: Pairs::Fresh,
            spare: Arc::default(),
            // Long enough to be chosen for inspection.
            keeps_real: true,
        },
        queues,
        registration: Mutex::new(Some(registration)),
        gates: Mutex::default(),
    });
    let users = Users::start(runtime, name, None)?;
    control::start(control, Arc::clone(&new) as Arc<dyn Subject>, users)?;
    *module = Some(new);
    // SAFETY: the function takes nothing and lives as long as this library, which cannot be unloaded while its threads
    // run. Where there is no room for it, the next registration of the name removes what is left.
    unsafe { libc::atexit(at_exit) };
    Ok(())
}

/// Takes at most `max` stolen sockets from the queues of the cores in `mask`; at least one.
///
/// # Errors
/// EAGAIN: none is there; ESHUTDOWN: none is there and none will come, since the module was told to stop; EINVAL: the
/// mask means no core of this machine; ENOTCONN: this process has not registered; EMFILE and its like.
pub fn getsockets(max: usize, mask: Mask) -> Result<Vec<Sockets>> {
    let module = module()?;
    let mut flows = Vec::new();
    let (mut any, mut found) = (false, None);
    for queue in module.queues(mask) {
        any = true;
        let left = max - flows.len();
        if left == 0 {
            break;
        }
        if let Err(error) = queue.take(left, &module.receiver, &mut flows) {
            found = Some(error);
        }
    }
    if !any {
        return Err(mask::no_core());
    }
    if !flows.is_empty() {
        flows.iter().for_each(yielding::remember);
        return Ok(flows);
    }
    Err(found.map_or_else(
        || Error::new(libc::EAGAIN, "no stolen socket is there; wait for EPOLL_STEAL"),
        |e| Error::system("cannot take stolen sockets", &e),
    ))
}

/// The descriptor that is readable, level-triggered, while there may be something for [`getsockets`] with this mask. It
/// belongs to the process for its whole life; put it into an epoll set, never close it.
///
/// # Errors
/// EINVAL, ENOTCONN as [`getsockets`]; what the system says about epoll.
pub fn gate(mask: Mask) -> Result<RawFd> {
    let module = module()?;
    let mut queues = module.queues(mask).peekable();
    let first = queues.next().ok_or_else(mask::no_core)?;
    if queues.peek().is_none() {
        return Ok(first.as_raw_fd());
    }
    let mut gates = lock(&module.gates);
    if let Some(gate) = gates.get(&mask.bits()) {
        return Ok(gate.as_raw_fd());
    }
    let failed = |e: std::io::Error| Error::system("cannot watch the steal queues", &e);
    let gate = Poller::new().map_err(failed)?;
    for queue in module.queues(mask) {
        gate.add_level(queue.as_raw_fd(), u64::from(queue.cpu)).map_err(failed)?;
    }
    let fd = gate.as_raw_fd();
    gates.insert(mask.bits(), gate);
    Ok(fd)
}

/// Applies a chain to a process, 0 being this one; see [`crate::apply::apply`].
///
/// # Errors
/// ESRCH for a negative number; else as [`crate::apply::apply`].
pub fn apply(target: i32, chain: &[&str]) -> Result<()> {
    let pid = match u32::try_from(target) {
        Ok(0) => std::process::id(),
        Ok(pid) => pid,
        Err(_) => return Err(Error::new(libc::ESRCH, format!("there is no process {target}"))),
    };
    match crate::apply::apply(pid, chain, None) {
        Ok(_) => Ok(()),
        // A process without a chain has no registry either; ours tells whether the names are to blame as well.
        Err(error) if error.errno == libc::EOPNOTSUPP => {
            let runtime = Runtime::from_env()?;
            for name in chain {
                registry::check_name(name)?;
                if !registry::is_living(&runtime, name)? {
                    return Err(Error::unknown_module(name));
                }
            }
            Err(error)
        }
        Err(error) => Err(error),
    }
}

fn module() -> Result<Arc<Module>> {
    let module = lock(&MODULE).as_ref().filter(|module| module.pid == std::process::id()).cloned();
    module.ok_or_else(|| Error::new(libc::ENOTCONN, "this process is no module; register it first"))
}

impl Module {
    fn queues(&self, mask: Mask) -> impl Iterator<Item = &Queue> {
        self.queues.iter().filter(move |queue| mask.has(queue.cpu))
    }

    fn unregister(&self) {
        // A lock that is held too long leaves files that the next registration removes.
        drop(lock(&self.registration).take());
    }
}

impl Subject for Module {
    fn status(&self) -> Value {
        // The flows are the program's own; what it does with them is not seen here.
        json!({
            "name": self.receiver.name,
            "spec": "",
            "persistent": true,
            "workers": 0,
            "pairs": self.receiver.pairs.name(),
            "counters": self.receiver.stats.and_inspection(),
        })
    }

    fn flows(&self, _each: &mut dyn FnMut(Value)) {}

    fn yanker(&self) -> Option<&dyn Yanker> {
        Some(&requests::Requests)
    }

    fn stop(&self, drain: Duration) {
        self.unregister();
        for queue in &self.queues {
            queue.close(&self.receiver);
        }
        let pid = self.pid;
        let terminate = move || {
            thread::sleep(drain);
            // SAFETY: no memory is passed; the process is our own.
            unsafe { libc::kill(pid.cast_signed(), libc::SIGTERM) };
        };
        // Without a thread to wait in, at once.
        if thread::Builder::new().name("modnet-stop".to_owned()).spawn(terminate).is_err() {
            // SAFETY: as above.
            unsafe { libc::kill(pid.cast_signed(), libc::SIGTERM) };
        }
    }
}

extern "C" fn at_exit() {
    // A thread that holds the lock at exit is in the middle of a registration, which then is repaired by the next one.
    let module = MODULE.try_lock().ok().and_then(|module| module.clone());
    if let Some(module) = module.filter(|module| module.pid == std::process::id()) {
        module.unregister();
    }
}

/// Blocks all signals for the threads that are made while it lives: handlers run in the program's own threads.
struct Quiet(libc::sigset_t);

impl Quiet {
    fn begin() -> Self {
        // SAFETY: both sets are whole; zeroes are one.
        unsafe {
            let (mut all, mut old) = (std::mem::zeroed(), std::mem::zeroed());
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut old);
            Self(old)
        }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // SAFETY: the set is the one that was in force.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
    }
}

fn duplicate(fd: &OwnedFd) -> Result<OwnedFd> {
    fd.try_clone().map_err(|e| Error::system("cannot duplicate the control socket", &e))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that can panic runs under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
