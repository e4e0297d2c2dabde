//! Who uses this module, and the end with the last of them.
//!
//! A launcher says `use` before it becomes the command; from then on the process is watched by its pidfd. When a
//! watched one goes, a census of the records that name the module finds who else maps them (orphaned workers),
//! and one process of each record, the oldest, is watched next: so an Apache that replaces its workers costs
//! nothing. When nobody is found, a second look after [`LINGER`] decides.
//!
//! Rules: `add` and the end exclude each other, so a launcher never gets a yes from a module that is ending.
//! It must not stop anything itself: it calls `when_empty` once.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::census;
use crate::error::{Error, Result};
use crate::pidfd::{open, Poller};
use crate::procs::{self, Seen};
use crate::record::Record;
use crate::runtime::Runtime;

/// Between the first look that finds nobody and the second: a `modnet run` in a shell's loop finds its module warm.
pub const LINGER: Duration = Duration::from_secs(1);
/// How long a module waits for its first user: its launcher says `use` as soon as the module is ready.
pub const GRACE: Duration = Duration::from_secs(5);
/// At most one census in this time, however many users go at once.
pub const PAUSE: Duration = Duration::from_millis(50);

/// The watched processes of one module.
pub struct Users {
    runtime: Runtime,
    name: String,
    poller: Poller,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    watched: BTreeMap<u32, OwnedFd>,
    ending: bool,
    /// A census is wanted, though nobody has gone.
    review: bool,
    /// The latest census failed, which was told.
    blind: bool,
}

impl Users {
    /// Begins to watch. `when_empty` is called once when the last user has gone; None: the module stays.
    ///
    /// # Errors
    /// What the system says about epoll or a thread.
    pub fn start(
        runtime: Runtime,
        name: &str,
        when_empty: Option<Box<dyn FnOnce() + Send>>,
    ) -> Result<Arc<Self>> {
        let poller = Poller::new().map_err(|e| Error::system("cannot watch processes", &e))?;
        let users = Arc::new(Self { runtime, name: name.to_owned(), poller, state: Mutex::default() });
        let watcher = Arc::clone(&users);
        thread::Builder::new()
            .name("modnet-users".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || watcher.watch(when_empty))
            .map_err(|e| Error::system("cannot start a thread", &e))?;
        Ok(users)
    }

    /// A process says that it uses the module.
    ///
    /// # Errors
    /// ESHUTDOWN: the module is ending, start another; ESRCH: no such process.
    pub fn add(&self, pid: u32) -> Result<()> {
        let mut state = self.lock();
        if state.ending {
            return Err(Error::new(libc::ESHUTDOWN, format!("module {} is ending; try again", self.name)));
        }
        self.watch_one(&mut state, pid)?;
        drop(state);
        self.poller.wake();
        Ok(())
    }

    /// The chain of a record has changed: see who still uses the module.
    pub fn review(&self) {
        self.lock().review = true;
        self.poller.wake();
    }

    /// The processes watched now: one of each record and launchers that have not become their command yet.
    #[must_use]
    pub fn list(&self) -> Vec<u32> {
        self.lock().watched.keys().copied().collect()
    }

    /// From now on nobody is added, and the watching thread ends. A second call does nothing.
    pub fn end(&self) {
        self.lock().ending = true;
        self.poller.wake();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock; the map is whole in any case.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch_one(&self, state: &mut State, pid: u32) -> Result<()> {
        if state.watched.contains_key(&pid) {
            return Ok(());
        }
        let fd = open(pid).map_err(|e| match e.raw_os_error() {
            Some(libc::ESRCH) => Error::no_process(pid),
            Some(libc::ENOSYS) => Error::new(
                libc::ENOSYS,
                "this kernel, or a sandbox, has no pidfd_open: Linux 5.3 or newer is needed (see modnet doctor)",
            ),
            _ => Error::system(format!("cannot watch process {pid}"), &e),
        })?;
        self.poller.add(fd.as_raw_fd(), pid).map_err(|e| Error::system("cannot watch a process", &e))?;
        state.watched.insert(pid, fd);
        Ok(())
    }

    fn watch(&self, mut when_empty: Option<Box<dyn FnOnce() + Send>>) {
        let mut deadline = when_empty.as_ref().map(|_| Instant::now() + GRACE);
        loop {
            let gone = self.poller.wait(deadline.map(|d| d.saturating_duration_since(Instant::now())));
            if self.lock().ending {
                return;
            }
            let review = std::mem::take(&mut self.lock().review);
            if review || !gone.is_empty() {
                // Others of the same tree go in the same moment; one census serves them all.
                thread::sleep(PAUSE);
                self.forget(&gone);
                self.look();
            }
            let empty = self.lock().watched.is_empty();
            deadline = match deadline {
                _ if !empty || when_empty.is_none() => None,
                None => Some(Instant::now() + LINGER),
                Some(at) if at > Instant::now() => Some(at),
                // Somebody is there who cannot be watched (descriptors are short, say): look again later.
                Some(_) if self.look() => Some(Instant::now() + LINGER),
                Some(_) if self.finish() => {
                    if let Some(call) = when_empty.take() {
                        call();
                    }
                    return;
                }
                Some(_) => None,
            };
        }
    }

    fn forget(&self, pids: &[u32]) {
        let mut state = self.lock();
        for pid in pids {
            // Closing the pidfd takes it out of the epoll set.
            state.watched.remove(pid);
        }
    }

    /// True where nobody is left; then nobody can be added any more.
    fn finish(&self) -> bool {
        let mut state = self.lock();
        state.ending = state.watched.is_empty();
        state.ending
    }

    /// Watches the oldest process of each record that names this module, and lets go of those whose record does
    /// not any more. Removes what nobody needs on the way. True where somebody uses the module.
    fn look(&self) -> bool {
        // Whoever is there is there whether or not what others have left can be removed. A directory that cannot be read
        // says nothing about users: keep watching those that are known.
        let census = match census::sweep(&self.runtime).or_else(|_| census::take(&self.runtime)) {
            Ok(census) => census,
            Err(error) => {
                if !std::mem::replace(&mut self.lock().blind, true) {
                    eprintln!(
                        "modnet: module {} stays while it cannot be seen who uses it: {error}",
                        self.name
                    );
                }
                return true;
            }
        };
        let ours = |number: &u32| {
            Record::look(&self.runtime, *number)
                .and_then(|record| record.chain())
                .is_ok_and(|chain| chain.contains(&self.name))
        };
        let mine: BTreeMap<&u32, &Vec<u32>> = census.iter().filter(|(number, _)| ours(number)).collect();
        let mut state = self.lock();
        state.blind = false;
        state.watched.retain(|pid, _| {
            let at = census.iter().find(|(_, users)| users.contains(pid));
            match at {
                Some((number, users)) => mine.contains_key(number) && users.first() == Some(pid),
                // A launcher before its exec, or one that cannot be looked into.
                None => !matches!(procs::records_of(*pid), Seen::Gone),
            }
        });
        let mut anybody = !state.watched.is_empty();
        for pid in mine.values().filter_map(|users| users.first()) {
            anybody |= match self.watch_one(&mut state, *pid) {
                Ok(()) => true,
                // Gone again: others of its record are found at the second look.
                Err(error) => error.errno != libc::ESRCH,
            };
        }
        anybody
    }
}
