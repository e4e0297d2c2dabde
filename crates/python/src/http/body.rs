//! Bodies that are changed: a coding whose level follows a policy, or a transform in Python.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use modnet_inspect::watch::Watch;
use modnet_transform::encode::{make, Encode, Failed, HIGHEST};
use modnet_transform::http::{Body, Broken};
use modnet_transform::spent::Spent;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::message::{Level, Wanted};
use crate::flow::Flow;
use crate::hooks;

/// A policy is asked again when compressing has taken so many times what asking does: a policy in Python takes 0.05 to
/// 0.15 ms, level 1 of gzip 4 for all of 3 MB, and a tenth of all was spent on questions whose answer was the same. At 25 times
/// the questions of Figure 4's fastest link still took a twentieth of what a fixed level does.
const WORTH: u32 = 60;
/// The second question comes sooner: who comes with many others was asked before most of them were there.
const SOON: u32 = 20;
/// So many intervals are long for a body that is held up, and half as much is worth a question; and so many are too long, whatever
/// it costs: the link may have changed.
const LATE: u32 = 10;
const OVERDUE: u32 = 20;
/// What is compressed at once, and between two looks at the clock. Chunked bodies come in 8 KB.
const PIECE: usize = 64 * 1024;
/// Nor is it asked about again before this has passed: level 1 makes six pieces in it.
const LOOK: Duration = Duration::from_millis(1);

/// Whose body it is: whom to tell of failures.
pub struct Owner {
    /// The module.
    pub module: Py<PyAny>,
    /// The flow.
    pub flow: Py<PyAny>,
    /// Set when a policy was asked: the flow may have orders.
    pub asked: Arc<AtomicBool>,
}

impl Owner {
    /// Tells the module what its own code has raised.
    pub fn tell(&self, py: Python<'_>, hook: &str, error: &PyErr) {
        hooks::tell(self.module.bind(py), hook, self.flow.bind(py), error);
    }
}

/// How a coding goes: what a policy for its level can know of it.
#[pyclass(module = "modnet._native")]
pub struct HttpEncoding {
    name: String,
    level: u8,
    bytes_in: u64,
    bytes_out: u64,
    seconds: f64,
    elapsed: f64,
    flush: bool,
    rests: bool,
}

#[pymethods]
impl HttpEncoding {
    /// "gzip", "zstd" or "br".
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    /// The level so far.
    #[getter]
    fn level(&self) -> u8 {
        self.level
    }

    /// Bytes of the body so far.
    #[getter]
    fn bytes_in(&self) -> u64 {
        self.bytes_in
    }

    /// What they became.
    #[getter]
    fn bytes_out(&self) -> u64 {
        self.bytes_out
    }

    /// Processor time that they took, as those of their pieces tell whose time was taken.
    #[getter]
    fn seconds(&self) -> f64 {
        self.seconds
    }

    /// Time that passed meanwhile: more, where others want the processor too.
    #[getter]
    fn elapsed(&self) -> f64 {
        self.elapsed
    }

    /// What was taken so far is to go on now, though it costs some bytes: a coding holds back what it can.
    fn flush(&mut self) {
        self.flush = true;
    }

    /// While all that was sent has arrived the answer stays: not to be asked again before something waits for the link, or twenty
    /// times `every` has passed.
    fn until_busy(&mut self) {
        self.rests = true;
    }
}

/// Neighbours have others of their pieces timed.
static BODIES: AtomicU32 = AtomicU32::new(0);

struct Policy {
    owner: Owner,
    call: Py<PyAny>,
    encoding: Py<HttpEncoding>,
    every: Duration,
    /// The flow's TCP state; None: what is asked is no policy of a flow's.
    link: Option<Arc<Watch>>,
    /// While the link stands idle the answer stays.
    rests: bool,
    asked: Instant,
    /// Bytes since the clock was looked at, and when that was.
    unlooked: usize,
    looked: Instant,
    spent: Spent,
    /// Asked once so far.
    is_new: bool,
    /// Processor time of the last question.
    cost: Duration,
}

