//! The order of the steps, and what undoes each.
//!
//! Rules: a step that fails before the disconnect is undone and the connection is as it was; after it the connection is
//! whole or dead. `at` marks each step for tests that kill there.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::facts::Facts;
use super::failure::{lost, untouched, Failure};
use super::guard::{Counts, Guard, Guards, DEAF};
use super::info::{state, Info};
use super::journal::{Journal, Phase};
use super::memory::{Memory, SLACK};
use super::options::{self, Queue, Repair};
use super::rebuild::{self, Into};
use super::refuse::{Means, Refusal};
use super::replay;
use super::snapshot::{self, now, Frozen, Snapshot, Unread};
use super::tuple::Connection;

/// What becomes of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// They are not sent.
    Yank,
    /// They stay where they are.
    Peek,
}

/// How a [`Yanker`] works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The longest queue, for each direction, that it takes apart. Address space; memory is used as queues need it.
    pub most: usize,
    /// Where what is under way is written, so that [`Yanker::rescue`] in another process can finish it: a folder on a
    /// memory file system, which must hold nothing else. It will hold user data, readable by this user alone. `None`: nowhere.
    pub journal: Option<PathBuf>,
    /// Give the connection its congestion window back, where the guard can.
    pub keep_window: bool,
    /// How long a socket stays deaf at most.
    pub deaf: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { most: 64 << 20, journal: None, keep_window: true, deaf: DEAF }
    }
}

/// The bytes, and what they cost.
#[derive(Debug)]
pub struct Taken<'a> {
    /// In the stream's order; valid until the next yank.
    pub bytes: &'a [u8],
    /// From the first step that the connection notices to the last.
    pub total: Duration,
    /// Out of the hash: while a segment would have been answered with a reset.
    pub gap: Duration,
    /// Bytes in flight that were put back.
    pub sent: usize,
    /// Unsent bytes that were put back.
    pub kept: usize,
    /// Unread bytes that were put back.
    pub input: usize,
    /// The congestion window before.
    pub window: u32,
    /// Whether it is the same again.
    pub window_kept: bool,
}

/// Who takes bytes back. One for each thread: memory that is used again is a third of the speed.
#[derive(Debug)]
pub struct Yanker {
    /// What may be changed between yanks is `keep_window` and `deaf`; the rest counts at the beginning.
    pub settings: Settings,
    pub(super) guards: Guards,
    pub(super) output: Memory,
    pub(super) input: Memory,
    pub(super) journal: Journal,
    /// Yanks that took or copied something.
    pub done: u64,
    /// Yanks that were refused.
    pub refused: u64,
}

/// Places where a process may be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Step {
    Covered,
    Deaf,
    Frozen,
    Read,
    Disconnected,
    Reconnected,
    Restored,
    Hearing,
    Open,
    Done,
}

#[cfg(test)]
thread_local! {
    pub(super) static HOOK: std::cell::Cell<Option<fn(Step)>> = const { std::cell::Cell::new(None) };
}

#[cfg(test)]
pub(super) fn at(step: Step) {
    if let Some(hook) = HOOK.get() {
        hook(step);
    }
}

#[cfg(not(test))]
pub(super) fn at(_: Step) {}

/// A segment may come in between look and filter; three in a row do not.
const TRIES: usize = 3;
/// The peer's FIN is delivered when the call that sends it returns; where the processor was taken meanwhile, soon after.
const FIN_TRIES: usize = 3;
const FIN_LOOKS: usize = 200;

impl Yanker {
    /// Reserves memory and touches the first of it.
    ///
    /// # Errors
    /// The system's, of memory or of the journal.
    pub fn new(settings: Settings) -> io::Result<Self> {
        let journal = Journal::new(settings.journal.as_deref())?;
        let mut output = Memory::new(settings.most + 2 * SLACK, journal.path("output").as_deref())?;
        let mut input = Memory::new(settings.most + 2 * SLACK, journal.path("input").as_deref())?;
        output.ready(SLACK)?;
        input.ready(SLACK)?;
        Ok(Self { settings, guards: Guards::default(), output, input, journal, done: 0, refused: 0 })
    }

