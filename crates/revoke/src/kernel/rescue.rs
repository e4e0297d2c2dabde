//! What a killed yanker leaves on a socket that others hold, and the way back.
//!
//! | killed | the socket | way back |
//! | --- | --- | --- |
//! | before repair | deaf | hears again by itself when the filter's time is over |
//! | frozen | in repair: it sends nothing | leave repair: as it was |
//! | in the gap, or half rebuilt | in repair, without connection or without its queues | the journal: rebuilt, unsent bytes included. Without one it is dead, and told so. Until then a segment of the peer's is answered with a reset if the socket is out of the hash: the guard is dead too |
//! | open, kept bytes not all written | an ordinary one with a hole where unsent bytes were | the journal: the rest is written. Without one: close it |
//!
//! [`super::journal`] tells which sockets; [`Yanker::rescue_all`] brings all of a folder's back, whoever holds them, and
//! [`super::own`] calls it.
//!
//! Rules: [`Yanker::rescue`] is for a holder who knows that the yanker is dead. Leaving repair needs CAP_NET_ADMIN: holders without it can
//! only close, which in repair sends nothing.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::PoisonError;

use super::failure::{lost, untouched, Failure};
use super::holder;
use super::info::{state, Info};
use super::journal::{Dead, Phase, ONE};
use super::options::{self, name, Queue, Repair};
use super::snapshot;
use super::tuple::Connection;
use super::yank::{bury, hear, keep, Yanker};

/// What a rescue found and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rescued {
    /// Nothing to do, a forgotten filter aside.
    Whole,
    /// It was in repair, and is as it was before the yank.
    Left,
    /// It was half rebuilt, and is as it was before the yank.
    Rebuilt,
    /// All was there but unsent bytes: those that were to stay are, the yanked ones are gone with the yanker.
    Refilled,
    /// It was half rebuilt and no journal tells how to go on: dead.
    Dead,
}

/// What became of one socket.
#[derive(Debug)]
pub struct Outcome {
    /// A process that has it.
    pub holder: u32,
    /// How it was found, or why nothing could be done.
    pub result: Result<Rescued, Failure>,
}

impl Yanker {
    /// The way back for a socket whose yanker was killed. `journal` is the dead one's folder ([`super::yank::Settings`]).
    ///
    /// # Errors
    /// [`Failure`]
    pub fn rescue(&mut self, fd: BorrowedFd<'_>, journal: Option<&Path>) -> Result<Rescued, Failure> {
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let cookie = options::cookie(fd).map_err(untouched("read the socket's cookie"))?;
        let all = journal.map_or_else(Vec::new, Dead::all);
        let dead = all.into_iter().find(|dead| dead.cookie() == cookie && dead.phase() != Phase::Idle);
        self.rescued(fd, dead)
    }

    /// The same for every socket that a journal below `dir` tells of, whoever has it; journals of no use are removed.
    pub fn rescue_all(&mut self, dir: &Path) -> Vec<Outcome> {
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut outcomes = Vec::new();
        for dead in Dead::all(dir) {
            if dead.phase() == Phase::Idle {
                dead.remove();
                continue;
            }
            match holder::of(dead.ino(), dead.cookie()) {
                Ok(Some((holder, socket))) => {
                    let result = self.rescued(socket.as_fd(), Some(dead));
                    outcomes.push(Outcome { holder, result });
                }
                Ok(None) => dead.remove(),
                // Somebody may have it whom this process may not look into.
                Err(_) => dead.leave_to_others(),
            }
        }
        outcomes
    }

    fn rescued(&mut self, fd: BorrowedFd<'_>, dead: Option<Dead>) -> Result<Rescued, Failure> {
        let in_repair = options::tcp(fd, name::REPAIR).map_err(untouched("look at the socket"))? != 0;
        let Some(dead) = dead else {
            return if in_repair { leave(fd, false) } else { Ok(forget(fd)) };
        };
        let rescued = match (in_repair, dead.phase()) {
            // It ends with what it is made into.
            (true, Phase::Rebuilding | Phase::Keeping) => {
                return self.rebuild_from(fd, dead).map(|()| Rescued::Rebuilt)
            }
            (true, Phase::Frozen | Phase::Idle) => leave(fd, true),
            (false, Phase::Keeping) => self.refill(fd, &dead).map(|()| Rescued::Refilled),
            // Somebody has let it out of repair without its journal: what it is now is not known here.
            (false, Phase::Rebuilding) => Ok(Rescued::Dead),
            (false, Phase::Frozen | Phase::Idle) => Ok(forget(fd)),
        };
        if !matches!(rescued, Err(Failure::Denied(_))) {
            dead.remove();
        }
        rescued
    }

