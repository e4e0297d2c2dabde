//! Revocation for hooks and timers: `flow.unsent`, `flow.yank`, `flow.peek`, `flow.lock`, `flow.write`.
//!
//! A holder is a thread: what one holds, another is refused, with BlockingIOError. Nothing here waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use modnet_engine::error::Error;
use modnet_engine::revoke::client::{self, Asked};
use modnet_engine::revoke::Next;
use modnet_revoke::queue::outlet::{Held, Holder, Outlet};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::registry::raise;

/// Numbers from here on are not threads'.
const THREADS: Holder = 1 << 32;

fn holder() -> Holder {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static MINE: Holder = NEXT.fetch_add(1, Ordering::Relaxed) % THREADS;
    }
    MINE.with(|mine| *mine)
}

fn held(_: Held) -> PyErr {
    raise(Error::new(
        libc::EAGAIN,
        "another thread holds the lock of this flow's unsent bytes; try again later",
    ))
}

/// The outlet, where the module may take bytes back.
///
/// # Errors
/// EOPNOTSUPP.
pub fn outlet(outlet: Option<&Arc<Outlet>>) -> PyResult<&Arc<Outlet>> {
    outlet.ok_or_else(|| {
        raise(Error::new(
            libc::EOPNOTSUPP,
            "this module's flows keep nothing that could be taken back: set `revocable = True` in its class, \
             or run it with -m MODULE,revocable=yes",
        ))
    })
}

/// Takes the last bytes back, from the next module too where there is one.
pub fn yank<'py>(
    py: Python<'py>,
    outlet: &Outlet,
    next: Option<&Next>,
    length: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    // So that nothing overtakes them if the next module refuses.
    let ours = outlet.is_held_by(holder());
    outlet.lock(holder()).map_err(held)?;
    let own = outlet.yank(holder(), length).map_err(held)?;
    let far = further(py, next, Asked::yank(length - own.len()));
    if far.is_err() {
        outlet.write(holder(), &own).map_err(held)?;
    }
    if !ours {
        outlet.unlock(holder()).map_err(held)?;
    }
    Ok(joined(py, far?, own))
}

/// Copies the last bytes, likewise.
pub fn peek<'py>(
    py: Python<'py>,
    outlet: &Outlet,
    next: Option<&Next>,
    length: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    let own = outlet.peek(holder(), length).map_err(held)?;
    let asked = Asked { peek: true, ..Asked::yank(length - own.len()) };
    Ok(joined(py, further(py, next, asked)?, own))
}

/// What the next module had, and what was here, which may be megabytes: not copied once more where it is all.
fn joined(py: Python<'_>, mut far: Vec<u8>, mut own: Vec<u8>) -> Bound<'_, PyBytes> {
    if far.is_empty() {
        return PyBytes::new(py, &own);
    }
    far.append(&mut own);
    PyBytes::new(py, &far)
}

/// What the next module has; nothing where there is none, or no flow any more.
fn further(py: Python<'_>, next: Option<&Next>, asked: Asked) -> PyResult<Vec<u8>> {
    let Some(next) = next.filter(|_| asked.length > 0) else { return Ok(Vec::new()) };
    let found: modnet_engine::error::Result<Vec<u8>> = py.detach(|| {
        let (line, bytes) = client::ask(next, &asked)?;
        if !asked.peek {
            line.taken(bytes.len())?;
        }
        Ok(bytes)
    });
    match found {
        Err(error) if matches!(error.errno, libc::ENOTCONN | libc::ECONNRESET) => Ok(Vec::new()),
        found => found.map_err(raise),
    }
}

/// Appends to what is unsent.
pub fn write(outlet: &Outlet, data: &[u8]) -> PyResult<()> {
    outlet.write(holder(), data).map_err(held)
}

/// Holds what is unsent while it lives: `with flow.lock(): …`.
#[pyclass(frozen, module = "modnet._native")]
pub struct Lock {
    outlet: Arc<Outlet>,
}

impl Lock {
    /// Of an outlet.
    pub fn new(outlet: Arc<Outlet>) -> Self {
        Self { outlet }
    }
}

#[pymethods]
impl Lock {
    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        slf.get().outlet.lock(holder()).map_err(held)?;
        Ok(slf)
    }

    #[pyo3(signature = (*_exception))]
    #[allow(clippy::needless_pass_by_value)] // as pyo3 gives it
    fn __exit__(&self, _exception: Bound<'_, pyo3::types::PyTuple>) -> PyResult<()> {
        self.outlet.unlock(holder()).map_err(held)
    }
}