    /// What the guards that it uses have done.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.guards.counts()
    }

    /// Takes (or copies) the last `most` bytes that TCP has not sent, or all if there are fewer. The socket has to be the
    /// caller's alone for so long.
    ///
    /// # Errors
    /// [`Failure`]; the connection is as it was unless it is [`Failure::Lost`].
    pub fn yank(
        &mut self,
        fd: BorrowedFd<'_>,
        most: usize,
        operation: Operation,
    ) -> Result<Taken<'_>, Failure> {
        match self.tried(fd, most, operation) {
            Ok(None) => Ok(Taken {
                bytes: &[],
                total: Duration::ZERO,
                gap: Duration::ZERO,
                sent: 0,
                kept: 0,
                input: 0,
                window: 0,
                window_kept: true,
            }),
            Ok(Some(done)) => {
                self.done += 1;
                let end = done.snapshot.output as usize;
                Ok(Taken {
                    bytes: &self.output.bytes()[end - done.taken..end],
                    total: done.total,
                    gap: done.gap,
                    sent: done.snapshot.sent(),
                    kept: done.snapshot.unsent as usize - done.taken,
                    input: done.snapshot.input as usize,
                    window: done.snapshot.snd_cwnd,
                    window_kept: done.window_kept,
                })
            }
            Err(failure) => {
                self.refused += u64::from(matches!(failure, Failure::Refused(_)));
                Err(failure)
            }
        }
    }

    fn tried(
        &mut self,
        fd: BorrowedFd<'_>,
        most: usize,
        operation: Operation,
    ) -> Result<Option<Done>, Failure> {
        let mut room = SLACK;
        for _ in 0..TRIES {
            let facts = Facts::of(fd).map_err(untouched("look at the socket"))?;
            let mut means = Means { most: self.settings.most, raw: true };
            if let Some(refusal) = Refusal::of(&facts, means) {
                return Err(Failure::Refused(refusal));
            }
            let guard = self.guards.of(fd)?;
            means.raw = guard.can_send();
            if let Some(refusal) = Refusal::of(&facts, means) {
                return Err(Failure::Refused(refusal));
            }
            if facts.unsent == 0 || most == 0 {
                return Ok(None);
            }
            self.output.ready(facts.output + room).map_err(untouched("get memory"))?;
            self.input.ready(facts.input + room).map_err(untouched("get memory"))?;
            let addresses = options::Address::local(fd)
                .and_then(|local| options::Address::peer(fd).map(|peer| Connection::new(&local, &peer)));
            let connection = addresses.map_err(untouched("read the addresses"))?;

            let begun = Instant::now();
            self.begin(fd)?;
            guard.cover(&connection)?;
            at(Step::Covered);
            let done = self.covered(fd, &guard, &connection, most, operation);
            guard.uncover(&connection);
            self.journal.phase(Phase::Idle);
            match done {
                Ok(done) => {
                    at(Step::Done);
                    return Ok(done.map(|done| Done { total: begun.elapsed(), ..done }));
                }
                Err(Undone::Failed(failure)) => return Err(failure),
                Err(Undone::Full) => room *= 16,
                Err(Undone::Late) => {}
            }
        }
        Err(Failure::Refused(Refusal::Late))
    }

    /// From here on a killed yanker's socket is known by its journal.
    fn begin(&self, fd: BorrowedFd<'_>) -> Result<(), Failure> {
        if self.settings.journal.is_none() {
            return Ok(());
        }
        let no = |error| untouched("tell which socket it is")(error);
        self.journal.begins(options::cookie(fd).map_err(no)?, options::inode(fd).map_err(no)?);
        Ok(())
    }

    /// With the guard up, up to reading. Everything here is undone.
    fn covered(
        &mut self,
        fd: BorrowedFd<'_>,
        guard: &Guard,
        connection: &Connection,
        most: usize,
        operation: Operation,
    ) -> Result<Option<Done>, Undone> {
        guard.deafen(fd, self.settings.deaf).map_err(untouched("attach the guard's filter"))?;
        at(Step::Deaf);
        let frozen = match snapshot::freeze(fd) {
            Ok(frozen) => frozen,
            Err(error) => {
                hear(fd).map_err(lost("detach the guard's filter"))?;
                return Err(untouched("enter repair")(error).into());
            }
        };
        at(Step::Frozen);
        let read = snapshot::read(fd, frozen, &mut self.output, &mut self.input);
        at(Step::Read);
        let snapshot = match read {
            Ok(snapshot) => snapshot,
            Err(unread) => {
                undo(fd, frozen)?;
                return Err(match unread {
                    Unread::Late => Undone::Late,
                    Unread::Full => Undone::Full,
                    Unread::System(step, error) => untouched(step)(error).into(),
                });
            }
        };
        let taken = most.min(snapshot.unsent as usize);
        let done = Done { snapshot, taken, total: Duration::ZERO, gap: Duration::ZERO, window_kept: true };
        if operation == Operation::Peek || taken == 0 {
            undo(fd, frozen)?;
            return Ok((taken > 0).then_some(done));
        }
        if snapshot.is_half_closed != 0 && !guard.can_send() {
            undo(fd, frozen)?;
            return Err(Failure::Refused(Refusal::Raw).into());
        }
        let half = u64::try_from(self.settings.deaf.as_nanos() / 2).unwrap_or(u64::MAX);
        if now() + half > guard.deaf_until() {
            undo(fd, frozen)?;
            return Err(Undone::Late);
        }
        self.journal.write(&snapshot, taken);
        let built = self.rebuilt(fd, guard, connection, &snapshot, taken);
        let (gap, window_kept) = built.inspect_err(|_| bury(fd))?;
        Ok(Some(Done { gap, window_kept, ..done }))
    }

    /// Past the point of no return. `taken` bytes of the snapshot's end stay out.
    pub(super) fn rebuilt(
        &self,
        fd: BorrowedFd<'_>,
        guard: &Guard,
        connection: &Connection,
        snapshot: &Snapshot,
        taken: usize,
    ) -> Result<(Duration, bool), Failure> {
        let output = &self.output.bytes()[..snapshot.output as usize];
        let input = &self.input.bytes()[..snapshot.input as usize];
        let begun = Instant::now();
        rebuild::disconnect(fd, snapshot)?;
        at(Step::Disconnected);
        rebuild::reconnect(fd, snapshot)?;
        let gap = begun.elapsed();
        // In the hash again: the filter's part, for as long as the rest may take.
        guard.extend(self.settings.deaf);
        at(Step::Reconnected);
        rebuild::restore(fd, snapshot, output, input)?;
        at(Step::Restored);
        options::select(fd, Queue::No).map_err(lost("leave the queues"))?;
        let given = self.settings.keep_window
            && guard
                .give_window(fd, snapshot, window(snapshot))
                .map_err(lost("give back the congestion window"))?;
        hear(fd).map_err(lost("detach the guard's filter"))?;
        at(Step::Hearing);
        if snapshot.begins_early() {
            // Before the probe, whose answer acknowledges all. Where it does not arrive, timers run their three seconds.
            let packet = replay::acknowledgement(snapshot, connection);
            let _ = guard.send(&packet, &snapshot.local, connection.is_ipv4);
        }
        self.journal.phase(Phase::Keeping);
        snapshot::leave(fd, snapshot.reuse).map_err(lost("leave repair"))?;
        at(Step::Open);
        close_half(fd, guard, connection, snapshot).map_err(lost("close the peer's half again"))?;
        let kept = keep(fd, &output[snapshot.sent()..output.len() - taken]);
        rebuild::unlimit(fd, snapshot).map_err(lost("give timers their limit"))?;
        kept.map(|()| (gap, given))
    }
}