    fn rebuild_from(&mut self, fd: BorrowedFd<'_>, dead: Dead) -> Result<(), Failure> {
        self.load(&dead)?;
        let snapshot = *dead.snapshot();
        let guard = self.guards.of(fd)?;
        let connection = Connection::new(&snapshot.local, &snapshot.peer);
        guard.cover(&connection)?;
        options::repair(fd, Repair::On).map_err(untouched("enter repair"))?;
        // The dead yanker's may be open again; ours takes its place.
        let deaf = guard.deafen(fd, self.settings.deaf).map_err(untouched("attach the guard's filter"));
        let built = deaf.and_then(|()| {
            let own = std::mem::replace(&mut self.journal, dead.adopt());
            let built = self.rebuilt(fd, &guard, &connection, &snapshot, 0).inspect_err(|_| bury(fd));
            self.journal = own;
            built
        });
        guard.uncover(&connection);
        built.map(|_| ())
    }

    fn refill(&mut self, fd: BorrowedFd<'_>, dead: &Dead) -> Result<(), Failure> {
        self.load(dead)?;
        let snapshot = dead.snapshot();
        let output = &self.output.bytes()[..snapshot.output as usize];
        options::repair(fd, Repair::On).map_err(untouched("enter repair"))?;
        let end = options::select(fd, Queue::Send).and_then(|()| options::tcp(fd, name::QUEUE_SEQ));
        options::select(fd, Queue::No)
            .and_then(|()| snapshot::leave(fd, snapshot.reuse))
            .map_err(lost("leave repair"))?;
        let end = end.map_err(untouched("read a sequence number"))?;
        let written = end.wrapping_sub(snapshot.send_seq()) as usize;
        match output.get(written..output.len() - dead.taken()) {
            Some(rest) => keep(fd, rest),
            None => {
                Err(untouched("tell which bytes are missing")(io::Error::other("others have written since")))
            }
        }
    }

    fn load(&mut self, dead: &Dead) -> Result<(), Failure> {
        let no = untouched("read the journal");
        let queues = [("output", dead.snapshot().output), ("input", dead.snapshot().input)];
        let copied = queues.into_iter().zip([&mut self.output, &mut self.input]).try_for_each(
            |((name, length), to)| {
                let from = dead.queue(name)?;
                let length = length as usize;
                to.ready(length)?;
                let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
                let from = from.bytes().get(..length).ok_or_else(short)?;
                to.bytes_mut().get_mut(..length).ok_or_else(short)?.copy_from_slice(from);
                Ok(())
            },
        );
        copied.map_err(no)
    }
}

/// A filter that was forgotten, if there is one.
fn forget(fd: BorrowedFd<'_>) -> Rescued {
    // ENOENT: there is none.
    let _ = hear(fd);
    Rescued::Whole
}

/// In repair. Without a journal that says that it is whole: frozen, or half rebuilt, which has received nothing yet. (One that was
/// yanked from before and has received nothing since is taken for that.)
fn leave(fd: BorrowedFd<'_>, is_whole: bool) -> Result<Rescued, Failure> {
    let info = Info::read(fd).map_err(untouched("read TCP_INFO"))?;
    let alive =
        is_whole || matches!(info.state(), state::ESTABLISHED | state::CLOSE_WAIT) && info.segments_in() > 0;
    if !alive {
        bury(fd);
        return Ok(Rescued::Dead);
    }
    let reuse = options::socket(fd, libc::SO_REUSEADDR).map_err(untouched("look at the socket"))?;
    options::select(fd, Queue::No).map_err(untouched("leave the queues"))?;
    let _ = hear(fd);
    snapshot::leave(fd, reuse.min(1)).map_err(untouched("leave repair"))?;
    Ok(Rescued::Left)
}

#[cfg(test)]
#[path = "rescue_tests.rs"]
pub(super) mod tests;