impl Policy {
    /// Whether it is time to look whether a question is due.
    fn looks(&mut self, length: usize) -> bool {
        self.unlooked += length;
        let looks = self.unlooked >= PIECE && self.looked.elapsed() >= LOOK.min(self.every);
        if looks {
            (self.unlooked, self.looked) = (0, Instant::now());
        }
        looks
    }

    fn is_due(&self) -> bool {
        let waited = self.asked.elapsed();
        let worked = self.spent.worked();
        let is_worth = |times: u32| worked >= self.cost.as_secs_f64() * f64::from(times);
        let is_due = is_worth(if self.is_new { SOON } else { WORTH })
            || (waited >= self.every * LATE && is_worth(WORTH / 2));
        waited >= self.every * OVERDUE || (waited >= self.every && is_due && !(self.rests && self.is_idle()))
    }

    /// Whether all that was sent has arrived.
    fn is_idle(&self) -> bool {
        let state = self.link.as_ref().and_then(|link| link.read().ok());
        state.is_some_and(|state| state.write_seq == state.snd_nxt && state.packets_out == 0)
    }
}

struct Coded {
    stream: Box<dyn Encode>,
    /// None: the level stays.
    policy: Option<Policy>,
    bytes_in: u64,
    bytes_out: u64,
}

impl From<Failed> for Wrapped {
    fn from(failed: Failed) -> Self {
        Self(Broken(failed.0))
    }
}

/// For `?`: neither [`Failed`] nor [`Broken`] is of this crate.
struct Wrapped(Broken);

impl From<Wrapped> for Broken {
    fn from(wrapped: Wrapped) -> Self {
        wrapped.0
    }
}

impl Coded {
    fn ask(&mut self, out: &mut Vec<u8>) -> Result<(), Wrapped> {
        let Some(policy) = &mut self.policy else { return Ok(()) };
        let begun = processor_time();
        let told = (self.stream.level(), self.bytes_in, self.bytes_out);
        let answer = Python::attach(|py| {
            level(py, policy, told).map_err(|error| policy.owner.tell(py, "level", &error)).ok()
        });
        policy.asked = Instant::now();
        policy.is_new = false;
        policy.cost = processor_time().saturating_sub(begun);
        match answer {
            Some((level, flush, rests)) => {
                policy.rests = rests;
                let before = out.len();
                if flush {
                    self.stream.flush(out)?;
                }
                self.stream.set_level(level, out)?;
                self.bytes_out += (out.len() - before) as u64;
            }
            // It is broken for this body: the level stays.
            None => self.policy = None,
        }
        Ok(())
    }

    fn piece(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), Wrapped> {
        if self.policy.as_mut().is_some_and(|policy| policy.looks(piece.len()) && policy.is_due()) {
            self.ask(out)?;
        }
        let before = out.len();
        let timed = self
            .policy
            .as_mut()
            .map(|policy| &mut policy.spent)
            .and_then(|spent| spent.is_timed(piece.len()).then_some(spent));
        match timed {
            None => self.stream.write(piece, out)?,
            Some(all) => {
                let (spent, begun) = (processor_time(), Instant::now());
                self.stream.write(piece, out)?;
                all.took(piece.len(), processor_time().saturating_sub(spent), begun.elapsed());
            }
        }
        self.bytes_in += piece.len() as u64;
        self.bytes_out += (out.len() - before) as u64;
        Ok(())
    }
}

/// What the policy says, whether it wants a flush, and whether its answer stays while the link is idle.
fn level(py: Python<'_>, policy: &mut Policy, told: (u8, u64, u64)) -> PyResult<(u8, bool, bool)> {
    {
        let mut encoding = policy.encoding.borrow_mut(py);
        (encoding.level, encoding.bytes_in, encoding.bytes_out) = told;
        (encoding.seconds, encoding.elapsed) = policy.spent.turn();
        (encoding.flush, encoding.rests) = (false, false);
    }
    policy.owner.asked.store(true, Ordering::Relaxed);
    let answer = policy.call.call1(py, (&policy.owner.flow, &policy.encoding))?;
    let number = answer.extract::<u8>(py).ok().filter(|number| *number <= HIGHEST);
    let number = number.ok_or_else(|| {
        let shown = answer.bind(py).repr().map_or_else(|_| "?".to_owned(), |shown| shown.to_string());
        PyValueError::new_err(format!("a level is from 0 to {HIGHEST}, not {shown}"))
    })?;
    let encoding = policy.encoding.borrow(py);
    Ok((number, encoding.flush, encoding.rests))
}

