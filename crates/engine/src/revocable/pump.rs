//! The thread that sends for all revocable sockets of a process: when the kernel has room, when a timer says so, when it is told.
//!
//! Rules: it ends with the process, and is started with the first socket; a child of a fork has none, and is told so. A line is
//! gone when its owner has closed it and nothing waits. Must not know what waits, or why.

use std::collections::{BTreeSet, HashMap};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::Line;
use crate::error::{Error, Result};
use crate::poll::{Poller, Waker};

const WAKE: u64 = u64::MAX;
/// Nanoseconds after which a socket is looked at that cannot be watched.
const LATER: u64 = 10_000_000;

/// The process's.
pub static PUMP: Once = Once(OnceLock::new());

/// Made when it is first asked for.
pub struct Once(OnceLock<Result<Pump>>);

impl Once {
    /// The pump.
    ///
    /// # Errors
    /// No descriptors, no thread.
    pub fn get(&self) -> Result<&Pump> {
        let pump = self.0.get_or_init(Pump::new).as_ref().map_err(Clone::clone)?;
        if !pump.is_ours() {
            return Err(Error::new(
                libc::EOPNOTSUPP,
                "sockets cannot be made revocable after a fork: start a new process instead",
            ));
        }
        Ok(pump)
    }
}

/// What the pump's thread and the others share.
#[derive(Debug)]
pub struct Pump {
    lines: Mutex<HashMap<u64, Arc<Line>>>,
    /// Told when one is gone.
    gone: Condvar,
    touched: Mutex<Vec<u64>>,
    waker: Waker,
    next: AtomicU64,
    started: Instant,
    process: u32,
}

impl Pump {
    fn new() -> Result<Self> {
        let failed = |e: &std::io::Error| Error::system("cannot start the thread that sends", e);
        let poller = Poller::new().map_err(|e| failed(&e))?;
        let waker = Waker::new().map_err(|e| failed(&e))?;
        poller.add_level(waker.as_raw_fd(), WAKE).map_err(|e| failed(&e))?;
        let pump = Self {
            lines: Mutex::default(),
            gone: Condvar::new(),
            touched: Mutex::default(),
            waker,
            next: AtomicU64::new(0),
            started: Instant::now(),
            process: std::process::id(),
        };
        let thread = std::thread::Builder::new().name("modnet-late".into());
        // It waits for the static above to be there before it asks for it.
        thread.spawn(move || PUMP.get().map(|pump| pump.run(poller))).map_err(|e| failed(&e))?;
        Ok(pump)
    }

    /// Whether this is still the process that has the thread.
    pub fn is_ours(&self) -> bool {
        self.process == std::process::id()
    }

    /// A number for a line.
    pub fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Nanoseconds on the pump's clock.
    pub fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// A new line.
    pub fn add(&self, key: u64, line: Arc<Line>) {
        self.lines().insert(key, line);
        // The thread watches it when it is first touched.
    }

    /// The pump is to look at a line.
    pub fn touch(&self, key: u64) {
        let mut touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        touched.push(key);
        // One ring is enough for all that come before it is heard.
        if touched.len() == 1 {
            self.waker.ring();
        }
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<u64, Arc<Line>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_touched(&self) -> Vec<u64> {
        std::mem::take(&mut *self.touched.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn run(&self, mut poller: Poller) {
        let mut timers = Timers::default();
        loop {
            // A fault in the use of epoll would be ours; timers and owners still move everything.
            let count = poller.wait(timers.patience(self.now())).unwrap_or(0);
            for index in 0..count {
                let key = poller.event(index).token;
                if key != WAKE {
                    self.serve(&poller, key, &mut timers);
                    continue;
                }
                self.waker.clear();
                for key in self.take_touched() {
                    self.serve(&poller, key, &mut timers);
                }
            }
            while let Some(key) = timers.due(self.now()) {
                self.serve(&poller, key, &mut timers);
            }
        }
    }

    fn serve(&self, poller: &Poller, key: u64, timers: &mut Timers) {
        let Some(line) = self.lines().get(&key).cloned() else { return };
        line.watch(poller, key);
        line.send(self.now());
        line.tell();
        if line.end() {
            self.lines().remove(&key);
            self.gone.notify_all();
            return timers.set(key, None);
        }
        let mut release = line.release();
        if let Some(socket) = line.socket().filter(|_| std::mem::take(&mut release.rearm)) {
            // Refused, for want of kernel memory: the timer of the next look.
            let refused = poller.change_room(socket.as_raw_fd(), key, true).is_err();
            if refused && release.again.is_none() {
                release.again = Some(self.now() + LATER);
            }
        }
        timers.set(key, release.again.take());
    }
}

/// One time a line, at most.
#[derive(Default)]
struct Timers {
    order: BTreeSet<(u64, u64)>,
    times: HashMap<u64, u64>,
}

impl Timers {
    fn set(&mut self, key: u64, at: Option<u64>) {
        if let Some(old) = self.times.remove(&key) {
            self.order.remove(&(old, key));
        }
        if let Some(at) = at {
            self.times.insert(key, at);
            self.order.insert((at, key));
        }
    }

    fn patience(&self, now: u64) -> Option<Duration> {
        self.order.first().map(|(at, _)| Duration::from_nanos(at.saturating_sub(now)))
    }

    fn due(&mut self, now: u64) -> Option<u64> {
        let (at, key) = *self.order.first()?;
        (at <= now).then(|| {
            self.set(key, None);
            key
        })
    }
}

/// Closes all that are left, and waits until what waits has been sent, at most so long; how many are not done.
pub fn drain(limit: Duration) -> usize {
    let Some(Ok(pump)) = PUMP.0.get() else { return 0 };
    if !pump.is_ours() {
        return 0;
    }
    let lines: Vec<_> = pump.lines().iter().map(|(key, line)| (*key, Arc::clone(line))).collect();
    for (key, line) in lines {
        let mut state = line.state();
        state.ended = true;
        state.closed = true;
        drop(state);
        line.outlet.free();
        pump.touch(key);
    }
    let is_left = |lines: &mut HashMap<u64, Arc<Line>>| !lines.is_empty();
    let (lines, _) =
        pump.gone.wait_timeout_while(pump.lines(), limit, is_left).unwrap_or_else(PoisonError::into_inner);
    lines.len()
}