#[derive(Clone, Copy)]
struct Done {
    snapshot: Snapshot,
    taken: usize,
    total: Duration,
    gap: Duration,
    window_kept: bool,
}

/// The connection is as it was.
enum Undone {
    Late,
    Full,
    Failed(Failure),
}

impl From<Failure> for Undone {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// The window that a connection resumes with. All that is in flight counts, since what was marked as lost is not any more;
/// there has to be room for a few new segments, or nothing brings acknowledgements and only the timer helps.
///
/// BBR begins its model anew and takes the window for a first guess of the path: it gets what is in flight, since it keeps
/// about twice of that as its window.
fn window(snapshot: &Snapshot) -> u32 {
    let flight = (snapshot.sent() as u32).div_ceil(snapshot.snd_mss.max(1)) + 4;
    let before = if snapshot.is_model_based() { 0 } else { snapshot.snd_cwnd };
    // Ten is what it has without help.
    before.max(flight).max(10)
}

/// Detaches the guard's filter.
pub(super) fn hear(fd: BorrowedFd<'_>) -> io::Result<()> {
    options::set_socket(fd, libc::SO_DETACH_FILTER, 0)
}

fn undo(fd: BorrowedFd<'_>, frozen: Frozen) -> Result<(), Failure> {
    // The filter first: the answer to the probe that leaving repair sends is to be heard.
    hear(fd).map_err(lost("detach the guard's filter"))?;
    snapshot::thaw(fd, frozen).map_err(lost("leave repair"))
}

/// Puts back unsent bytes. A connection that has died meanwhile has no use for them, and says so itself.
pub(super) fn keep(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<(), Failure> {
    match rebuild::put(fd, bytes, Into::Unsent) {
        Err(error)
            if matches!(error.raw_os_error(), Some(libc::EPIPE | libc::ECONNRESET | libc::ETIMEDOUT)) =>
        {
            Ok(())
        }
        kept => kept.map_err(lost("put back what stays unsent")),
    }
}

/// The peer's half is closed again: by its FIN, or, where that does not arrive (loopback down, a firewall), for the reader.
fn close_half(
    fd: BorrowedFd<'_>,
    guard: &Guard,
    connection: &Connection,
    snapshot: &Snapshot,
) -> io::Result<()> {
    if snapshot.is_half_closed == 0 {
        return if snapshot.is_read_shut == 0 { Ok(()) } else { options::shut_reading(fd) };
    }
    let packet = replay::fin(snapshot, connection);
    for _ in 0..FIN_TRIES {
        if guard.send(&packet, &snapshot.local, connection.is_ipv4).is_err() {
            break;
        }
        for _ in 0..FIN_LOOKS {
            if Info::read(fd)?.state() != state::ESTABLISHED {
                return Ok(());
            }
            std::thread::yield_now();
        }
    }
    options::shut_reading(fd)
}

/// Lets a connection that cannot be rebuilt die: whoever holds the socket reads and writes an error, and the peer's next
/// segment is answered with a reset.
pub(super) fn bury(fd: BorrowedFd<'_>) {
    // It may fail in any state, and nothing more can be done for it.
    let _ = options::repair(fd, Repair::On);
    let _ = options::disconnect(fd);
    let _ = hear(fd);
    let _ = options::repair(fd, Repair::Off);
}

#[cfg(test)]
#[path = "yank_tests.rs"]
mod tests;