/// Of this thread.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec, which is ours.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

impl Body for Coded {
    fn data(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        for piece in input.chunks(PIECE) {
            self.piece(piece, out)?;
        }
        Ok(())
    }

    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Broken> {
        let before = out.len();
        self.stream.flush(out).map_err(Wrapped::from)?;
        self.bytes_out += (out.len() - before) as u64;
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), Broken> {
        Ok(self.stream.finish(out).map_err(Wrapped::from)?)
    }
}

struct Scripted {
    owner: Owner,
    transform: Py<PyAny>,
}

impl Scripted {
    fn call(&self, hook: &'static str, given: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), Broken> {
        Python::attach(|py| {
            let transform = self.transform.bind(py);
            let result = (|| {
                let answer = match given {
                    Some(input) if transform.hasattr(intern!(py, "data"))? => {
                        transform.call_method1(intern!(py, "data"), (PyBytes::new(py, input),))?
                    }
                    Some(input) => transform.call1((PyBytes::new(py, input),))?,
                    None if transform.hasattr(hook)? => transform.call_method0(hook)?,
                    None => return Ok(()),
                };
                if given.is_none() && answer.is_none() {
                    return Ok(());
                }
                let bytes = answer.cast::<PyBytes>().map_err(|_| {
                    let kind =
                        answer.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
                    PyTypeError::new_err(format!("a body's transform returned {kind}: return bytes"))
                })?;
                out.extend_from_slice(bytes.as_bytes());
                Ok(())
            })();
            result.map_err(|error: PyErr| {
                self.owner.tell(py, "body", &error);
                Broken(error.to_string())
            })
        })
    }
}

impl Body for Scripted {
    fn data(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        self.call("data", Some(input), out)
    }

    fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Broken> {
        self.call("flush", None, out)
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), Broken> {
        self.call("end", None, out)
    }
}

/// Makes what a hook wished for.
///
/// # Errors
/// No memory, or what the policy has raised at once.
pub fn body(py: Python<'_>, wanted: Wanted, owner: Owner) -> PyResult<Box<dyn Body>> {
    let (name, level, every) = match wanted {
        Wanted::Script(transform) => return Ok(Box::new(Scripted { owner, transform })),
        Wanted::Coding { name, level, every } => (name, level, every),
    };
    let (first, policy) = match level {
        Level::Fixed(level) => (level, None),
        Level::Asked(call) => {
            let encoding = HttpEncoding {
                name: name.clone(),
                level: 1,
                bytes_in: 0,
                bytes_out: 0,
                seconds: 0.0,
                elapsed: 0.0,
                flush: false,
                rests: false,
            };
            let link = owner.flow.bind(py).cast::<Flow>().ok();
            let link = link.and_then(|flow| Some(Arc::clone(flow.try_borrow().ok()?.watch())));
            let mut policy = Policy {
                owner,
                call,
                encoding: Py::new(py, encoding)?,
                every: Duration::from_secs_f64(every),
                link,
                rests: false,
                asked: Instant::now(),
                unlooked: 0,
                looked: Instant::now(),
                spent: Spent::new(BODIES.fetch_add(0x61C8_8647, Ordering::Relaxed)),
                is_new: true,
                cost: Duration::ZERO,
            };
            let begun = processor_time();
            let (first, _, rests) = self::level(py, &mut policy, (1, 0, 0))?;
            policy.rests = rests;
            policy.asked = Instant::now();
            policy.cost = processor_time().saturating_sub(begun);
            (first, Some(policy))
        }
    };
    let stream = make(&name, first)
        .ok_or_else(|| PyValueError::new_err(format!("there is no coding {name}")))?
        .map_err(|failed| PyValueError::new_err(format!("{name}: {failed}")))?;
    Ok(Box::new(Coded { stream, policy, bytes_in: 0, bytes_out: 0 }))
}
